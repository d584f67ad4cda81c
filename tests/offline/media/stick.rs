//! Media with file systems of their own, which are pulled, full, or read-only: FAT32 where this machine can, else exFAT or ext4, else a plain
//! directory with which the same goes well.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use regenesis::base::{Error, Kind, progress::Item};
use tempfile::TempDir;

use super::{Carrier, export, export_here, failed, import};
use crate::common::names;

/// How each file system is made, by the name under which it is mounted.
const FILE_SYSTEMS: [(&str, &[&str]); 3] = [
    ("vfat", &["mkfs.vfat", "-F", "32"]),
    ("exfat", &["mkfs.exfat"]),
    ("ext4", &["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
];
/// Bytes of a stick: the smallest that FAT32 takes, and some.
const SIZE_BYTES: u64 = 48 << 20;

/// A medium that can be taken away.
struct Stick {
    place: TempDir,
    /// The device and its file system; none: a plain directory.
    device: Option<(String, &'static str)>,
}

/// Whether a program is there and does it.
fn does(program: &str, args: &[&Path]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

impl Stick {
    /// One of the first file system that this machine can make and mount.
    fn any() -> Self {
        let made = FILE_SYSTEMS.iter().find_map(|(name, _)| Self::of(name));
        made.unwrap_or_else(Self::plain)
    }

    fn plain() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("at")).unwrap();
        Stick { place, device: None }
    }

    /// One of this file system; `None` where this machine cannot make or mount it, such as for anybody but root.
    fn of(file_system: &str) -> Option<Self> {
        let (name, make) = FILE_SYSTEMS.iter().find(|(name, _)| *name == file_system)?;
        let mut stick = Self::plain();
        let image = stick.image();
        fs::File::create(&image).unwrap().set_len(SIZE_BYTES).unwrap();
        let made = Command::new(make[0]).args(&make[1..]).arg(&image).output();
        made.ok().filter(|output| output.status.success())?;
        let device = Command::new("losetup").args(["-f", "--show"]).arg(&image).output().ok()?;
        let device = String::from_utf8(device.stdout).ok().filter(|_| device.status.success())?;
        stick.device = Some((device.trim().to_owned(), name));
        stick.mount(&[]).then_some(stick)
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("image")
    }

    /// Where it is mounted.
    fn path(&self) -> PathBuf {
        self.place.path().join("at")
    }

    fn at(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn mount(&self, flags: &[&str]) -> bool {
        let Some((device, file_system)) = &self.device else { return true };
        // By the kernel, or by a program that is beside it where the kernel cannot.
        let [by_kernel, by_fuse] = [&["mount", "-t", file_system][..], &["mount.exfat-fuse"]];
        let ways = if *file_system == "exfat" { &[by_kernel, by_fuse][..] } else { &[by_kernel] };
        ways.iter().any(|way| {
            let mut mount = Command::new(way[0]);
            mount.args(&way[1..]).args(flags).arg(device).arg(self.path());
            mount.output().is_ok_and(|output| output.status.success())
        })
    }

    /// Unmounts it, and mounts it so that it can only be read.
    fn protect(&self) {
        if self.device.is_some() {
            assert!(does("umount", &[&self.path()]), "nothing holds {}", self.at());
            assert!(self.mount(&["-o", "ro"]));
        }
    }

    /// Takes it away, whoever writes to it.
    fn pull(&self) {
        match &self.device {
            Some((device, _)) => {
                OpenOptions::new().write(true).open(self.image()).unwrap().set_len(0).unwrap();
                assert!(does("losetup", &[Path::new("-c"), Path::new(device)]), "{device} has no bytes any more");
            }
            None => fs::rename(self.path(), self.place.path().join("away")).unwrap(),
        }
    }

    /// Takes every byte that is left; gives what takes them, where the medium has a size of its own.
    fn fill(&self) -> Option<PathBuf> {
        self.device.as_ref()?;
        let path = self.path().join("holiday.mov");
        let mut file = fs::File::create(&path).unwrap();
        let (mut left, bytes) = (1 << 16, vec![7; 1 << 16]);
        while left > 0 {
            // Smaller and smaller pieces, to the last byte.
            if file.write_all(&bytes[..left]).is_err() {
                left /= 2;
            }
        }
        let _ = file.sync_all();
        Some(path)
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        if let Some((device, _)) = &self.device {
            does("umount", &[Path::new("-l"), &self.path()]);
            does("losetup", &[Path::new("-d"), Path::new(device)]);
        }
    }
}

/// Exports in this process, and does something once as soon as so many bytes are written; nobody writes meanwhile.
fn export_and(carrier: &Carrier, to: &[PathBuf], at: u64, act: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let act = Mutex::new(Some(act));
    let look = move |item: &Item| {
        if matches!(item, Item::Bytes { task: "export", done, .. } if *done >= at) {
            let mut act = act.lock().unwrap();
            if let Some(act) = act.take() {
                act();
            }
        }
    };
    export_here(&carrier.party, to, 0, Some(1_500_000), look).map(drop)
}

#[test]
fn a_medium_that_is_pulled_while_it_is_written_costs_itself_and_no_other() {
    let carrier = Carrier::new();
    let stick = std::sync::Arc::new(Stick::any());
    let to = [carrier.path("s1"), stick.path(), carrier.path("s3")];
    let pulled = stick.clone();
    let error = export_and(&carrier, &to, 1, move || pulled.pull()).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.chain().contains(&stick.at()), "{}", error.chain());
    // The others are whole, and are volumes of one set with it.
    carrier.party.run(&["bundle", "verify", "s1", "s3"]).done();
    let run = import(&carrier.party, &["s1", &stick.at(), "s3"], "out", &[]);
    let result = failed(&run, 5, &["still needed is the volume"]);
    assert!(!carrier.path("out/snapshot.sql.gz").exists(), "{result}");
    // Another medium in its place, and the same again: what is whole is kept.
    let another = Stick::any();
    let exported = export(&carrier.party, &["s1", &another.at(), "s3"], &["--volume-size", "1500K"]).result();
    for volume in exported["volumes"].as_array().unwrap() {
        let is_kept = volume["kept_bytes"] == volume["bytes"];
        assert_eq!(is_kept, volume["directory"] != another.at(), "{exported}");
    }
    another.protect();
    import(&carrier.party, &[&another.at()], "out", &[]).result();
    carrier.is_complete("out");
}

#[test]
fn a_medium_that_fills_up_at_any_byte_is_said_to_be_full_and_goes_on() {
    let carrier = Carrier::new();
    let whole: u64 = ["genesis.json", "snapshot.sql.gz"]
        .map(|name| carrier.party.read(&format!("snaps/{name}")).len() as u64)
        .iter()
        .sum();
    for at in [1, whole / 2, whole] {
        let stick = std::sync::Arc::new(Stick::any());
        let filled = stick.clone();
        let exported = export_here(&carrier.party, &[stick.path()], 0, None, {
            let once = Mutex::new(false);
            move |item: &Item| {
                if matches!(item, Item::Bytes { task: "export", done, .. } if *done >= at) {
                    let mut once = once.lock().unwrap();
                    if !std::mem::replace(&mut *once, true) {
                        filled.fill();
                    }
                }
            }
        });
        if stick.device.is_some() {
            let error = exported.unwrap_err();
            assert!(error.chain().contains("is full") && error.advice().is_some(), "at {at}: {}", error.chain());
            assert!(!names(&stick.path()).contains(&"index.bin".to_owned()), "at {at} it is no volume");
            fs::remove_file(stick.path().join("holiday.mov")).unwrap();
        }
        let exported = export(&carrier.party, &[&stick.at()], &[]).result();
        assert!(at == 1 || exported["volumes"][0]["kept_bytes"].as_u64() > Some(0), "at {at}: {exported}");
        stick.protect();
        let into = format!("out{at}");
        import(&carrier.party, &[&stick.at()], &into, &[]).result();
        carrier.is_complete(&into);
    }
}

#[test]
fn every_file_system_of_this_machine_carries_it_and_a_read_only_one_is_said_to_be_that() {
    let carrier = Carrier::new();
    let sticks = FILE_SYSTEMS.iter().filter_map(|(name, _)| Stick::of(name)).chain([Stick::plain()]);
    for (number, stick) in sticks.enumerate() {
        let at = stick.at();
        export(&carrier.party, &[&at], &[]).result();
        stick.protect();
        carrier.party.run(&["bundle", "verify", &at]).done();
        let into = format!("out{number}");
        import(&carrier.party, &[&at], &into, &[]).result();
        carrier.is_complete(&into);
        if stick.device.is_some() {
            // As a run that was killed leaves it; nothing of it can be changed now.
            assert!(does("umount", &[&stick.path()]) && stick.mount(&[]));
            fs::rename(stick.path().join("index.bin"), stick.path().join("index.new")).unwrap();
            stick.protect();
            let run = export(&carrier.party, &[&at], &[]);
            assert!(run.code == 1 && run.stdout.contains("cannot be written"), "{run:?}");
            assert!(run.stderr.contains("mount it for writing"), "{run:?}");
        }
    }
}
