//! The flags of every command that reads a database: in go flags, a node's root, libpq's variables and files, out come
//! the settings of a connection.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use kwil_formats::formats::{
    GENESIS_FILE_NAME,
    config::{self, CONFIG_FILE_NAME, Overruled},
    genesis::Genesis,
};
use zeroize::Zeroizing;

use super::values::{Secret, home};
use crate::{
    base::{Context, Error, Progress, Result, limits::PASSWORD_FILE_SIZE_BYTES_MAX},
    database::{PartialSettings, Settings, SslMode},
    setup, snapshot,
};

/// Which database, and how to reach it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database (flag > --from-root > PGSERVICE > PG… variables > default)")]
pub(crate) struct DatabaseArgs {
    /// Database of the node [default: kwild]
    #[arg(long, value_name = "NAME")]
    dbname: Option<String>,
    /// Host; a path is the directory of a unix socket [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,
    /// Port [default: 5432]
    #[arg(long)]
    port: Option<u16>,
    /// Role [default: kwild]
    #[arg(long, value_name = "ROLE")]
    user: Option<String>,
    /// Password, in sight of everyone on this machine; better PGPASSWORD, ~/.pgpass or --password-file
    #[arg(long, conflicts_with = "password_file", hide = true)]
    password: Option<Secret>,
    /// File that holds nothing but the password (or use PGPASSWORD, ~/.pgpass)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How much TLS: disable, prefer, require (no certificate is checked), verify-ca or verify-full [default: prefer]
    #[arg(long, value_name = "MODE")]
    sslmode: Option<SslMode>,
    /// Root of the node: its config.toml says where the database is, its genesis which network it is
    #[arg(long, value_name = "DIR")]
    from_root: Option<PathBuf>,
}

/// The old node's database, where another database is set by flags of its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Old node's database (this node says whether it holds the signed state)")]
pub(crate) struct OldDatabaseArgs {
    /// Database of the old node [default: as its root says, else kwild]
    #[arg(long, value_name = "NAME")]
    old_dbname: Option<String>,
    /// Its host; a path is the directory of a unix socket
    #[arg(long, value_name = "HOST")]
    old_host: Option<String>,
    /// Its port
    #[arg(long, value_name = "PORT")]
    old_port: Option<u16>,
    /// Its role
    #[arg(long, value_name = "ROLE")]
    old_user: Option<String>,
    /// File that holds nothing but its password
    #[arg(long, value_name = "FILE")]
    old_password_file: Option<PathBuf>,
    /// How much TLS, as --sslmode of other commands
    #[arg(long, value_name = "MODE")]
    old_sslmode: Option<SslMode>,
    /// Root of the old node, where its settings are not carried over
    #[arg(long, value_name = "DIR")]
    old_from_root: Option<PathBuf>,
}

impl OldDatabaseArgs {
    /// The same as flags of a command that reads one database; `root` is the old node's where these flags name none.
    pub(crate) fn database(self, root: Option<PathBuf>) -> DatabaseArgs {
        DatabaseArgs {
            dbname: self.old_dbname,
            host: self.old_host,
            port: self.old_port,
            user: self.old_user,
            password: None,
            password_file: self.old_password_file,
            sslmode: self.old_sslmode,
            from_root: self.old_from_root.or(root),
        }
    }
}

/// The settings of a connection, and what was found in the node's root on the way.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) settings: Settings,
    /// The node's root that `--from-root` names; `None` without it.
    pub(crate) root: Option<NodeRoot>,
    /// The genesis in the root that `--from-root` names; `None` without it, or where it is not there.
    pub(crate) genesis: Option<Genesis>,
}

/// A node's root that `--from-root` names.
#[derive(Debug)]
pub(crate) struct NodeRoot {
    pub(crate) directory: PathBuf,
    /// The snapshot file that the root's config.toml names; `None` if it names none.
    pub(crate) genesis_state: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The same flags, with another flag's root, if there is one, in the place of `--from-root`.
    pub(crate) fn with_root(mut self, root: Option<PathBuf>) -> Self {
        self.from_root = root.or(self.from_root);
        self
    }

    /// The root that is named, where nothing else of it is asked for.
    pub(crate) fn old_root(&self) -> Option<PathBuf> {
        self.from_root.clone()
    }

    /// Whether any of the flags was given.
    pub(crate) fn is_given(&self) -> bool {
        self.names_a_server() || self.from_root.is_some()
    }

    /// Whether any of the flags but `--from-root` was given.
    pub(crate) fn names_a_server(&self) -> bool {
        let DatabaseArgs { dbname, host, port, user, password, password_file, sslmode, from_root: _ } = self;
        dbname.is_some()
            || host.is_some()
            || port.is_some()
            || user.is_some()
            || password.is_some()
            || password_file.is_some()
            || sslmode.is_some()
    }

    /// Reads all sources in their order: flags, `--from-root`, the service file, libpq's variables, Kwil's defaults.
    pub(crate) fn resolve(mut self, progress: &Progress) -> Result<Resolved> {
        let (config, genesis, root) = match self.from_root.take() {
            Some(root) => {
                let (config, genesis_state) = root_settings(&root, progress)?;
                let genesis = root_genesis(&root, progress)?;
                (Some(config), genesis, Some(NodeRoot { directory: root, genesis_state }))
            }
            None => (None, None, None),
        };
        Ok(Resolved { settings: self.settings(config, progress)?, root, genesis })
    }

    /// The settings of [`DatabaseArgs::resolve`]; where `--from-root` is not given, `root` stands in its place.
    pub(crate) fn settings(self, root: Option<PartialSettings>, progress: &Progress) -> Result<Settings> {
        if self.password.is_some() {
            progress.warning(
                "--password can be read by everyone on this machine (ps); use PGPASSWORD, ~/.pgpass or --password-file",
            );
        }
        let password = match (self.password, &self.password_file) {
            (Some(password), _) => Some(password.0),
            (None, Some(path)) => Some(read_password(path, progress)?),
            (None, None) => None,
        };
        let flags = PartialSettings {
            host: self.host,
            port: self.port,
            user: self.user,
            dbname: self.dbname,
            password,
            ssl_mode: self.sslmode,
            ..PartialSettings::default()
        };
        let root = match self.from_root {
            Some(root) => root_settings(&root, progress)?.0,
            None => root.unwrap_or_default(),
        };
        let variable = |name: &str| std::env::var_os(name);
        let service = PartialSettings::from_service(variable, home().as_deref())?;
        let environment = PartialSettings::from_environment(variable)?;
        flags.or(root).or(service).or(environment).complete(home().as_deref(), |warning| progress.warning(warning))
    }
}

/// The password in a file that holds nothing else, without its line end.
fn read_password(path: &Path, progress: &Progress) -> Result<Zeroizing<String>> {
    let what = || format!("cannot read the password file {}", path.display());
    let file = fs::File::open(path).or_failed(what)?;
    let metadata = file.metadata().or_failed(what)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        progress.warning(format!("others can read {}; make it private with chmod 0600", path.display()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(PASSWORD_FILE_SIZE_BYTES_MAX).read_to_string(&mut text).or_failed(what)?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains(['\n', '\0']) {
        return Err(Error::failed(format!("{} does not hold one password on one line", path.display()))
            .hint("write the password alone into it"));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// The place of the database of the node at `root`, and the snapshot that its config.toml names.
fn root_settings(root: &Path, progress: &Progress) -> Result<(PartialSettings, Option<PathBuf>)> {
    let text = setup::read_config(&root.join(CONFIG_FILE_NAME))
        .map_err(|e| e.hint("--from-root names the root directory of the node"))?;
    let (taken, overruled) = config::with_environment(&text, |name| std::env::var(name).ok())?;
    let taken = Zeroizing::new(taken);
    for Overruled { variable, key, .. } in overruled {
        progress.warning(format!(
            "{variable} is set and wins over {key} in {}, as it does for kwild; unset it, unless it is meant",
            root.join(CONFIG_FILE_NAME).display()
        ));
    }
    let database = config::database_settings(&taken)?;
    let state = Some(&database.genesis_state).filter(|name| !name.is_empty()).map(|name| root.join(name));
    let settings = PartialSettings {
        host: Some(database.host),
        port: Some(database.port),
        user: Some(database.user),
        dbname: Some(database.dbname),
        password: database.password,
        ..PartialSettings::default()
    };
    Ok((settings, state))
}

fn root_genesis(root: &Path, progress: &Progress) -> Result<Option<Genesis>> {
    let path = root.join(GENESIS_FILE_NAME);
    if !path.exists() {
        progress.warning(format!("{} is missing, so the old chain id is not known", path.display()));
        return Ok(None);
    }
    snapshot::read_genesis(&path).map(Some)
}
