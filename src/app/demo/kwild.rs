//! Real kwild on the roots of a demo: started as their operators would start them, watched by the blocks in their databases,
//! and always ended by their process ids.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use kwil_formats::formats::Family;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::{
    guardian::{self, Guardian},
    nodes::Nodes,
    told::Told,
};
use crate::{
    base::{Context, Error, Result, clock, text::escape},
    database::scratch::Scratch,
};

/// The height that every node shall reach.
const HEIGHT_WANTED: i64 = 3;
/// How long a kwild may take for its restore, and all of them until they have made their blocks.
const TIME_MAX: Duration = Duration::from_secs(300);
/// Time between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// What a v0.9 kwild logs once it has restored its snapshot.
const RESTORED: &str = "ABCI application is ready";
/// Bytes of a log's end that are searched for why kwild ended.
const LOG_BYTES_MAX: u64 = 256 << 10;

/// One running kwild.
#[derive(Debug)]
struct Kwild {
    name: String,
    child: Child,
    log: PathBuf,
    guardian: Guardian,
}

/// The kwild of all nodes.
#[derive(Debug, Default)]
pub(super) struct Kwilds(Vec<Kwild>);

impl Kwilds {
    /// Starts a kwild on each root and waits until all have made three blocks. `path` is where they find psql and pg_dump.
    ///
    /// # Errors
    /// When one ends by itself, with what its log says last, or they take too long.
    pub(super) async fn run(
        &mut self,
        program: &Path,
        path: &OsStr,
        nodes: &Nodes,
        scratch: &Arc<Scratch>,
        tell: &(dyn Fn(Told) + Send + Sync),
    ) -> Result<()> {
        // Tables of one name in the databases of one server: four that restore at once wait for each other for ever.
        let one_by_one = nodes.world.family == Family::V09;
        tell(Told::Starting { program: program.display().to_string(), one_by_one });
        if one_by_one {
            for number in 0..nodes.count() {
                self.start(program, path, nodes, number)?;
                self.wait_for_restore().await?;
                self.stop().await?;
            }
        }
        for number in 0..nodes.count() {
            self.start(program, path, nodes, number)?;
        }
        self.wait_for_blocks(nodes, scratch, tell).await
    }

    fn start(&mut self, program: &Path, path: &OsStr, nodes: &Nodes, number: usize) -> Result<()> {
        let (name, log) = (format!("kwild of {}", nodes.name(number)), nodes.home(number)?.join("kwild.log"));
        let what = || format!("cannot write {}", log.display());
        let file = File::options().create(true).append(true).open(&log).or_failed(what)?;
        let mut command = Command::new(program);
        match nodes.world.family {
            Family::V09 => command.arg("--root-dir"),
            Family::V010 => command.args(["start", "-r"]),
        };
        command.arg(nodes.root(number)?).env("PATH", path).env("HOME", nodes.directory());
        for (variable, _) in std::env::vars_os() {
            let bytes = variable.as_encoded_bytes();
            if ["PG", "PSQL", "KWIL"].iter().any(|begin| bytes.starts_with(begin.as_bytes())) {
                command.env_remove(&variable);
            }
        }
        let errors = file.try_clone().or_failed(what)?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors).kill_on_drop(true);
        // What a terminal's Ctrl-C sends reaches us, and we end kwild.
        command.process_group(0);
        let child = command.spawn().or_failed(|| format!("cannot start {}", program.display()))?;
        let guardian = Guardian::of_process(child.id())?;
        self.0.push(Kwild { name, child, log, guardian });
        Ok(())
    }

    async fn wait_for_restore(&mut self) -> Result<()> {
        let began = clock::now();
        while !self.0.iter().all(|kwild| kwild.log_end().contains(RESTORED)) {
            self.still_run()?;
            if began.elapsed() > TIME_MAX {
                return Err(self.too_long("did not restore its snapshot"));
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn wait_for_blocks(
        &mut self,
        nodes: &Nodes,
        scratch: &Arc<Scratch>,
        tell: &(dyn Fn(Told) + Send + Sync),
    ) -> Result<()> {
        let began = clock::now();
        let mut shown = Vec::new();
        loop {
            let databases: Vec<String> = (0..nodes.count()).map(|number| nodes.database(number)).collect();
            let server = scratch.clone();
            let heights =
                super::blocking(move || Ok(databases.iter().map(|name| height(&server, name)).collect())).await?;
            if heights != shown {
                shown = heights;
                tell(Told::Heights(shown.clone()));
            }
            if shown.iter().all(|height| height.is_some_and(|height| height >= HEIGHT_WANTED)) {
                return Ok(());
            }
            self.still_run()?;
            if began.elapsed() > TIME_MAX {
                return Err(self.too_long("did not make three blocks"));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn still_run(&mut self) -> Result<()> {
        for kwild in &mut self.0 {
            if let Some(status) = kwild.child.try_wait().or_failed(|| format!("cannot wait for the {}", kwild.name))? {
                return Err(
                    Error::failed(format!("the {} ended by itself: {status}", kwild.name)).because(kwild.words())
                );
            }
        }
        Ok(())
    }

    fn too_long(&self, what: &str) -> Error {
        let last = self.0.last().map(Kwild::words).unwrap_or_default();
        Error::failed(format!("kwild {what} within {}", humantime::format_duration(TIME_MAX))).because(last)
    }

    /// Asks all to end, waits 15 seconds at most, and kills those that do not.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for kwild in &self.0 {
            if let Some(id) = kwild.child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
        }
        let mut outcome = Ok(());
        for mut kwild in self.0.drain(..) {
            let ended = kwild.end().await;
            outcome = outcome.and(ended.map(drop));
        }
        outcome
    }
}

impl Kwild {
    async fn end(&mut self) -> Result<ExitStatus> {
        guardian::ended(&mut self.child, &mut self.guardian, &format!("the {}", self.name)).await
    }

    /// The end of its log; empty where it cannot be read.
    fn log_end(&self) -> String {
        let read = || {
            let mut file = File::open(&self.log)?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size.saturating_sub(LOG_BYTES_MAX)))?;
            let mut bytes = Vec::new();
            file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    /// What its log says of an error, or says last.
    fn words(&self) -> String {
        let log = self.log_end();
        let is_error = |line: &&str| ["error", "Error", "panic"].iter().any(|word| line.contains(word));
        let line = log.lines().find(is_error).or(log.lines().rfind(|line| !line.trim().is_empty()));
        format!("{}: {}", self.log.display(), escape(line.unwrap_or("nothing was logged").trim()))
    }
}

/// The last block in a node's database.
fn height(server: &Scratch, database: &str) -> Option<i64> {
    // As long as kwild restores there is no such table.
    let found = server.query(database, "SELECT max(height) FROM kwild_chain.chain").ok()?;
    found.trim().parse().ok()
}

/// The kwild that is named, as an absolute path.
///
/// # Errors
/// When no program is there.
pub(super) fn program(path: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let what = || format!("cannot start kwild at {}", path.display());
    let metadata = fs::metadata(path).or_failed(what)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(Error::usage(format!("{} is no program", path.display())));
    }
    fs::canonicalize(path).or_failed(what)
}
