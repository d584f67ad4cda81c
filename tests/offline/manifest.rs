//! `manifest sign | show | verify` and `ticket show`, as an operator runs them: exit codes, stdout, stderr.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use kwil_formats::dump::guard;
use tempfile::TempDir;

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A directory with a recorded genesis and a snapshot that it does not pin yet.
pub(crate) struct World {
    pub(crate) dir: TempDir,
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

impl World {
    pub(crate) fn new() -> Self {
        use sha2::Digest;
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let statements = "CREATE SCHEMA kwild_engine;\nCREATE SCHEMA kwild_voting;\n\
                    CREATE TABLE kwild_voting.resolutions (\n    expiration bigint NOT NULL\n);\n\
                    UPDATE kwild_voting.resolutions SET expiration = expiration-76;\n";
        let text = format!("{}{statements}{}", guard::PROLOGUE, guard::EPILOGUE);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        fs::write(dir.path().join("snapshot.sql.gz"), gzip.finish().unwrap()).unwrap();
        let genesis = fs::read_to_string(data("vectors/manifest/genesis.json")).unwrap();
        let pinned = "58256e864b6f773f6b2909a61fef5d1be10b9ae67ebd0310d6dde8bf7582a504";
        assert!(genesis.contains(pinned));
        let hash = hex::encode(sha2::Sha256::digest(&text));
        fs::write(dir.path().join("genesis.json"), genesis.replace(pinned, &hash)).unwrap();
        World { dir }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regenesis"));
        command.args(args).env("XDG_STATE_HOME", self.dir.path().join("state"));
        command.env_remove("REGENESIS_TICKET").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    pub(crate) fn sign(&self) -> serde_json::Value {
        let key = data("data/v0.10/keys/keyfile.ed25519.json");
        let (dir, key) = (self.path(""), key.to_str().unwrap());
        let ran = self.run(&["manifest", "sign", "--snapdir", &dir, "--key", key, "--output", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("ATTESTATIONS: NONE"), "{}", ran.stderr);
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()["result"].take()
    }

    fn lead(&self) -> String {
        let ran = self.run(&["manifest", "show", &self.path(""), "--output", "json"]);
        let shown: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        shown["result"]["lead"].as_str().unwrap().to_owned()
    }
}

#[test]
fn signed_shown_and_verified() {
    let world = World::new();
    let signed = world.sign();
    let id = signed["id"].as_str().unwrap();
    assert_eq!(signed["manifest"].as_str().unwrap(), world.path("manifest.regenesis"));

    let shown = world.run(&["manifest", "show", &world.path("manifest.regenesis")]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for words in [id, "at height 76", "4 validators with power 4", "ATTESTATIONS: NONE", "snapshot.sql.gz"] {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }

    let (dir, lead) = (world.path(""), world.lead());
    let verified = world.run(&["manifest", "verify", &dir, "--trust", &lead, "--dir", &dir]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    let steps = verified.stdout.lines().filter(|l| l.ends_with(" ok")).count();
    assert_eq!(steps, 10, "{}", verified.stdout);

    let ticket = signed["ticket"].as_str().unwrap();
    let read = world.run(&["ticket", "show", ticket]);
    assert!(read.code == 0 && read.stdout.contains(id) && read.stdout.contains(&lead), "{}", read.stdout);
    let by_ticket = world.run(&["manifest", "verify", &dir, ticket]);
    assert!(by_ticket.code == 0 && by_ticket.stdout.contains("not checked"), "{}", by_ticket.stderr);
}

#[test]
fn a_ticket_is_taken_wherever_it_stands() {
    let world = World::new();
    let signed = world.sign();
    let (dir, file) = (world.path(""), world.path("ticket.txt"));
    // As it comes out of a mail.
    fs::write(&file, format!("The ticket:\r\n> {}\r\n", signed["ticket"].as_str().unwrap())).unwrap();
    let verify = ["manifest", "verify", &dir];
    let mut ways = [world.command(&verify), world.command(&verify), world.command(&verify), world.command(&verify)];
    ways[0].arg(signed["ticket"].as_str().unwrap());
    ways[1].arg("-").stdin(fs::File::open(&file).unwrap());
    ways[2].args(["--ticket-file", &file]);
    ways[3].env("REGENESIS_TICKET", signed["ticket"].as_str().unwrap());
    for mut way in ways {
        let ran = Ran::of(way.output().unwrap());
        assert!(ran.code == 0 && ran.stdout.contains(signed["id"].as_str().unwrap()), "{way:?}: {}", ran.stderr);
    }
    // Without any of them nobody says whose signature it must be; with another lead's, it is refused.
    let none = world.run(&verify);
    assert!(none.code == 2 && none.stderr.contains("--ticket-file FILE"), "{}", none.stderr);
    let other = world.run(&["manifest", "verify", &dir, &file]);
    assert!(other.code == 2 && other.stderr.contains("is a file, not a ticket"), "{}", other.stderr);
}

#[test]
fn what_is_wrong_exits_3_with_the_step_by_name() {
    let world = World::new();
    world.sign();
    let (dir, lead) = (world.path(""), world.lead());
    let foreign = format!("{}#ed25519", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let ran = world.run(&["manifest", "verify", &dir, "--trust", &foreign]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stderr.contains("step 3 (signature by a pinned key)") && ran.stderr.contains("next: "),
        "{}",
        ran.stderr
    );
    let ran = world.run(&["manifest", "verify", &dir, "--trust", &lead, "--chain-id", "elsewhere"]);
    assert!(ran.code == 3 && ran.stderr.contains("step 5 (network)"), "{}", ran.stderr);

    fs::write(world.path("genesis.json"), "{}").unwrap();
    let ran = world.run(&["manifest", "verify", &dir, "--trust", &lead, "--dir", &dir, "--output", "json"]);
    assert!(ran.code == 3 && ran.stderr.contains("step 9 (genesis parses and lints)"), "{}", ran.stderr);
    let failed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(failed["result"].is_null() && failed["error"].as_str().unwrap().contains("step 9"));

    let manifest = world.path("manifest.regenesis");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes.pop();
    fs::write(&manifest, &bytes).unwrap();
    for command in ["show", "verify"] {
        let mut args = vec!["manifest", command, &manifest];
        args.extend(if command == "verify" { vec!["--trust", &lead] } else { Vec::new() });
        let ran = world.run(&args);
        assert!(ran.code == 3 && ran.stderr.contains("step 2 (decoding)"), "{}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
}

#[test]
fn a_rollback_exits_4() {
    let world = World::new();
    let dir = world.path("");
    world.sign();
    let lead = world.lead();
    let first = world.path("first.regenesis");
    fs::copy(world.path("manifest.regenesis"), &first).unwrap();
    let key = data("data/v0.10/keys/keyfile.ed25519.json");
    let again = world.run(&["manifest", "sign", "--snapdir", &dir, "--key", key.to_str().unwrap(), "--supersede"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let ran = world.run(&["manifest", "verify", &first, "--trust", &lead]);
    assert!(ran.code == 4 && ran.stderr.contains("the lead has signed a newer manifest"), "{}", ran.stderr);
}

#[test]
fn usage_and_tickets_that_are_none() {
    let world = World::new();
    world.sign();
    let ran = world.run(&["manifest", "verify", &world.path("")]);
    assert!(ran.code == 2 && ran.stderr.contains("--trust"), "{}", ran.stderr);
    let ran = world.run(&["manifest", "sign", "--key", "k", "--attestations", "everyone"]);
    assert!(ran.code == 2 && ran.stderr.contains("no attestation rule"), "{}", ran.stderr);
    assert_eq!(world.run(&["ticket", "show"]).code, 2);
    let ran = world.run(&["ticket", "show", "hello"]);
    assert!(ran.code == 3 && ran.stderr.contains("not a ticket"), "{}", ran.stderr);
}
