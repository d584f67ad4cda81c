//! pg_dump: which program on this machine is run, with which arguments, and its text without the rows.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{Seek, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use kwil_formats::formats::Family;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::SpooledTempFile;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    cut::{Cut, SENTRY_TABLE},
    proxy::{Proxy, Relayed},
    selection::Selection,
    settings::Settings,
    skeleton::{Skeleton, TEXT_IN_MEMORY_BYTES},
};
use crate::base::{Advice, Context, Error, Next, Result, text::escape};

/// Major version of the oldest pg_dump that knows `--no-table-access-method`.
const MAJOR_MIN: u32 = 15;
/// From this major version on, pg_dump's `--blobs` is called `--large-objects`.
const MAJOR_OF_LARGE_OBJECTS: u32 = 16;
/// Bytes kept of pg_dump's error output; of a longer one its end, where the reason stands.
const STDERR_BYTES_MAX: usize = 4096;
/// Bytes kept of one line of pg_dump's error output; its beginning.
const STDERR_LINE_BYTES_MAX: usize = 400;
/// Bytes read of pg_dump's output at once: what a pipe holds.
const TEXT_READ_BYTES: usize = 64 << 10;

/// A pg_dump that was found and is new enough for the server it was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgDump {
    path: PathBuf,
    major: u32,
    version: String,
}

impl PgDump {
    /// Finds the program at `explicit`, or the best one on the machine, for a server of the given major version.
    ///
    /// # Errors
    /// When there is none, `explicit` names none that works, or none is as new as the server and version 15.
    pub async fn find(explicit: Option<&Path>, server_major: u32) -> Result<Self> {
        let paths = match explicit {
            Some(path) => vec![path.to_owned()],
            None => candidates("pg_dump", env::var_os("PATH").as_deref()),
        };
        let mut found = Vec::new();
        for path in paths {
            match PgDump::examine(&path).await {
                // None is better than the server's own version.
                Ok(program) if program.major == server_major && server_major >= MAJOR_MIN => return Ok(program),
                Ok(program) => found.push(program),
                // One that was named must work; others may be broken.
                Err(e) if explicit.is_some() => return Err(e),
                Err(e) => tracing::debug!("{}", e.chain()),
            }
        }
        choose(found, server_major)
    }

    async fn examine(path: &Path) -> Result<Self> {
        let mut command = Command::new(path);
        clean_environment(&mut command);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|e| {
            Error::failed(format!("cannot run pg_dump at {}", path.display())).because(e).hint(Next::NamePgDump)
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = version(text.trim()).filter(|_| output.status.success());
        version.map_or_else(
            || {
                Err(Error::failed(format!(
                    "{} is not a pg_dump: it answers \"{}\"",
                    path.display(),
                    escape(text.trim())
                ))
                .hint(Next::NamePgDump))
            },
            |(version, major)| Ok(PgDump { path: path.to_owned(), major, version: escape(version) }),
        )
    }

    /// The program's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program's major version, such as 16.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The program's version in its own words, such as `16.4`, made harmless to show.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Kwil's own argument list for the family, plus the exported
    /// snapshot; schema names are quoted so that each matches only itself.
    fn arguments(
        &self,
        settings: &Settings,
        proxy: (&Path, u16),
        family: Family,
        selection: &Selection,
        snapshot_id: &str,
    ) -> Vec<OsString> {
        let large_objects = if self.major >= MAJOR_OF_LARGE_OBJECTS { "--large-objects" } else { "--blobs" };
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |parts: &[&str]| arguments.extend(parts.iter().map(OsString::from));
        add(&["--dbname", &connection_string(&settings.dbname), "--format", "plain"]);
        let own = match family {
            Family::V09 => 3,
            Family::V010 => 4,
        };
        let (own, others) = selection.arguments.split_at(own.min(selection.arguments.len()));
        for [flag, pattern] in own {
            add(&[flag, pattern]);
        }
        add(&["-T", SENTRY_TABLE]);
        add(&["--no-unlogged-table-data", "--no-comments", "--create", "--no-publications"]);
        add(&["--no-tablespaces", "--no-table-access-method", "--no-security-labels", "--no-subscriptions"]);
        add(&[large_objects, "--no-owner", "--username", &settings.user]);
        add(&["--port", &proxy.1.to_string(), "--no-password", "--snapshot", snapshot_id]);
        for [flag, pattern] in others {
            add(&[flag, pattern]);
        }
        if let Some(file) = &selection.file {
            arguments.extend([OsString::from("--filter"), file.path().into()]);
        }
        arguments.extend([OsString::from("--host"), proxy.0.into()]);
        arguments
    }

    /// Runs pg_dump on the cut through a proxy that keeps the rows back. Dropping the future ends pg_dump.
    ///
    /// # Errors
    /// When pg_dump cannot be started, fails (with the end of what it said), or waits for a lock for ever.
    pub async fn skeleton(&self, cut: &Cut) -> Result<Skeleton> {
        cut.lookout().over(|| "lock the tables for pg_dump".to_owned(), self.run(cut)).await?
    }

    async fn run(&self, cut: &Cut) -> Result<Skeleton> {
        let settings = cut.settings();
        let facts = cut.facts();
        let proxy = Proxy::listen(settings.port)?;
        let mut command = Command::new(&self.path);
        clean_environment(&mut command);
        let place = (proxy.host(), proxy.port());
        let selection = Selection::of(facts, self.major)?;
        command.args(self.arguments(settings, place, facts.family, &selection, cut.snapshot_id()));
        if let Some(password) = &settings.password {
            command.env("PGPASSWORD", password.as_str());
        }
        command.env("PGOPTIONS", cut.session_options()).env("PGAPPNAME", cut.lookout().name());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Its own group: a terminal's Ctrl-C comes to us, and we end it with everything it started.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| {
            Error::failed(format!("cannot run pg_dump at {}", self.path.display())).because(e).hint(Next::NamePgDump)
        })?;
        let mut group = Group::of(&child);
        let stdout = child.stdout.take().ok_or_else(|| Error::failed("pg_dump has no output"))?;
        let stderr = child.stderr.take().ok_or_else(|| Error::failed("pg_dump has no error output"))?;
        let stderr = AbortOnDropHandle::new(tokio::spawn(last_lines(stderr)));
        let ended = async {
            let text = spool_all(stdout).await?;
            let status = child.wait().await.or_failed(|| "cannot wait for pg_dump")?;
            Ok::<_, Error>((text, status))
        };
        tokio::pin!(ended);
        let mut relay = Box::pin(proxy.relay(settings));
        let mut relayed: Option<Result<Relayed>> = None;
        let (text, status) = loop {
            tokio::select! {
                done = &mut relay, if relayed.is_none() => relayed = Some(done),
                ended = &mut ended => break ended?,
            }
        };
        group.0 = None;
        if !status.success() {
            let error = explain(status, &stderr.await.unwrap_or_default());
            // Where the server could not be reached any more, pg_dump only knows our socket.
            return Err(match relayed {
                Some(Err(lost)) => lost.because(error.chain()),
                _ => error,
            });
        }
        // It has closed its end: what is left to relay is its last words.
        let relayed = match relayed {
            Some(relayed) => relayed,
            None => relay.await,
        };
        let Relayed { copies, sets, session } = relayed?;
        Ok(Skeleton { text, copies, sets, session })
    }
}

/// Everything that the program writes, spooled, to be read from its beginning.
async fn spool_all(mut from: impl AsyncRead + Unpin) -> Result<SpooledTempFile> {
    let mut text = SpooledTempFile::new(TEXT_IN_MEMORY_BYTES);
    let mut buffer = vec![0; TEXT_READ_BYTES];
    loop {
        let n = from.read(&mut buffer).await.or_failed(|| "cannot read pg_dump's output")?;
        if n == 0 {
            break;
        }
        text.write_all(&buffer[..n]).or_failed(|| "cannot keep pg_dump's output in the temporary directory")?;
    }
    text.rewind().or_failed(|| "cannot read pg_dump's output again")?;
    Ok(text)
}

/// pg_dump's process group, which is killed when this is dropped; `None` once pg_dump has ended by itself.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

fn explain(status: ExitStatus, said: &str) -> Error {
    let said = said.trim();
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("pg_dump failed with exit code {code}"),
        (None, Some(signal)) => format!("pg_dump was ended by signal {signal}"),
        (None, None) => "pg_dump failed".to_owned(),
    };
    let error = if said.is_empty() { Error::failed(how) } else { Error::failed(how).because(one_line(said)) };
    let advice: Advice = if said.contains("permission denied") {
        Next::UseOwner.into()
    } else if said.contains("max_locks_per_transaction") {
        "pg_dump locks every table at once, and the server has not room for so many locks: ALTER SYSTEM SET \
         max_locks_per_transaction = 2048, restart the server, and run the command again"
            .into()
    } else if said.contains("password") || said.contains("authentication") {
        Next::CheckPassword.into()
    } else {
        "remove the cause and run the command again; nothing half-made was left".into()
    };
    error.hint(advice)
}

/// Several lines of another program as one, each made harmless.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(escape).collect::<Vec<_>>().join(" | ")
}

/// The last [`STDERR_BYTES_MAX`] bytes that a program says. Of a long line only the beginning is kept: pg_dump repeats
/// a query that failed, and one that locks every table has megabytes.
async fn last_lines(mut from: impl AsyncRead + Unpin) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut line_bytes = 0;
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        for byte in &buffer[..n] {
            line_bytes = if *byte == b'\n' { 0 } else { line_bytes + 1 };
            if line_bytes <= STDERR_LINE_BYTES_MAX {
                kept.push(*byte);
            }
        }
        let excess = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Takes every variable away that libpq or pg_dump would obey, for the settings are ours alone; messages are in
/// English. The proxy has a shorter limit for reaching the server; the 60 seconds here are for a log-in that hangs.
pub(super) fn clean_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").env("PGAPPNAME", "regenesis").env("PGCONNECT_TIMEOUT", "60");
}

/// The database's name as pg_dump's `--dbname`, which takes a name with
/// `=` in it, or one that begins like a URI, for a connection string.
fn connection_string(dbname: &str) -> String {
    if dbname.contains('=') || dbname.starts_with("postgres://") || dbname.starts_with("postgresql://") {
        format!("dbname='{}'", dbname.replace('\\', "\\\\").replace('\'', "\\'"))
    } else {
        dbname.to_owned()
    }
}

/// The version and its major number out of the answer to `--version`; the brackets hold the distributor's name.
fn version(answer: &str) -> Option<(&str, u32)> {
    let (_, version) = answer.strip_prefix("pg_dump (")?.split_once(") ")?;
    Some((version, leading_number(version)?))
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The program of the server's own major version, else the first
/// one found that is newer; an error with advice if none is.
fn choose(found: Vec<PgDump>, server_major: u32) -> Result<PgDump> {
    let Some(newest) = found.iter().max_by_key(|p| p.major).cloned() else {
        return Err(Error::failed("pg_dump was not found on PATH or among the installed PostgreSQL versions")
            .hint(Next::InstallPgDump { major: server_major }));
    };
    let wanted = server_major.max(MAJOR_MIN);
    let mut usable: Vec<PgDump> = found.into_iter().filter(|p| p.major >= wanted).collect();
    usable.sort_by_key(|p| p.major != server_major);
    match usable.into_iter().next() {
        Some(program) => Ok(program),
        None if newest.major < MAJOR_MIN => Err(Error::failed(format!(
            "pg_dump {} at {} is too old: {MAJOR_MIN} or newer is needed",
            newest.version,
            newest.path.display()
        ))
        .hint(Next::InstallNewerPgDump { major: wanted })),
        None => Err(Error::failed(format!(
            "pg_dump {} at {} is older than the server, which is PostgreSQL {server_major}",
            newest.version,
            newest.path.display()
        ))
        .hint(Next::InstallNewerPgDump { major: wanted })),
    }
}

/// Paths of a PostgreSQL program that exist: those on PATH first, then in packages' directories, newest version first.
pub(crate) fn candidates(name: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = path.map(|p| env::split_paths(p).collect()).unwrap_or_default();
    directories.extend(versioned_directories());
    let mut seen = Vec::new();
    for directory in directories {
        let program = directory.join(name);
        let executable = fs::metadata(&program).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        if executable && program.is_absolute() && !seen.contains(&program) {
            seen.push(program);
        }
    }
    seen
}

/// `bin` directories of installed PostgreSQL versions, newest first.
pub(crate) fn versioned_directories() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    // Debian and Ubuntu; Red Hat's packages; Homebrew.
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if let Some(major) = name.to_str().and_then(|n| n.strip_prefix(prefix)).and_then(|v| v.parse().ok()) {
                found.push((major, entry.path().join("bin")));
            }
        }
    }
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::settings::PartialSettings;

    fn program(path: &str, version: &str) -> PgDump {
        PgDump { path: path.into(), major: leading_number(version).unwrap(), version: version.into() }
    }

    fn arguments(major: &str, family: Family, schemas: &[&str]) -> Vec<String> {
        let settings = PartialSettings::default().complete(None, |_| {}).unwrap();
        let schemas: Vec<String> = schemas.iter().map(|s| (*s).to_owned()).collect();
        let selection = Selection::new(&schemas, &[], &[], 16).unwrap();
        let proxy = (Path::new("/private"), 5433);
        let arguments = program("/x", major).arguments(&settings, proxy, family, &selection, "0001-1");
        arguments.into_iter().map(|a| a.into_string().unwrap()).collect()
    }

    #[test]
    fn the_servers_own_version_is_chosen_then_a_newer_one() {
        let found = || vec![program("/a", "17.2"), program("/b", "15.18"), program("/c", "16.2")];
        assert_eq!(choose(found(), 16).unwrap().path(), Path::new("/c"));
        assert_eq!(choose(found(), 14).unwrap().path(), Path::new("/a"), "PATH's order");
        let e = choose(found(), 18).unwrap_err();
        assert!(e.to_string().contains("older than the server, which is PostgreSQL 18"), "{e}");
        assert!(e.advice().unwrap().names(&crate::base::Next::InstallNewerPgDump { major: 18 }));
    }

    #[test]
    fn old_and_missing_programs_are_said() {
        let e = choose(vec![program("/a", "14.9")], 13).unwrap_err();
        assert!(e.to_string().contains("too old"), "{e}");
        let e = choose(Vec::new(), 16).unwrap_err();
        assert!(e.to_string().contains("not found"), "{e}");
    }

    #[test]
    fn large_objects_are_spelt_as_the_version_knows_them() {
        let old = arguments("15.3", Family::V09, &["kwild_voting", "kwild_accts", "kwild_internal"]);
        assert!(old.contains(&"--blobs".to_owned()) && !old.contains(&"--large-objects".to_owned()));
        let new = arguments("16.0", Family::V09, &["kwild_voting", "kwild_accts", "kwild_internal"]);
        assert!(new.contains(&"--large-objects".to_owned()) && !new.contains(&"--blobs".to_owned()));
    }

    #[test]
    fn schemas_match_only_themselves() {
        let all = ["kwild_voting", "kwild_accts", "kwild_engine", "kwild_internal", "Od\"d*", "main"];
        let arguments = arguments("16.2", Family::V010, &all);
        let patterns: Vec<&str> = arguments.windows(2).filter(|w| w[0] == "--schema").map(|w| w[1].as_str()).collect();
        assert_eq!(
            patterns,
            [
                "\"kwild_voting\"",
                "\"kwild_accts\"",
                "\"kwild_engine\"",
                "\"kwild_internal\"",
                "\"Od\"\"d*\"",
                "\"main\""
            ]
        );
        let sentry = arguments.iter().position(|a| a == "-T").unwrap();
        assert_eq!(arguments[sentry + 1], "kwild_internal.sentry");
    }

    #[test]
    fn a_database_named_like_a_connection_string_is_still_a_name() {
        assert_eq!(connection_string("kwild"), "kwild");
        assert_eq!(connection_string("a=b'c"), r"dbname='a=b\'c'");
    }

    #[test]
    fn what_pg_dump_says_becomes_one_harmless_line() {
        let e = explain(ExitStatus::from_raw(1 << 8), "pg_dump: error: bad\npg_dump: detail: \u{1b}[31m\n");
        assert_eq!(e.chain(), "pg_dump failed with exit code 1: pg_dump: error: bad | pg_dump: detail: \\u{1b}[31m");
        assert_eq!(explain(ExitStatus::from_raw(9), "").chain(), "pg_dump was ended by signal 9");
    }

    #[tokio::test]
    async fn a_query_of_megabytes_does_not_hide_why_it_failed() {
        let said = format!(
            "pg_dump: error: query failed: ERROR:  out of shared memory\nHINT:  You might need to increase \
             max_locks_per_transaction.\npg_dump: detail: Query was: LOCK TABLE {}\n",
            "ds_x.t, ".repeat(300_000)
        );
        let e = explain(ExitStatus::from_raw(1 << 8), &last_lines(said.as_bytes()).await);
        assert!(e.chain().contains("out of shared memory") && e.chain().len() < 1000, "{}", e.chain());
        assert!(format!("{:?}", e.advice()).contains("ALTER SYSTEM SET max_locks_per_transaction"), "{e:?}");
    }

    #[test]
    fn version_texts_are_read() {
        assert_eq!(leading_number("15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(leading_number("17beta1"), Some(17));
        assert_eq!(leading_number("x"), None);
        for (answer, found) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(("15.18 (Debian 15.18-0+deb12u1)", 15))),
            ("pg_dump (EnterpriseDB) 16.2.0", Some(("16.2.0", 16))),
            ("pg_dump (Postgres Pro) 16.2", Some(("16.2", 16))),
            ("pg_dump (PostgreSQL) 16.2 - Percona Distribution", Some(("16.2 - Percona Distribution", 16))),
            ("pg_dumpall (PostgreSQL) 16.2", None),
            ("pg_dump (PostgreSQL)", None),
            ("pg_dump (Oracle) eleven", None),
        ] {
            assert_eq!(version(answer), found, "{answer}");
        }
    }
}
