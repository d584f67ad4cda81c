//! What clears up should the demo itself be killed.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tokio::time::timeout;

use crate::base::{Context, Error, Result};

/// How long a process may take to end after it was asked to.
pub(super) const STOP_TIME_MAX: Duration = Duration::from_secs(15);

/// A shell that waits until our end of its input closes, which happens also when we are killed, and then clears up.
#[derive(Debug)]
pub(super) struct Guardian(Option<Child>);

impl Guardian {
    /// Ends the process.
    pub(super) fn of_process(id: Option<u32>) -> Result<Self> {
        let id = id.ok_or_else(|| Error::failed("the process ended at once"))?;
        Self::start(r#"read -r _; kill "$1" 2>/dev/null"#, id.to_string().into())
    }

    /// Removes the directory, once the processes that write there have ended.
    pub(super) fn of_directory(path: &Path) -> Result<Self> {
        let script =
            r#"read -r _; for n in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" 2>/dev/null; sleep 1; [ -e "$1" ] || exit; done"#;
        Self::start(script, path.as_os_str().to_owned())
    }

    fn start(script: &str, argument: OsString) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg("sh").arg(argument).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Guardian(Some(command.spawn().or_failed(|| "cannot start a shell")?)))
    }

    /// Ends the shell before its input closes: there is nothing left to clear up.
    pub(super) fn dismiss(&mut self) {
        if let Some(mut shell) = self.0.take() {
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

/// Waits until a process that was asked to stop has ended, kills it if it does not in time, and dismisses its guardian.
///
/// # Errors
/// When it can be neither waited for nor killed.
pub(super) async fn ended(
    process: &mut tokio::process::Child,
    guardian: &mut Guardian,
    name: &str,
) -> Result<ExitStatus> {
    let cannot = || format!("cannot stop {name}");
    let status = match timeout(STOP_TIME_MAX, process.wait()).await {
        Ok(status) => status.or_failed(cannot)?,
        Err(_) => {
            process.kill().await.or_failed(cannot)?;
            process.wait().await.or_failed(cannot)?
        }
    };
    guardian.dismiss();
    Ok(status)
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.dismiss();
    }
}
