//! A throw-away Postgres server of our own: for the tests, and for the product's `demo`. It lives in one temporary
//! directory, runs as an ordinary user also when we are root, and is gone when the value is dropped, or when this
//! process dies in any way: a small guardian shell waits for that and clears up.

mod programs;

use std::{
    ffi::OsStr,
    fmt, fs,
    io::{self, Write},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

use self::programs::{Account, Programs, clean};
use super::{
    dump,
    settings::{PartialSettings, Settings, SslMode},
};
use crate::base::{Context, Error, Result, clock, text::escape};

/// Name of the throw-away server's superuser, as whom everything is done.
const SUPERUSER: &str = "postgres";
/// How long a server on a busy machine may take until it is ready.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to stop before it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at a server that starts or stops.
const POLL_INTERVAL: Duration = Duration::from_millis(15);
/// Tries with another port when some other program takes the port between choosing and binding it.
const PORT_TRIES_MAX: u32 = 20;
/// Bytes of the path of the socket's directory: `sun_path` has 104 bytes
/// on some systems, and the socket's own name takes up to 20 of them.
const SOCKET_DIRECTORY_BYTES_MAX: usize = 80;

/// How a throw-away server is made.
#[derive(Clone, Default)]
pub struct ScratchOptions {
    /// The directory with `postgres` and `initdb`, and `psql` there or on PATH; `None`: that of the newest installed version.
    pub binaries: Option<PathBuf>,
    /// Settings of `postgresql.conf` that come after ours: name and value.
    pub parameters: Vec<(String, String)>,
    /// The superuser's password, asked for on every connection; `None`: everyone on this machine is let in.
    pub password: Option<Zeroizing<String>>,
    /// Files for the data directory, by name (certificates, for instance); only the server's user can read them.
    pub files: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for ScratchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScratchOptions").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

/// The directory of the server's programs of this major version, where a package of this system has one.
pub fn binaries_of(major: u32) -> Option<PathBuf> {
    // 16, pgsql-16 or postgresql@16
    let version = |directory: &Path| {
        let name = directory.parent()?.file_name()?.to_str()?;
        name.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()
    };
    let mut directories = dump::versioned_directories().into_iter().filter(|at| version(at) == Some(major));
    directories.find(|directory| Programs::find(Some(directory)).is_ok())
}

/// Whether this machine has PostgreSQL's server programs and, where we are root, an ordinary user to run them as.
pub fn is_possible() -> bool {
    Programs::find(None).is_ok() && Account::find().is_ok()
}

/// A running throw-away server; it stops and its directory goes when this is dropped.
pub struct Scratch {
    port: u16,
    password: Option<Zeroizing<String>>,
    parameters: Vec<(String, String)>,
    programs: Programs,
    // Dropped in this order: the server stops, then the guardian, then the directory goes.
    server: Server,
    guardian: Guardian,
    directory: TempDir,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("port", &self.port).field("server", &self.server).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Makes a server's data directory and starts the server.
    ///
    /// # Errors
    /// When no PostgreSQL is installed, no ordinary user exists to run it, no port is free, or it does not start.
    pub fn start(options: ScratchOptions) -> Result<Self> {
        let programs = Programs::find(options.binaries.as_deref())?;
        let account = Account::find()?;
        let directory = temporary_directory(&account)?;
        let guardian = Guardian::start(directory.path(), &account)?;
        let data = directory.path().join("data");
        initialise(&programs, &account, directory.path(), &data, options.password.as_ref())?;
        for (name, bytes) in &options.files {
            account.write(&data.join(name), bytes)?;
        }
        let mut tries = 0;
        let (server, port) = loop {
            let port = free_port()?;
            match Server::start(&programs, &account, directory.path(), &data, port, &options.parameters) {
                Ok(server) => break (server, port),
                Err(Start::PortTaken) if tries < PORT_TRIES_MAX => tries += 1,
                Err(Start::PortTaken) => return Err(Error::failed("found no free port for a throw-away Postgres")),
                Err(Start::Failed(e)) => return Err(e),
            }
        };
        let ScratchOptions { password, parameters, .. } = options;
        Ok(Scratch { port, password, parameters, programs, server, guardian, directory })
    }

    /// Stops the server and starts it again on the same data as a hot standby whose primary says nothing.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn become_standby(&mut self) -> Result<()> {
        self.server.stop();
        let account = Account::find()?;
        let data = self.directory.path().join("data");
        account.write(&data.join("standby.signal"), b"")?;
        match Server::start(&self.programs, &account, self.directory.path(), &data, self.port, &self.parameters) {
            Ok(server) => self.server = server,
            Err(Start::PortTaken) => {
                return Err(Error::failed("another program took the port of a throw-away Postgres"));
            }
            Err(Start::Failed(e)) => return Err(e),
        }
        Ok(())
    }

    /// The TCP port on 127.0.0.1 that the server listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a program of the same PostgreSQL, such as `pg_dump`; whether it exists is not checked.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name)
    }

    /// Process id of the server's postmaster.
    pub fn pid(&self) -> u32 {
        self.server.child.id()
    }

    /// How a client reaches `dbname` over TCP as superuser.
    pub fn settings(&self, dbname: &str) -> Settings {
        Settings {
            host: "127.0.0.1".to_owned(),
            host_address: None,
            port: self.port,
            user: SUPERUSER.to_owned(),
            dbname: dbname.to_owned(),
            password: self.password.clone(),
            ssl_mode: SslMode::Prefer,
            root_certificate: None,
            certificate: None,
            key: None,
        }
    }

    /// How a client reaches `dbname`, as one source of settings among several.
    pub fn partial_settings(&self, dbname: &str) -> PartialSettings {
        let settings = self.settings(dbname);
        PartialSettings {
            host: Some(settings.host),
            port: Some(settings.port),
            user: Some(settings.user),
            dbname: Some(settings.dbname),
            password: settings.password,
            ..PartialSettings::default()
        }
    }

    /// Makes an empty database with the encoding UTF8.
    ///
    /// # Errors
    /// When there is one of that name already.
    pub fn create_database(&self, dbname: &str) -> Result<()> {
        let name = dbname.replace('"', "\"\"");
        self.query("postgres", &format!("CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8'")).map(drop)
    }

    /// Makes a database and loads SQL text into it, plain or gzip, up to the first error.
    ///
    /// # Errors
    /// When a statement fails, with what psql says.
    pub fn load(&self, dbname: &str, sql: &[u8]) -> Result<()> {
        self.create_database(dbname)?;
        self.run(dbname, sql, true).map(drop)
    }

    /// Runs SQL text and gives what psql printed: rows only, one a line, values not aligned.
    ///
    /// # Errors
    /// When a statement fails, with what psql says.
    pub fn query(&self, dbname: &str, sql: &str) -> Result<String> {
        self.run(dbname, sql.as_bytes(), true)
    }

    /// Runs SQL text (plain or gzip) as kwild does: statements that fail are passed over. Gives psql's error output.
    ///
    /// # Errors
    /// When psql cannot run or connect.
    pub fn restore(&self, dbname: &str, sql: &[u8]) -> Result<String> {
        let output = self.psql(dbname, sql, false)?;
        if !output.status.success() {
            return Err(psql_failed(&output));
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn run(&self, dbname: &str, sql: &[u8], stop_at_error: bool) -> Result<String> {
        let output = self.psql(dbname, sql, stop_at_error)?;
        if !output.status.success() {
            return Err(psql_failed(&output));
        }
        String::from_utf8(output.stdout).or_failed(|| "psql printed what is not UTF-8")
    }

    fn psql(&self, dbname: &str, sql: &[u8], stop_at_error: bool) -> Result<Output> {
        let mut command = Command::new(self.program("psql"));
        clean(&mut command);
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"]);
        if stop_at_error {
            command.args(["--set", "ON_ERROR_STOP=1"]);
        }
        command.arg("--host").arg(self.socket_directory()).args(["--port", &self.port.to_string()]);
        command.args(["--username", SUPERUSER, "--dbname", dbname]);
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password.as_str());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().or_failed(|| "cannot run psql")?;
        let mut stdin = child.stdin.take().ok_or_else(|| Error::failed("psql has no input"))?;
        thread::scope(|scope| {
            let feeder = scope.spawn(move || feed_statements(sql, &mut stdin));
            let output = child.wait_with_output().or_failed(|| "cannot read psql's output")?;
            match feeder.join() {
                // psql that stops early closes its input; its own words say why.
                Ok(Err(e)) if e.kind() != io::ErrorKind::BrokenPipe => {
                    Err(Error::failed("cannot feed psql").because(e))
                }
                Ok(_) => Ok(output),
                Err(_) => Err(Error::failed("cannot feed psql")),
            }
        })
    }

    /// Stops the server and removes its directory; dropping does the same, but says nothing when it fails.
    ///
    /// # Errors
    /// When the directory cannot be removed.
    pub fn stop(mut self) -> Result<()> {
        self.server.stop();
        self.guardian.dismiss();
        self.directory.close().or_failed(|| "cannot remove the throw-away server's directory")
    }
}

fn feed_statements(sql: &[u8], to: &mut impl Write) -> io::Result<()> {
    if sql.starts_with(&[0x1f, 0x8b]) {
        io::copy(&mut MultiGzDecoder::new(sql), to).map(drop)
    } else {
        to.write_all(sql)
    }
}

fn psql_failed(output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<String> = said.lines().filter(|l| !l.trim().is_empty()).take(3).map(escape).collect();
    Error::failed("psql failed").because(lines.join(" | "))
}

/// Makes a private directory with a path short enough for a socket, which the server's user can reach.
fn temporary_directory(account: &Account) -> Result<TempDir> {
    let wanted = std::env::temp_dir();
    let usable = |parent: &Path| {
        parent.is_absolute()
            && parent.as_os_str().len() + 16 < SOCKET_DIRECTORY_BYTES_MAX
            && (account.0.is_none() || parent.ancestors().all(|p| fs::metadata(p).is_ok_and(|m| m.mode() & 0o001 != 0)))
    };
    let parent = if usable(&wanted) { wanted.as_path() } else { Path::new("/tmp") };
    let directory = tempfile::Builder::new()
        .prefix("regenesis-pg")
        .rand_bytes(6)
        .tempdir_in(parent)
        .or_failed(|| format!("cannot make a directory in {}", parent.display()))?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700))
        .or_failed(|| "cannot make a private directory")?;
    account.own(directory.path())?;
    Ok(directory)
}

fn initialise(
    programs: &Programs,
    account: &Account,
    directory: &Path,
    data: &Path,
    password: Option<&Zeroizing<String>>,
) -> Result<()> {
    let mut command = programs.command("initdb", account);
    command.arg("--pgdata").arg(data).args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C"]);
    command.args(["--no-sync", "--no-instructions"]);
    match password {
        Some(password) => {
            let file = directory.join("password");
            account.write(&file, password.as_bytes())?;
            command.args(["--auth", "scram-sha-256", "--pwfile"]).arg(file);
        }
        None => {
            command.args(["--auth", "trust"]);
        }
    }
    let output = command.output().or_failed(|| "cannot run initdb")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|l| !l.trim().is_empty()).map(escape).unwrap_or_default();
    Err(Error::failed("cannot make a throw-away Postgres: initdb failed").because(last))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).or_failed(|| "cannot bind a port on 127.0.0.1")?;
    Ok(listener.local_addr().or_failed(|| "cannot read the port that was bound")?.port())
}

/// Why a server did not start.
enum Start {
    PortTaken,
    Failed(Error),
}

impl From<Error> for Start {
    fn from(e: Error) -> Self {
        Start::Failed(e)
    }
}

/// The postmaster: the server's first process, whose end is the server's.
#[derive(Debug)]
struct Server {
    child: Child,
    stopped: bool,
}

impl Server {
    fn start(
        programs: &Programs,
        account: &Account,
        directory: &Path,
        data: &Path,
        port: u16,
        parameters: &[(String, String)],
    ) -> Result<Server, Start> {
        let log = directory.join("log");
        let what = || "cannot start a throw-away Postgres";
        let log_file = fs::File::create(&log).or_failed(what)?;
        let mut command = programs.command("postgres", account);
        command.arg("-D").arg(data).arg("-k").arg(directory);
        let ours = [
            ("port", port.to_string()),
            ("listen_addresses", "127.0.0.1".to_owned()),
            // Nothing of it outlives us.
            ("fsync", "off".to_owned()),
            ("synchronous_commit", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
            ("shared_buffers", "16MB".to_owned()),
            ("max_connections", "64".to_owned()),
            // What a Kwil database's own objects ask for.
            ("wal_level", "logical".to_owned()),
            ("max_prepared_transactions", "16".to_owned()),
            ("max_wal_senders", "8".to_owned()),
            ("max_replication_slots", "8".to_owned()),
        ];
        for (name, value) in
            ours.iter().map(|(n, v)| (*n, v.as_str())).chain(parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())))
        {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(Stdio::null()).stderr(log_file).process_group(0);
        let child = command.spawn().or_failed(what)?;
        let mut server = Server { child, stopped: false };
        server.wait_until_ready(data, &log)?;
        Ok(server)
    }

    /// Waits until the postmaster says in its pid file that it is ready, as pg_ctl does.
    fn wait_until_ready(&mut self, data: &Path, log: &Path) -> Result<(), Start> {
        let began = clock::now();
        loop {
            let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let mut lines = state.lines();
            let pid = lines.next().and_then(|l| l.trim().parse().ok());
            if pid == Some(self.child.id()) && lines.nth(6).is_some_and(|l| ["ready", "standby"].contains(&l.trim())) {
                return Ok(());
            }
            let ended = self.child.try_wait().or_failed(|| "cannot wait for Postgres")?.is_some();
            if ended || began.elapsed() > START_TIME_MAX {
                self.stopped = ended;
                let said = fs::read_to_string(log).unwrap_or_default();
                if said.contains("could not bind") || said.contains("could not create any TCP/IP sockets") {
                    return Err(Start::PortTaken);
                }
                let tail: Vec<String> = said.lines().rev().take(3).map(escape).collect();
                let what = if ended { "it ended at once" } else { "it does not come up" };
                return Err(Error::failed(format!("a throw-away Postgres does not start: {what}"))
                    .because(tail.into_iter().rev().collect::<Vec<_>>().join(" | "))
                    .into());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Stops the server at once (SIGQUIT): there is nothing worth writing out.
    fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        let began = clock::now();
        while began.elapsed() < STOP_TIME_MAX {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(POLL_INTERVAL),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A shell that sleeps until our end of its input closes, which happens also when we are killed; then it stops the
/// server and removes the directory.
#[derive(Debug)]
struct Guardian(Option<Child>);

impl Guardian {
    const SCRIPT: &'static str = r#"
        read -r _
        pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
        if [ -n "$pid" ]; then
            kill -QUIT "$pid" 2>/dev/null
            tries=0
            while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
            kill -KILL "$pid" 2>/dev/null
        fi
        # What still runs, initdb for instance, may write while we remove.
        tries=0
        while rm -rf "$1" 2>/dev/null; [ "$tries" -lt 10 ]; do
            sleep 1
            [ -e "$1" ] || exit
            tries=$((tries + 1))
        done
    "#;

    fn start(directory: &Path, account: &Account) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        account.apply(&mut command);
        command.arg("-c").arg(Self::SCRIPT).arg("sh").arg(AsRef::<OsStr>::as_ref(directory));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Guardian(Some(command.spawn().or_failed(|| "cannot start a shell")?)))
    }

    /// Ends the shell before its input closes: there is nothing left for it to do.
    fn dismiss(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.dismiss();
    }
}

#[cfg(test)]
mod tests;
