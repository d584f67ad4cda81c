//! A database of our own on somebody's server, in which a restore is tried: made, filled by psql as kwild fills it,
//! counted, and dropped. In goes a snapshot's text, out come psql's complaints and each table's rows.

use std::{collections::BTreeMap, env, fmt::Write as _, path::PathBuf, process::Stdio, sync::Arc};

use kwil_formats::judge::rehearsal::Complaints;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rand::{TryRngCore, rngs::OsRng};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::Command,
    sync::mpsc::Receiver,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connect::{Connection, explain_query, is_missing_database, words},
    dump::{self, clean_environment},
    settings::{Settings, SslMode},
};
use crate::base::{Context, Error, Next, Result, text};

/// How the names of rehearsal databases begin; 16 random hex digits follow.
const NAME_PREFIX: &str = "regenesis_rehearsal_";
/// Databases that every server has, from which others are made and dropped; they are tried in this order.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];
/// Bytes that are kept of one line of psql's error output; the rest of a longer line is passed over.
const LINE_BYTES_MAX: u64 = 4096;

/// An empty database with a name that nobody else uses. It stays on the server until [`RehearsalDatabase::remove`].
#[derive(Debug)]
pub struct RehearsalDatabase {
    /// How the rehearsal's own database is reached.
    settings: Settings,
    /// How the database is reached from which this one was made and is dropped.
    maintenance: Settings,
    server_major: u32,
    server_version: String,
}

impl RehearsalDatabase {
    /// Makes the database on the server that the settings lead to; the database that they name is not looked at.
    ///
    /// # Errors
    /// `Kind::Refused` where the role may not make databases; `Kind::Failed` when the server cannot be reached or
    /// asked, or cannot make it.
    pub async fn make(settings: &Settings) -> Result<Self> {
        let (connection, maintenance) = connect_to_any_database(settings).await?;
        let client = &connection.client;
        const DOING: &str = "ask what the role may do";
        let sql = "SELECT rolsuper OR rolcreatedb, pg_catalog.current_setting('server_version_num')::int4 / 10000, \
                   pg_catalog.current_setting('server_version') FROM pg_catalog.pg_roles WHERE rolname = current_user";
        let row = client.query_one(sql, &[]).await.map_err(|e| explain_query(e, DOING, &maintenance))?;
        if !row.try_get::<_, bool>(0).or_failed(|| DOING)? {
            return Err(Error::refused(format!(
                "\"{}\" may not make databases at {}, and no existing one is ever touched",
                maintenance.user,
                maintenance.place()
            ))
            .hint(
                "give a role with CREATEDB (kwild's own is a superuser), or leave the database flags out: then a \
                   throw-away server is started",
            ));
        }
        let server_major = u32::try_from(row.try_get::<_, i32>(1).or_failed(|| DOING)?).unwrap_or(0);
        let server_version = text::escape(&row.try_get::<_, String>(2).or_failed(|| DOING)?);
        let mut random = [0; 8];
        OsRng.try_fill_bytes(&mut random).or_failed(|| "the system gives no randomness")?;
        let mut name = NAME_PREFIX.to_owned();
        for byte in random {
            let _ = write!(name, "{byte:02x}");
        }
        // Of no template but the empty one: what an operator put into template1 is no part of a new node's database.
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        client.batch_execute(&create).await.map_err(|e| {
            let full = e.code().is_some_and(|code| code.code() == "53100");
            let error = Error::failed(format!("cannot make a database at {}", maintenance.place())).because(words(&e));
            error.hint(if full {
                "the server's disk is full: make room there, or use another server"
            } else {
                "use a role that may make databases, on a server with room"
            })
        })?;
        let settings = Settings { dbname: name, ..maintenance.clone() };
        Ok(RehearsalDatabase { settings, maintenance, server_major, server_version })
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.settings.dbname
    }

    /// Major version of the server, such as 16; 0 where it says none.
    pub fn server_major(&self) -> u32 {
        self.server_major
    }

    /// The server's version in its own words, such as `16.9 (Debian 16.9-1)`.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// How the database is reached.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs a statement in the database, over a connection of its own.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the statement.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let connection = Connection::open(&self.settings).await?;
        let done = connection.client.batch_execute(sql).await;
        done.map_err(|e| explain_query(e, "prepare the rehearsal's database", &self.settings))
    }

    /// Feeds text to psql as kwild does, but without psqlrc and without anything of our environment that psql would
    /// obey, and collects what it complains of. Dropping the future ends psql and what it started.
    ///
    /// # Errors
    /// When there is no psql, or it ends badly for any other reason than a statement that failed.
    pub async fn load(&self, mut text: Receiver<Arc<impl AsRef<[u8]>>>) -> Result<Complaints> {
        let program = psql()?;
        let mut command = Command::new(&program);
        clean_environment(&mut command);
        let settings = &self.settings;
        command.arg("--username").arg(&settings.user).arg("--host").arg(&settings.host);
        command.args(["--port", &settings.port.to_string(), "--dbname", &settings.dbname, "--no-password"]);
        // kwild gives psql no file: then psql would not say in which line something failed.
        command.args(["--no-psqlrc", "--set", "VERBOSITY=verbose", "--file", "-"]);
        if let Some(password) = &settings.password {
            command.env("PGPASSWORD", password.as_str());
        }
        command.env("PGSSLMODE", settings.ssl_mode.as_str());
        let files = [
            ("PGSSLROOTCERT", settings.root_certificate.as_ref().filter(|_| settings.ssl_mode > SslMode::Prefer)),
            ("PGSSLCERT", settings.certificate.as_ref()),
            ("PGSSLKEY", settings.key.as_ref()),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                command.env(name, file);
            }
        }
        if let Some(address) = &settings.host_address {
            command.env("PGHOSTADDR", address);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().or_failed(|| format!("cannot run psql at {}", program.display()))?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
        let mut stdin = child.stdin.take().ok_or_else(|| Error::failed("psql has no input"))?;
        let stderr = child.stderr.take().ok_or_else(|| Error::failed("psql has no error output"))?;
        let said = AbortOnDropHandle::new(tokio::spawn(listen(stderr)));
        while let Some(piece) = text.recv().await {
            // A psql that ended says below why.
            if stdin.write_all((*piece).as_ref()).await.is_err() {
                break;
            }
        }
        drop((stdin, text));
        let status = child.wait().await.or_failed(|| "cannot wait for psql")?;
        group.dismiss();
        let complaints = said.await.or_failed(|| "psql's words were lost")?;
        // A guarded text ends psql at the first statement that fails: what it said of that is the finding.
        let stopped = status.code() == Some(PSQL_SCRIPT_FAILED) && complaints.any();
        if !status.success() && !stopped {
            let why = complaints.last_words().unwrap_or("it said nothing").to_owned();
            return Err(Error::failed(format!("psql ended with {status}"))
                .because(why)
                .hint("is the server still running? the rehearsal can simply be run again"));
        }
        Ok(complaints)
    }

    /// The number of rows of each ordinary table, by `schema.table`;
    /// tables in `public` and PostgreSQL's own are left out.
    ///
    /// # Errors
    /// When the server cannot be reached or asked.
    pub async fn rows(&self) -> Result<BTreeMap<String, u64>> {
        const DOING: &str = "count the restored rows";
        let connection = Connection::open(&self.settings).await?;
        let explain = |e| explain_query(e, DOING, &self.settings);
        let sql = "SELECT n.nspname::text, c.relname::text, \
                   pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) \
                   FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public')";
        let mut rows = BTreeMap::new();
        for table in connection.client.query(sql, &[]).await.map_err(explain)? {
            let column = |n: usize| table.try_get::<_, String>(n).or_failed(|| DOING);
            let count = format!("SELECT pg_catalog.count(*) FROM ONLY {}", column(2)?);
            let counted = connection.client.query_one(&count, &[]).await.map_err(explain)?;
            let counted = counted.try_get::<_, i64>(0).or_failed(|| DOING)?;
            rows.insert(format!("{}.{}", column(0)?, column(1)?), u64::try_from(counted).unwrap_or(0));
        }
        Ok(rows)
    }

    /// Drops the database, whoever is connected to it.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; the error names the database and the statement that drops it.
    pub async fn remove(self) -> Result<()> {
        let name = self.settings.dbname;
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        let dropped = async {
            let connection = Connection::open(&self.maintenance).await?;
            connection
                .client
                .batch_execute(&drop)
                .await
                .map_err(|e| Error::failed("the server refuses").because(words(&e)))
        };
        dropped.await.map_err(|e: Error| {
            Error::failed(format!("the rehearsal's database {name} at {} is still there", self.maintenance.place()))
                .because(e)
                .hint(format!("drop it: psql … -c '{drop}'"))
        })
    }
}

/// A connection to a database that is sure to be there, with the settings that lead to it.
async fn connect_to_any_database(settings: &Settings) -> Result<(Connection, Settings)> {
    let mut missing = None;
    for dbname in MAINTENANCE {
        let settings = Settings { dbname: dbname.to_owned(), ..settings.clone() };
        match Connection::open(&settings).await {
            Ok(connection) => return Ok((connection, settings)),
            Err(e) if is_missing_database(&e) => missing = Some(e),
            Err(e) => return Err(e.hint(Next::ScratchServer)),
        }
    }
    Err(missing.unwrap_or_else(|| Error::failed("no database to connect to")).hint(Next::ScratchServer))
}

/// The psql that kwild would run: the first on PATH, else that of the newest installed version.
fn psql() -> Result<PathBuf> {
    dump::candidates("psql", env::var_os("PATH").as_deref()).into_iter().next().ok_or_else(|| {
        Error::failed("psql was not found on PATH or among the installed PostgreSQL versions")
            .hint("install postgresql-client-16: kwild needs it, too")
    })
}

/// psql's exit status where a statement failed and `ON_ERROR_STOP` was set.
const PSQL_SCRIPT_FAILED: i32 = 3;

/// psql's process group, which is killed when this is dropped: a
/// cancelled future ends psql and what a wrapper script of psql started.
struct Group(Option<Pid>);

impl Group {
    fn dismiss(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Reads psql's error output to its end and keeps what of it counts.
async fn listen(from: impl AsyncRead + Unpin) -> Complaints {
    let mut from = BufReader::new(from);
    let mut complaints = Complaints::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return complaints,
            Ok(_) => complaints.push(&line),
        }
        // What is left of a longer line is no line of its own.
        while line.last() != Some(&b'\n') {
            line.clear();
            match (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return complaints,
                Ok(_) => {}
            }
        }
    }
}
