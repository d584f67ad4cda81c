//! A clock that has lost its time, as machines without a network have it, and media that such a machine wrote.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use super::Carrier;
use crate::common::{Process, Run, names};

/// The beginning of 1980: where FAT begins to count, and clocks that have lost their time do.
const YEAR_1980: i64 = 315_532_800;

#[test]
fn media_with_the_stamps_of_1980_and_before_are_as_good_as_others() {
    let carrier = Carrier::new();
    let stamps = [
        UNIX_EPOCH + Duration::from_secs(YEAR_1980.unsigned_abs()),
        UNIX_EPOCH,
        UNIX_EPOCH - Duration::from_secs(86_400),
    ];
    for (volume, stamp) in ["m1", "m2", "m3"].iter().zip(stamps) {
        for name in names(&carrier.path(volume)) {
            File::options().write(true).open(carrier.path(volume).join(name)).unwrap().set_modified(stamp).unwrap();
        }
    }
    carrier.party.run(&["bundle", "verify", "m1", "m2", "m3"]).done();
    carrier.import(&["m1", "m2", "m3"]).result();
    carrier.is_complete("out");
    // An export that goes on there, too.
    fs::rename(carrier.path("m2/index.bin"), carrier.path("m2/index.new")).unwrap();
    let exported = super::export(&carrier.party, &["m1", "m2", "m3"], &["--volume-size", "1500K"]).result();
    assert_eq!(exported["volumes"][1]["kept_bytes"], exported["volumes"][1]["bytes"], "{exported}");
}

/// A library that tells every program another time: what a wrong clock is to the program under test, and to nothing else.
#[cfg(target_os = "linux")]
fn clock_library(carrier: &Carrier) -> PathBuf {
    const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME) {
        time->tv_sec = atol(getenv("SECONDS_SINCE_1970"));
    }
    return result;
}
"#;
    carrier.party.write("clock.c", SOURCE);
    let library = carrier.path("clock.so");
    // The C compiler that the program was built with.
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(carrier.path("clock.c")).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_whose_clock_has_lost_its_time_says_so() {
    let carrier = Carrier::new();
    let library = clock_library(&carrier);
    let at = |seconds: i64, args: &[&str]| -> Run {
        let mut command = carrier.party.command(args);
        command.env("LD_PRELOAD", &library).env("SECONDS_SINCE_1970", seconds.to_string());
        Process::spawn(command).finish()
    };
    for (seconds, says) in [(YEAR_1980, "1980-01-01T00:00:00Z"), (0, "1970-01-01T00:00:00Z"), (-86_400, "1970-01-01")] {
        let said = |run: Run| {
            assert!(run.code == 3 || run.code == 4, "{run:?}");
            let all = format!("{}{}", run.stdout, run.stderr);
            assert!(all.contains(&format!("this machine's clock, which says {says}")), "{run:?}");
        };
        // Who takes a manifest is told; whoever sets the clock goes on.
        said(at(seconds, &["bundle", "import", "m1", "m2", "m3", "--dir", "out", "--state-dir", "relay"]));
        said(at(seconds, &["bundle", "export", "--dir", "snaps", "--to", "new", "--state-dir", "lead"]));
        said(at(seconds, &["bundle", "verify", "m1"]));
        said(at(seconds, &["bundle", "label", "m1", "--state-dir", "relay"]));
        said(at(seconds, &["bundle", "missing", "--dir", "snaps"]));
        assert!(!carrier.path("new").join("index.bin").exists() && !carrier.path("out/snapshot.sql.gz").exists());
    }
    carrier.import(&["m1", "m2", "m3"]).result();
    carrier.is_complete("out");
}
