//! What clears up should the demo itself be killed.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::base::{Context, Error, Result};

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

impl Drop for Guardian {
    fn drop(&mut self) {
        self.dismiss();
    }
}
