//! Where the programs of a throw-away server are, and as whom they run.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{Gid, Uid, User, chown};

use super::super::dump;
use crate::base::{Context, Error, Result};

/// The directory that holds the server's programs.
#[derive(Debug, Clone)]
pub(super) struct Programs(PathBuf);

impl Programs {
    const SERVERS: [&'static str; 2] = ["postgres", "initdb"];

    /// Finds the directory that has all of them: the named one, else the newest installed version's, `pg_config`'s, or one on
    /// PATH. A named one may have its psql elsewhere on PATH, as where the client's programs are a package of their own.
    pub(super) fn find(named: Option<&Path>) -> Result<Self> {
        let serves = |directory: &Path| Self::SERVERS.iter().all(|name| directory.join(name).is_file());
        let complete = |directory: &PathBuf| serves(directory) && directory.join("psql").is_file();
        if let Some(named) = named {
            let found = Programs(named.to_owned());
            return Some(found).filter(|found| serves(named) && found.path("psql").is_file()).ok_or_else(|| {
                Error::failed(format!("{} does not hold postgres, initdb and psql", named.display()))
                    .hint("give the bin directory of a PostgreSQL server")
            });
        }
        let on_path = |name| dump::candidates(name, std::env::var_os("PATH").as_deref());
        let mut directories = dump::versioned_directories();
        let mut ask = Command::new("pg_config");
        if let Ok(output) = ask.arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output() {
            directories.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
        directories.extend(on_path("postgres").iter().filter_map(|p| p.parent()).map(Path::to_owned));
        directories.into_iter().find(complete).map(Programs).ok_or_else(|| {
            Error::failed("no PostgreSQL server is installed on this machine")
                .hint("install it (Debian, Ubuntu: apt-get install postgresql)")
        })
    }

    /// A program's path: in the directory, else on PATH.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let here = self.0.join(name);
        let elsewhere = || dump::candidates(name, std::env::var_os("PATH").as_deref()).into_iter().next();
        if here.is_file() { here } else { elsewhere().unwrap_or(here) }
    }

    pub(super) fn command(&self, name: &str, account: &Account) -> Command {
        let mut command = Command::new(self.path(name));
        clean(&mut command);
        account.apply(&mut command);
        command.stdin(Stdio::null());
        command
    }
}

/// Takes away every variable that libpq, psql or the server would obey.
pub(super) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"PG") || bytes.starts_with(b"PSQL") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
}

/// The user and group that the server runs as, if we are root; `None` when we are an ordinary user ourselves.
#[derive(Debug)]
pub(super) struct Account(pub(super) Option<(Uid, Gid)>);

impl Account {
    /// Finds the ordinary user: `postgres`, else `nobody`. PostgreSQL refuses to run as root.
    pub(super) fn find() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Account(None));
        }
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = User::from_name(name)
                && !user.uid.is_root()
            {
                return Ok(Account(Some((user.uid, user.gid))));
            }
        }
        Err(Error::failed("Postgres does not run as root, and there is no user postgres or nobody to run it as")
            .hint("run the command as an ordinary user"))
    }

    pub(super) fn apply(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.0 {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        // The user may have no right to the directory we stand in.
        command.current_dir("/");
    }

    pub(super) fn own(&self, path: &Path) -> Result<()> {
        match self.0 {
            Some((uid, gid)) => {
                chown(path, Some(uid), Some(gid)).or_failed(|| format!("cannot give {} away", path.display()))
            }
            None => Ok(()),
        }
    }

    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let what = || format!("cannot write {}", path.display());
        fs::write(path, bytes).or_failed(what)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).or_failed(what)?;
        self.own(path)
    }
}
