//! Removable media: what is written there is what comes back, and what is wrong with a medium costs that medium only.

mod clock;
mod hostile;
mod in_place;
mod parity;
mod round;
mod sealed;
mod stick;

use std::path::PathBuf;

use regenesis::{
    app::{
        bundle::{self, ExportOptions, Exported},
        state::StateDirectory,
    },
    base::{Error, Progress, progress::Item, task::CancellationToken},
};
use serde_json::Value;

use crate::common::{Party, Run};

/// Somebody who has a signed snapshot of a dozen chunks in `snaps`, and three volumes of it in `m1`, `m2` and `m3`.
struct Carrier {
    party: Party,
    /// Labels of the volumes, in order.
    labels: Vec<String>,
}

impl Carrier {
    fn new() -> Self {
        let party = Party::new();
        party.take_large("snaps", 3000);
        party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "lead"]).done();
        let exported = export(&party, &["m1", "m2", "m3"], &["--volume-size", "1500K"]).result();
        let labels: Vec<String> =
            exported["volumes"].as_array().unwrap().iter().map(|v| v["label"].as_str().unwrap().to_owned()).collect();
        assert_eq!(labels.len(), 3, "{exported}");
        Carrier { party, labels }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.party.path(name)
    }

    /// Imports into `out`.
    fn import(&self, from: &[&str]) -> Run {
        import(&self.party, from, "out", &[])
    }

    /// The import has everything, byte for byte.
    fn is_complete(&self, directory: &str) {
        for name in ["genesis.json", "snapshot.sql.gz", "manifest.regenesis"] {
            let (out, snaps) = (format!("{directory}/{name}"), format!("snaps/{name}"));
            assert!(self.party.read(&out) == self.party.read(&snaps), "{name} is another one");
        }
    }
}

fn export(party: &Party, to: &[&str], more: &[&str]) -> Run {
    let first = ["bundle", "export", "--dir", "snaps", "--state-dir", "lead", "--output", "json"];
    party.run(&[&first[..], more, &["--to"], to].concat())
}

fn import(party: &Party, from: &[&str], into: &str, more: &[&str]) -> Run {
    let last = ["--dir", into, "--state-dir", "relay", "--output", "json"];
    party.run(&[&["bundle", "import"], from, &last, more].concat())
}

/// Exports in this process; `look` sees the progress, and nobody goes on writing while it does.
fn export_here(
    party: &Party,
    to: &[PathBuf],
    parity: usize,
    volume_bytes: Option<u64>,
    look: impl Fn(&Item) + Send + Sync + 'static,
) -> Result<Exported, Error> {
    export_here_until(party, to, parity, volume_bytes, look, &CancellationToken::new())
}

/// [`export_here`], until it is cancelled.
fn export_here_until(
    party: &Party,
    to: &[PathBuf],
    parity: usize,
    volume_bytes: Option<u64>,
    look: impl Fn(&Item) + Send + Sync + 'static,
    cancel: &CancellationToken,
) -> Result<Exported, Error> {
    let options = ExportOptions {
        directory: party.path("snaps"),
        to: to.to_vec(),
        volume_bytes,
        parity,
        missing: None,
        seal: None,
        with_secret: false,
        state: StateDirectory::new(Some(&party.path("lead"))).unwrap(),
    };
    bundle::export(&options, &|_| Vec::new(), None, &Progress::new(move |item| look(&item)), cancel)
}

/// What a command says whose result is there, and which fails all the same.
#[track_caller]
fn failed(run: &Run, code: i32, words: &[&str]) -> Value {
    assert_eq!(run.code, code, "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    let error = json["error"].as_str().unwrap();
    for word in words {
        assert!(error.contains(word), "no {word:?} in {error}");
    }
    json["result"].clone()
}

/// What is said of one medium of a result.
#[track_caller]
fn medium<'a>(result: &'a Value, directory: &str) -> &'a Value {
    let media = result["media"].as_array().unwrap();
    media.iter().find(|medium| medium["directory"] == directory).unwrap_or_else(|| panic!("no {directory} in {result}"))
}
