//! `setup check`: looks at root, server and machine at once, and says what kwild would make of them.

mod reach;

use std::{
    io::{self, Read},
    net::{TcpListener, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use kwil_formats::{
    formats::{Family, config::StartSettings},
    judge::collation::Collation,
    judge::readiness::{
        Access, Check, EnvironmentVariable, Expected, Fixes, Kwild, Machine, Peers, Port, PortState, Program,
        PsqlStart, RequiredSpace, judge_machine, judge_overruled, judge_peers, judge_root, judge_server, sort,
    },
};
use nix::{
    sys::resource::{Resource, getrlimit},
    unistd::{AccessFlags, access},
};
use serde::Serialize;

use crate::{
    base::{Advice, Context, Error, Finding, Level, Next, Progress, Result, durable},
    database::{Settings, readiness},
    manifest::statement,
    setup::Looked,
};

/// How long a program may take to say its version: a large one that a busy machine reads from a cold disk takes seconds.
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the last words of a program that has ended may take.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);
/// Time between two looks whether a program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The most bytes of a program's answer that are read.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// The most bytes of a psqlrc that are read.
const PSQLRC_BYTES_MAX: u64 = 64 << 10;

/// What `setup check` is told.
#[derive(Debug)]
pub struct CheckOptions {
    /// The node's root, already looked at, and its path.
    pub root: Option<(PathBuf, Looked)>,
    /// The node's database.
    pub settings: Settings,
    /// What the operator says the family is.
    pub family: Option<Family>,
    /// The kwild that is to run.
    pub kwild: Option<PathBuf>,
    /// Bytes of the snapshot's text.
    pub text_bytes: Option<u64>,
    /// How long the server may take to answer.
    pub connect_time_max: Duration,
    /// What `--fix` prints is wanted.
    pub fix: bool,
    /// How the old network's database orders text, where a manifest tells.
    pub collation: Option<Collation>,
    /// What the node's start depends on, where there is no root yet.
    pub start: Option<StartSettings>,
    /// What was found out elsewhere.
    pub more: Vec<Check>,
}

/// What was checked, in words.
#[derive(Debug, Serialize)]
pub struct Line {
    /// `ok`, `error`, `warning`, `note`.
    pub level: &'static str,
    /// A word for scripts.
    pub code: &'static str,
    /// What was seen.
    pub text: String,
    /// What the operator may do; `None` where nothing is advised.
    #[serde(skip)]
    pub next: Option<Advice>,
}

/// What `setup check` found.
#[derive(Debug, Serialize)]
pub struct MachineReport {
    /// kwild would start, and start right.
    pub ok: bool,
    /// Which family was checked for.
    pub family: Option<Family>,
    /// Where the database server is, as host and port.
    pub server: String,
    /// The database.
    pub dbname: String,
    /// The root.
    pub root: Option<String>,
    /// What is to be said; what kwild itself is silent about comes first.
    #[serde(skip)]
    pub findings: Vec<Finding>,
    /// Every check, good ones too.
    pub checks: Vec<Line>,
    /// What `--fix` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixes: Option<Fixes>,
}

impl MachineReport {
    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// The same where what is wrong under this code will be put right before kwild is started: then it is no error.
    #[must_use]
    pub(super) fn settled(mut self, code: &str, words: &str) -> Self {
        self.findings.retain(|finding| finding.code != code || finding.level != Level::Error);
        for line in self.checks.iter_mut().filter(|line| line.code == code && line.level == "error") {
            line.level = "ok";
            line.text = words.to_owned();
            line.next = None;
        }
        self.ok = self.count(Level::Error) == 0;
        self
    }

    /// What comes of the check, as one clause.
    pub fn verdict(&self) -> String {
        let many = |n: usize, noun: &str| crate::base::text::count(n as u64, noun);
        let (errors, warnings) = (self.count(Level::Error), self.count(Level::Warning));
        if errors > 0 {
            format!("kwild would not start, or start wrong: {}, {}", many(errors, "error"), many(warnings, "warning"))
        } else if warnings > 0 {
            format!("kwild can start; {} to look at", many(warnings, "warning"))
        } else {
            "ready: kwild can start".to_owned()
        }
    }
}

/// Looks everywhere at once and judges; changes nothing.
///
/// # Errors
/// When the look itself ends.
pub async fn check(options: CheckOptions) -> Result<MachineReport> {
    let CheckOptions { root, settings, family, kwild, text_bytes, connect_time_max, fix, collation, start, more } =
        options;
    let looked = root.as_ref().map(|(_, looked)| looked);
    let start = looked.and_then(|looked| looked.start.clone()).or(start);
    let wanted = family.or_else(|| looked.and_then(|looked| looked.family));
    let pg_dump_path = start.as_ref().map_or_else(|| "pg_dump".to_owned(), |start| start.pg_dump.clone());
    let program = |name: String| tokio::task::spawn_blocking(move || version_of(&name));
    let places = listen_addresses(start.as_ref(), wanted);
    let (access, psql, pg_dump, kwild, ports, psqlrc, peers) = tokio::join!(
        readiness::look(&settings, connect_time_max),
        program("psql".to_owned()),
        program(pg_dump_path.clone()),
        tokio::task::spawn_blocking(move || kwild.map(|path| ask_kwild(&path))),
        tokio::task::spawn_blocking(move || places.into_iter().map(try_port).collect::<Vec<Port>>()),
        tokio::task::spawn_blocking(psql_start_files),
        reach::dial(looked.and_then(|looked| looked.peers.clone()).unwrap_or_default()),
    );
    let ended = || "the check ended";
    let (psql, pg_dump, kwild) = (psql.or_failed(ended)?, pg_dump.or_failed(ended)?, kwild.or_failed(ended)?);
    let (ports, psqlrc) = (ports.or_failed(ended)?, psqlrc.or_failed(ended)?);

    let answer = kwild.as_ref().and_then(|kwild| kwild.answer.as_ref().ok());
    let wanted = wanted.or_else(|| answer.and_then(|(_, family, _)| *family));
    let truf = match wanted {
        Some(Family::V09) => Some(false),
        _ if looked.is_some_and(|looked| looked.truf) => Some(true),
        _ => answer.map(|(_, _, truf)| *truf),
    };
    let expected = Expected { family: wanted, truf, started: looked.is_some_and(|looked| looked.started) };
    let server = match &access {
        Access::Asked(server) => Some(server.as_ref()),
        Access::Refused(_) | Access::Pooler { .. } => None,
    };
    let free = |path: &Path| durable::free_space(path).ok().map(|free| (path.display().to_string(), free));
    let wal_max = server.and_then(|server| server.settings.get("max_wal_size"));
    let estimate = looked.and_then(|looked| looked.text_bytes);
    let machine = Machine {
        psql,
        pg_dump,
        pg_dump_path,
        skip_dependency_verification: start.as_ref().is_some_and(|start| start.skip_dependency_verification),
        state_sync: start.as_ref().is_some_and(|start| start.state_sync),
        environment: environment(),
        psqlrc,
        ports,
        ports_are_known: start.is_some(),
        open_files: getrlimit(Resource::RLIMIT_NOFILE).ok(),
        space: RequiredSpace {
            text: text_bytes.map(|said| (said, false)).or(estimate.map(|bytes| (bytes, true))),
            // In the server's unit, MiB.
            wal_max_bytes: wal_max.and_then(|setting| setting.value.parse::<u64>().ok()?.checked_mul(1 << 20)),
            data: server.and_then(|server| free(&readiness::local_data_directory(&settings, server)?)),
            root: root.as_ref().and_then(|(path, _)| free(path)),
        },
        kwild,
    };
    let place = settings.place();
    let mut checks = judge_server(&access, expected, &settings.new_database(collation.as_ref()), &place);
    checks.extend(more);
    if let Some(looked) = looked {
        checks.extend(judge_looked(looked, &peers, expected));
    }
    checks.extend(judge_machine(&machine, expected));
    sort(&mut checks);
    let findings: Vec<Finding> = checks.iter().filter_map(Check::finding).cloned().collect();
    Ok(MachineReport {
        ok: findings.iter().all(|finding| finding.level != Level::Error),
        family: wanted,
        server: settings.place(),
        dbname: settings.dbname,
        root: root.map(|(path, _)| path.display().to_string()),
        findings,
        fixes: fix.then(|| Fixes::of(&checks)),
        checks: checks.into_iter().map(report_line).collect(),
    })
}

/// What was found in a root, and whom it can dial.
fn judge_looked(looked: &Looked, peers: &Peers, expected: Expected) -> Vec<Check> {
    let mut checks = judge_root(&looked.root, expected);
    checks.extend(judge_overruled(&looked.overruled));
    if let (Some(_), Some(family), Some(_)) = (&looked.peers, looked.family, &looked.start) {
        checks.extend(judge_peers(peers, family, expected));
    }
    checks
}

fn report_line(check: Check) -> Line {
    match check {
        Check::Good { code, text, next } => Line { level: "ok", code, text, next },
        Check::Found { finding, .. } => Line {
            level: match finding.level {
                Level::Error => "error",
                Level::Warning => "warning",
                Level::Note => "note",
            },
            code: finding.code,
            text: finding.text,
            next: finding.fix,
        },
    }
}

/// Where the node will listen: by its config.toml, else Kwil's defaults.
fn listen_addresses(start: Option<&StartSettings>, family: Option<Family>) -> Vec<(String, String)> {
    let of = |settings: &StartSettings| {
        settings.listeners.iter().map(|l| (l.key.to_owned(), l.address.clone())).collect::<Vec<_>>()
    };
    match (start, family) {
        (Some(start), _) => of(start),
        (None, family) => of(&StartSettings::defaults(family.unwrap_or(Family::V010))),
    }
}

/// An address of the admin service as kwild reads it: with its own port where none is said, or a URL.
fn admin_address(key: &str, address: &str) -> Result<String, String> {
    let port = match key {
        "app.admin_listen_addr" => 8485,
        "admin.listen" => 8584,
        _ => return Ok(address.to_owned()),
    };
    if address.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (scheme, rest) = address.split_once("://").map_or((None, address), |(scheme, rest)| (Some(scheme), rest));
    if rest.starts_with('/') && scheme == Some("https") {
        return Err("kwild has no TLS on a unix socket".to_owned());
    }
    let has_port = rest.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    Ok(if rest.starts_with('/') || has_port { rest.to_owned() } else { format!("{rest}:{port}") })
}

/// Whether kwild could make a unix socket there; it makes the directories above.
fn check_socket(address: &str) -> Result<(), String> {
    // As many bytes as the system takes, less the zero behind them.
    const PATH_BYTES_MAX: usize = 107;
    if address.len() > PATH_BYTES_MAX {
        let length = address.len();
        return Err(format!("a unix socket's path has at most {PATH_BYTES_MAX} bytes, and this one has {length}"));
    }
    let path = Path::new(address);
    if path.is_dir() {
        return Err("it is a directory".to_owned());
    }
    let above = durable::parent(path).ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    match access(above, AccessFlags::W_OK | AccessFlags::X_OK) {
        _ if !above.is_dir() => Err(format!("{} is no directory", above.display())),
        Ok(()) => Ok(()),
        Err(e) => Err(format!("{}: {}", above.display(), e.desc())),
    }
}

/// Tries to listen, and lets go at once.
fn try_port((key, address): (String, String)) -> Port {
    let address = match admin_address(&key, &address) {
        Ok(address) => address,
        Err(why) => return Port { key, address, state: PortState::Refused(why) },
    };
    let state = if address.starts_with('/') {
        match (check_socket(&address), UnixStream::connect(&address)) {
            (Err(why), _) => PortState::Refused(why),
            (_, Ok(_)) => PortState::Taken,
            // Nobody, or what a node left that was killed.
            (_, Err(_)) => PortState::Free,
        }
    } else {
        match address.to_socket_addrs() {
            Err(e) => PortState::Refused(format!("no such address ({e})")),
            Ok(addresses) => match TcpListener::bind(addresses.collect::<Vec<_>>().as_slice()) {
                Ok(_) => PortState::Free,
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => PortState::Taken,
                Err(e) => PortState::Refused(e.to_string()),
            },
        }
    };
    Port { key, address, state }
}

/// Runs a program for its words; it is ended when it takes too long.
fn words_of(program: &Path, arguments: &[&str]) -> io::Result<(bool, String)> {
    let late = || io::Error::other(format!("no answer within {PROGRAM_TIME_MAX:?}"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take();
    let (sender, words) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = output.map(|output| output.take(OUTPUT_BYTES_MAX).read_to_end(&mut text));
        let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
    });
    let end = crate::base::clock::now() + PROGRAM_TIME_MAX;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if crate::base::clock::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(late());
        }
        std::thread::sleep(POLL_INTERVAL);
    };
    // What the program left running may hold its output open for ever.
    let words = words.recv_timeout(LAST_WORDS_TIME).map_err(|_| late())?;
    Ok((status.success(), words))
}

fn version_of(name: &str) -> Program {
    match words_of(Path::new(name), &["--version"]) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Program::Missing,
        Err(e) => Program::Broken(e.to_string()),
        Ok((ended_well, text)) => {
            let version = text.trim().split_once("(PostgreSQL) ").map(|(_, version)| version.to_owned());
            let digits = |version: &String| version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
            match version.as_ref().filter(|_| ended_well).and_then(digits) {
                Some(major) => Program::Version { text: version.unwrap_or_default(), major },
                None => Program::Broken(format!("it answers {:?}", crate::base::text::escape(text.trim()))),
            }
        }
    }
}

/// Both families answer `--version`; TRUF's fork has a flag of its own.
fn ask_kwild(path: &Path) -> Kwild {
    let shown = path.display().to_string();
    let answer = words_of(path, &["--version"]).map_err(|e| e.to_string()).and_then(|(ended_well, text)| {
        let version = text.trim().split_once("version ").map(|(_, version)| version.trim().to_owned());
        let Some(version) = version.filter(|_| ended_well) else {
            return Err(format!("it answers {:?}", crate::base::text::escape(text.trim())));
        };
        let is = |prefix: &str| version.trim_start_matches('v').starts_with(prefix);
        let family = match () {
            () if is("0.9.") => Some(Family::V09),
            () if is("0.10.") || is("0.11.") => Some(Family::V010),
            () => None,
        };
        let truf = family == Some(Family::V010)
            && words_of(path, &["setup", "init", "--help"])
                .is_ok_and(|(_, help)| help.contains("--maa-activation-height"));
        Ok((version, family, truf))
    });
    Kwild { path: shown, answer }
}

/// What a kwild says of its version, for others to be told; `None` where none is named, or it does not say.
pub async fn kwild_version(kwild: Option<&Path>, progress: &Progress) -> Option<String> {
    let path = kwild?.to_owned();
    let asked = tokio::task::spawn_blocking(move || ask_kwild(&path)).await.ok()?;
    match asked.answer {
        Ok((version, ..)) if statement::Readiness::is_version(&version) => Some(version),
        answer => {
            let why = answer.err().unwrap_or_else(|| "it says too much".to_owned());
            progress.warning(format!("the others are not told which kwild runs here: {}: {why}", asked.path));
            None
        }
    }
}

/// The variables that libpq and psql read, but for secrets.
fn environment() -> Vec<EnvironmentVariable> {
    let mut found: Vec<EnvironmentVariable> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let shown = name.starts_with("PG") && !name.contains("PASS") && !name.contains("KEY");
            shown.then(|| EnvironmentVariable { name, value: value.to_string_lossy().into_owned() })
        })
        .filter(|variable| !variable.value.is_empty())
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The files that psql runs before anything else, as far as they are there.
fn psql_start_files() -> Vec<PsqlStart> {
    let mut paths: Vec<PathBuf> = Vec::new();
    match std::env::var_os("PGSYSCONFDIR") {
        Some(directory) => paths.push(Path::new(&directory).join("psqlrc")),
        None => paths.extend(["/etc/postgresql-common/psqlrc", "/etc/psqlrc"].map(PathBuf::from)),
    }
    match (std::env::var_os("PSQLRC").filter(|path| !path.is_empty()), std::env::home_dir()) {
        (Some(path), _) => paths.push(path.into()),
        (None, Some(home)) => {
            // One for each version, as .psqlrc-16; whichever psql finds.
            let entries = std::fs::read_dir(&home).into_iter().flatten().flatten();
            let mut own: Vec<PathBuf> = entries
                .filter(|entry| {
                    entry.file_name().to_str().is_some_and(|name| name == ".psqlrc" || name.starts_with(".psqlrc-"))
                })
                .map(|entry| entry.path())
                .collect();
            own.sort();
            paths.extend(own);
        }
        (None, None) => {}
    }
    paths.into_iter().filter_map(|path| read_start_file(&path)).collect()
}

fn read_start_file(path: &Path) -> Option<PsqlStart> {
    if !path.is_file() {
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(PSQLRC_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(PsqlStart { path: path.display().to_string(), text: String::from_utf8_lossy(&text).into_owned() })
}

/// The error of a check that found one, and what is done about it.
pub fn refusal(readiness: &MachineReport, next: Next) -> Error {
    Error::refused(readiness.verdict()).hint(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_leaves_its_output_open_is_not_waited_for() {
        let asked = words_of(Path::new("/bin/sh"), &["-c", "sleep 60 & echo psql"]);
        assert!(asked.is_err(), "{asked:?}");
        let asked = words_of(Path::new("/bin/sh"), &["-c", "echo psql"]);
        assert_eq!(asked.unwrap(), (true, "psql\n".to_owned()));
    }

    #[test]
    fn admin_addresses_as_kwild_reads_them() {
        let v09 = |address| admin_address("app.admin_listen_addr", address);
        let v010 = |address| admin_address("admin.listen", address);
        assert_eq!(v010("127.0.0.1"), Ok("127.0.0.1:8584".to_owned()));
        assert_eq!(v09("127.0.0.1"), Ok("127.0.0.1:8485".to_owned()));
        assert_eq!(v09("https://127.0.0.1:7"), Ok("127.0.0.1:7".to_owned()));
        assert_eq!(v010("[::1]:7"), Ok("[::1]:7".to_owned()));
        assert_eq!(v010("/tmp/x.sock"), Ok("/tmp/x.sock".to_owned()));
        assert!(v010("https:///tmp/x.sock").is_err() && v010("").is_err());
        assert_eq!(admin_address("rpc.listen", "h"), Ok("h".to_owned()), "others must have a port");
    }

    #[test]
    fn sockets_that_cannot_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name).display().to_string();
        let state = |address: String| try_port(("admin.listen".to_owned(), address)).state;
        assert_eq!(state(place("new/kwild.sock")), PortState::Free, "kwild makes the directory");
        let refused = |address: String, words: &str| match state(address) {
            PortState::Refused(why) => assert!(why.contains(words), "{why}"),
            other => panic!("{other:?}"),
        };
        refused(place(&"x".repeat(108)), "at most 107 bytes");
        refused(place(""), "it is a directory");
        std::fs::write(place("file"), "").unwrap();
        refused(place("file/kwild.sock"), "is no directory");
    }
}
