//! The program that a join starts once enough others are ready: kwild, as a rule. It is named on this machine's command line
//! and nowhere else, is started without a shell, and gets the signals that the join gets.

use std::{
    ffi::OsString,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::Joining;
use crate::base::{Context, Error, Progress, Result, clock, task::CancellationToken, text::escape};

/// What is to be started.
#[derive(Debug)]
pub struct Program {
    /// Its name or path, and its arguments.
    pub argv: Vec<OsString>,
    /// Where its words go.
    pub stdout: Stdio,
}

impl Program {
    /// Finds out whether there is such a program, before hours are spent on what it is to be started for.
    ///
    /// # Errors
    /// Usage, where it cannot be started.
    pub fn check(&self) -> Result<()> {
        let name = self.argv.first().ok_or_else(|| Error::usage("no program is named"))?;
        let path = Path::new(name);
        let can_run = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        let found = match name.as_encoded_bytes().contains(&b'/') {
            true => can_run(path),
            false => std::env::var_os("PATH").is_some_and(|all| {
                std::env::split_paths(&all).any(|directory: PathBuf| can_run(&directory.join(path)))
            }),
        };
        if found {
            return Ok(());
        }
        Err(Error::usage(format!("there is no program {}, or it may not be run", escape(&path.to_string_lossy())))
            .hint("give its path and its arguments, as a shell would run it"))
    }

    /// Starts it in a process group of its own, so that a terminal's Ctrl-C reaches it once, through this process. Signals have
    /// their default meaning in it; one that was ignored when this process started stays ignored.
    fn start(self) -> Result<Child> {
        let (name, arguments) = self.argv.split_first().ok_or_else(|| Error::usage("no program is named"))?;
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::null()).stdout(self.stdout).process_group(0);
        command
            .spawn()
            .or_failed(|| format!("cannot start {}", escape(&name.to_string_lossy())))
            .map_err(|e| e.hint("the root is ready, and the others are: start it by hand"))
    }
}

/// What a shell would call the end of a process.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

impl Joining {
    /// Starts the program, serves others for `linger` meanwhile, and gives the exit code with which the program ends. The
    /// first signal of this process, which `signal` tells, is passed on to it.
    ///
    /// # Errors
    /// When it cannot be started; what happens to the serving ends nothing but the serving.
    pub async fn run_program(
        self,
        program: Program,
        linger: Duration,
        signal: impl Fn() -> u8,
        cancel: &CancellationToken,
    ) -> Result<u8> {
        let Joining { served, mut company, progress, mut certified } = self;
        let mut child = program.start()?;
        let pid = child.id();
        progress.note(format!("started process {}: the others are ready, too", pid.unwrap_or_default()));
        let began = clock::now();
        let (mut served, mut told) = (Some(served), false);
        let status = loop {
            let over = told || clock::now().duration_since(began) >= linger;
            if let Some(served) = served.take_if(|_| over) {
                served.stop().await;
            }
            let step = async {
                match &mut served {
                    None => std::future::pending().await,
                    Some(served) => {
                        company.update(served.node(), &progress).await?;
                        super::keep_certificate(company.root(), served.node(), &mut certified)?;
                        let heard = served.node().next().await?;
                        served.node().tell_served(&heard);
                        Ok(())
                    }
                }
            };
            tokio::select! {
                status = child.wait() => break status.or_failed(|| "cannot wait for the program")?,
                () = cancel.cancelled(), if !told => {
                    told = true;
                    pass_on(pid, signal(), &progress);
                }
                stepped = step => {
                    let stepped: Result<()> = stepped;
                    if let Err(e) = stepped {
                        progress.warning(format!("others are not served any more: {}", e.chain()));
                        if let Some(served) = served.take() {
                            served.stop().await;
                        }
                    }
                }
            }
        };
        if let Some(served) = served {
            served.stop().await;
        }
        let code = code_of(status);
        progress.note(format!("the program ended with code {code}"));
        Ok(code)
    }
}

/// Sends the signal that this process got.
fn pass_on(pid: Option<u32>, signal: u8, progress: &Progress) {
    let target = pid.and_then(|pid| i32::try_from(pid).ok());
    let signal = Signal::try_from(i32::from(signal)).unwrap_or(Signal::SIGTERM);
    // Where there is nobody any more, it has ended, which is seen at once.
    if target.is_some_and(|pid| kill(Pid::from_raw(pid), signal).is_ok()) {
        progress.note(format!("{signal} was passed on to the program; waiting for its end"));
    }
}
