//! Real processes of the program under test: each party has a home of its own, every wait has one outer limit, and
//! whatever still runs when a test ends is killed by its id.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use kwil_formats::{
    dump::{filter::DumpFilter, guard::Arranger},
    formats::{Family, genesis::Genesis},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use regenesis::{
    base::Sha256Hash,
    cli::{misspelt, unknown_flags},
    database::scratch::{Scratch, ScratchOptions},
    manifest::Ticket,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Longer than anything takes on a busy machine; only a hang gets here.
const LIMIT: Duration = Duration::from_secs(180);

/// Listen on a free port of this machine only.
pub(crate) const LOOPBACK: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

/// The one server of this binary; it ends with this process.
pub(crate) fn server() -> &'static Scratch {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    SERVER.get_or_init(|| Scratch::start(ScratchOptions::default()).unwrap())
}

/// Moves every other row to its table's end, then lets the server write the tables anew, some sorted by their key.
pub(crate) const SHUFFLE: &str = r"
SELECT format('UPDATE %s SET %I = %I WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER () AS n FROM %s) x WHERE n %% 2 = 1)',
  c.oid::regclass, a.attname, a.attname, c.oid::regclass)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = (
    SELECT min(b.attnum) FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attnum > 0 AND NOT b.attisdropped)
  WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
\gexec
SELECT format('VACUUM FULL %s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
\gexec
";

pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

pub(crate) fn unzip(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    text
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o7777
}

/// Names in a directory, sorted.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// One gzip member.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A snapshot's text with the guard around it.
pub(crate) fn guarded(family: Family, text: &[u8]) -> Vec<u8> {
    let (mut arranger, mut first, mut last) = (Arranger::default(), Vec::new(), Vec::new());
    arranger.push(text, &mut first, &mut last).unwrap();
    arranger.finish().unwrap();
    let (mut filter, mut guarded) = (DumpFilter::of_snapshot(family), Vec::new());
    filter.push(&first, &mut guarded).unwrap();
    filter.push(&last, &mut guarded).unwrap();
    filter.finish_snapshot(&mut guarded).unwrap();
    guarded
}

/// A pair that one of Kwil's tools made, with the guard around its text and the new hash in its genesis.
pub(crate) struct GuardedRecording {
    pub(crate) genesis: Vec<u8>,
    pub(crate) text: Vec<u8>,
    pub(crate) file: Vec<u8>,
    hashes: [Sha256Hash; 2],
}

impl GuardedRecording {
    /// Of a directory of the recordings; made once.
    pub(crate) fn of(family: Family, directory: &str) -> Arc<Self> {
        static MADE: Mutex<BTreeMap<String, Arc<GuardedRecording>>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap();
        let make = || {
            let from = data(directory);
            let text = guarded(family, &unzip(&from.join(family.snapshot_file_name())));
            let new = Sha256Hash::from_bytes(Sha256::digest(&text).into());
            let kwils = fs::read(from.join("genesis.json")).unwrap();
            let old = Genesis::parse(&kwils).unwrap().state_hash().unwrap();
            let genesis = Genesis::repin(&kwils, new).unwrap();
            Arc::new(GuardedRecording { genesis, file: gzip(&text), text, hashes: [old, new] })
        };
        made.entry(directory.to_owned()).or_insert_with(make).clone()
    }

    /// The same words with the new hash for Kwil's.
    pub(crate) fn renew(&self, words: &str) -> String {
        let [old, new] = self.hashes.map(|hash| hex::encode(hash.as_bytes()));
        let [old64, new64] = self.hashes.map(|hash| STANDARD.encode(hash.as_bytes()));
        words.replace(&old, &new).replace(&old.to_uppercase(), &new.to_uppercase()).replace(&old64, &new64)
    }
}

/// The key file of a recorded quartet's validator.
pub(crate) fn validator_key(family: Family, number: usize) -> PathBuf {
    match family {
        Family::V09 => data(&format!("v0.9/worlds/quartet/keys/node{number}.private_key")),
        Family::V010 => data(&format!("v0.10/worlds/quartet/nodekey.node{number}.json")),
    }
}

/// What a run of the program gave.
#[derive(Debug)]
pub(crate) struct Run {
    /// Exit code, or 128 + signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The result of a run with `--output json` that went well: stdout is that one object.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        let json: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert_eq!(json["error"], "");
        json["result"].clone()
    }

    /// The run went well.
    #[track_caller]
    pub(crate) fn done(self) -> Run {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The run failed with this code, prints no result, says these words, and what to do next.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "", "stdout carries results only");
        for word in words.iter().chain(&["error: ", "next: "]) {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
    }
}

#[derive(Default)]
struct Heard {
    stdout: String,
    stderr: String,
    /// Ends of pipes that are still open.
    open: u8,
}

/// A process of the program.
pub(crate) struct Process {
    child: Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let heard: Arc<(Mutex<Heard>, Condvar)> = Arc::default();
        heard.0.lock().unwrap().open = 2;
        listen(child.stdout.take().unwrap(), heard.clone(), |heard| &mut heard.stdout);
        listen(child.stderr.take().unwrap(), heard.clone(), |heard| &mut heard.stderr);
        Process { child, heard }
    }

    /// Waits until `look` finds something in stdout and stderr.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&str, &str) -> Option<T>) -> T {
        let mut found = None;
        let (heard, _) = self
            .heard
            .1
            .wait_timeout_while(self.heard.0.lock().unwrap(), LIMIT, |heard| {
                found = look(&heard.stdout, &heard.stderr);
                found.is_none() && heard.open > 0
            })
            .unwrap();
        let (stdout, stderr) = (heard.stdout.clone(), heard.stderr.clone());
        drop(heard);
        found.unwrap_or_else(|| panic!("waited for {what}; stdout: {stdout}; stderr: {stderr}"))
    }

    /// Waits until stderr says this.
    #[track_caller]
    pub(crate) fn wait_for_words(&self, words: &str) {
        self.wait_for(words, |_, stderr| stderr.contains(words).then_some(()));
    }

    /// The ticket, once it serves: the first line of stdout.
    #[track_caller]
    pub(crate) fn ticket(&self) -> String {
        self.wait_for("a ticket", |stdout, _| stdout.split_once('\n').map(|(line, _)| line.to_owned()))
    }

    /// Waits for `more` further lines of progress about `task` and gives what the last one says: done, and the total.
    #[track_caller]
    pub(crate) fn progress(&self, task: &str, more: usize) -> (u64, u64) {
        let lines = |stderr: &str| -> Vec<(u64, u64)> {
            let whole = stderr.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let values = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            values
                .filter(|v| v["task"] == task)
                .filter_map(|v| Some((v["done"].as_u64()?, v["total"].as_u64()?)))
                .collect()
        };
        let before = lines(&self.heard.0.lock().unwrap().stderr).len();
        self.wait_for(task, |_, stderr| lines(stderr).get(before + more - 1..)?.last().copied())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Run {
        let (heard, late) =
            self.heard.1.wait_timeout_while(self.heard.0.lock().unwrap(), LIMIT, |heard| heard.open > 0).unwrap();
        let (stdout, stderr) = (heard.stdout.clone(), heard.stderr.clone());
        drop(heard);
        assert!(!late.timed_out(), "it does not end; stdout: {stdout}; stderr: {stderr}");
        let status = self.child.wait().unwrap();
        let code = status.code().or(status.signal().map(|s| 128 + s)).unwrap();
        for line in stderr.lines().filter_map(|line| line.trim_start().strip_prefix("next: ")) {
            let wrong = [misspelt(line), unknown_flags(line)].concat();
            assert!(wrong.is_empty(), "it advises what it does not take: {wrong:?} in {line}");
        }
        Run { code, stdout, stderr }
    }

    /// Sends a signal and waits for its end.
    #[track_caller]
    pub(crate) fn stop(self, signal: Signal) -> Run {
        self.signal(signal);
        self.finish()
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test's own words, which are shown where it fails")]
    fn drop(&mut self) {
        if thread::panicking() {
            // What failed the test may have happened in another process than the one whose words it shows.
            let ended = self.child.try_wait();
            if let Ok(heard) = self.heard.0.try_lock() {
                eprintln!("process {}, ended: {ended:?}\n{}\n{}", self.child.id(), heard.stdout, heard.stderr);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(pipe: impl Read + Send + 'static, heard: Arc<(Mutex<Heard>, Condvar)>, place: fn(&mut Heard) -> &mut String) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            place(&mut heard.0.lock().unwrap()).push_str(&String::from_utf8_lossy(&line));
            heard.1.notify_all();
            line.clear();
        }
        heard.0.lock().unwrap().open -= 1;
        heard.1.notify_all();
    });
}

/// Someone with a machine of their own: a home, where every relative path leads, and a state directory.
pub(crate) struct Party {
    home: TempDir,
}

impl Party {
    pub(crate) fn new() -> Self {
        Party { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The program, with nothing of the caller's environment that it would obey.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        // What a shell started behind ignores SIGINT and SIGQUIT, and the program keeps to that: these tests send it all the same.
        let mut command = Command::new("/usr/bin/env");
        command.args(["--default-signal=HUP,INT,QUIT,TERM", env!("CARGO_BIN_EXE_regenesis")]);
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            if bytes.starts_with(b"PG") || bytes.starts_with(b"REGENESIS") || bytes.starts_with(b"XDG") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.home.path()).current_dir(self.home.path()).stdin(Stdio::null());
        command.args(args);
        command
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        Process::spawn(self.command(args))
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.spawn(args).finish()
    }

    /// With `--state-dir` and a listening address, as every command of the swarm but `seed` takes them.
    pub(crate) fn swarm(&self, args: &[&str]) -> Process {
        self.spawn(&[args, &LOOPBACK, &["--state-dir", "state"]].concat())
    }

    /// `seed --dir`.
    pub(crate) fn seed(&self, directory: &str) -> Process {
        self.spawn(&[&["seed", "--dir", directory], &LOOPBACK[..]].concat())
    }

    /// `publish --dir` with the key of this party.
    pub(crate) fn publish(&self, directory: &str) -> Process {
        self.swarm(&["publish", "--dir", directory, "--key", "lead.key"])
    }

    /// `fetch` into `into`, without staying; gives up soon.
    pub(crate) fn fetch(&self, ticket: &str, into: &str) -> Process {
        self.swarm(&["fetch", ticket, "--dir", into, "--linger", "none", "--timeout", "20s"])
    }

    /// `join` without staying.
    pub(crate) fn join(&self, ticket: &str, root: &str, flags: &[&str]) -> Process {
        self.swarm(&[&["join", ticket, "--root-dir", root, "--linger", "none"], flags].concat())
    }

    /// `join` that says itself how long it stays.
    pub(crate) fn join_and_stay(&self, ticket: &str, root: &str, flags: &[&str]) -> Process {
        self.swarm(&[&["join", ticket, "--root-dir", root], flags].concat())
    }

    /// Puts a recorded snapshot of the family's quartet, with the guard around it, into `directory`, and a lead's key beside
    /// it.
    pub(crate) fn take_recording(&self, family: Family, directory: &str) {
        let from = match family {
            Family::V09 => "v0.9/worlds/quartet/kwil-admin",
            Family::V010 => "v0.10/worlds/quartet/kwild-snapshot",
        };
        let guarded = GuardedRecording::of(family, from);
        self.write(&format!("{directory}/genesis.json"), &guarded.genesis);
        self.write(&format!("{directory}/{}", family.snapshot_file_name()), &guarded.file);
        self.take_key(family, 0, "lead.key");
    }

    /// Puts a legal v0.10 snapshot into `directory`, with so many rows of a kilobyte that no compressor makes small, and a lead's key
    /// beside it.
    pub(crate) fn take_large(&self, directory: &str, rows: u32) {
        let recording = GuardedRecording::of(Family::V010, "v0.10/worlds/quartet/kwild-snapshot");
        let copy = b"COPY notes.notes (id, txt, bin) FROM stdin;\n";
        let at = recording.text.windows(copy.len()).position(|w| w == copy).unwrap() + copy.len();
        let (head, tail) = recording.text.split_at(at);
        let mut text = head.to_vec();
        let mut random = blake3::Hasher::new().finalize_xof();
        let mut bytes = [0; 1000];
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for row in 0..rows {
            random.fill(&mut bytes);
            text.extend_from_slice(format!("{}\t", 1_000_000 + row).as_bytes());
            text.extend(bytes.iter().map(|b| letters[usize::from(b & 63)]));
            text.extend_from_slice(b"\t\\N\n");
        }
        text.extend_from_slice(tail);
        let hash = Sha256Hash::from_bytes(Sha256::digest(&text).into());
        self.write(&format!("{directory}/genesis.json"), Genesis::repin(&recording.genesis, hash).unwrap());
        self.write(&format!("{directory}/snapshot.sql.gz"), gzip(&text));
        self.take_key(Family::V010, 0, "lead.key");
    }

    /// The same as Kwil's own tool made it, without the guard.
    pub(crate) fn take_kwils_recording(&self, family: Family, directory: &str) {
        let from = data(match family {
            Family::V09 => "v0.9/worlds/quartet/kwil-admin",
            Family::V010 => "v0.10/worlds/quartet/kwild-snapshot",
        });
        for name in ["genesis.json", family.snapshot_file_name()] {
            self.write(&format!("{directory}/{name}"), fs::read(from.join(name)).unwrap());
        }
        self.take_key(family, 0, "lead.key");
    }

    /// Copies a recorded validator's key.
    pub(crate) fn take_key(&self, family: Family, number: usize, name: &str) {
        self.write(name, fs::read(validator_key(family, number)).unwrap());
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// The ticket with something else in it.
pub(crate) fn change(ticket: &str, change: impl FnOnce(&mut Ticket)) -> String {
    let mut ticket: Ticket = ticket.parse().unwrap();
    change(&mut ticket);
    ticket.to_text().unwrap()
}
