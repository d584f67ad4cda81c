//! How to reach the old database: in go what was typed, what the node's config and the environment say, and Kwil's
//! defaults; out come the settings of a connection.

use std::{
    ffi::OsString,
    fmt, fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use kwil_formats::judge::collation::{Collation, NewDatabase};
use zeroize::Zeroizing;

use super::pgpass::{self, Wanted};
use crate::base::{Error, Next, Result, limits::PASSWORD_FILE_SIZE_BYTES_MAX, text::escape};

/// The name of Kwil's default database.
pub const DBNAME_DEFAULT: &str = "kwild";
/// The name of the role that kwild uses by default.
const USER_DEFAULT: &str = "kwild";
const HOST_DEFAULT: &str = "127.0.0.1";
const PORT_DEFAULT: u16 = 5432;

/// How much TLS is asked for and what of it is checked, by libpq's modes (`sslmode`); a stricter one compares greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Plain text, never TLS.
    Disable,
    /// TLS if the server has it, else plain text; no certificate is checked.
    Prefer,
    /// TLS always; no certificate is checked, unless root certificates are named.
    Require,
    /// TLS always; it is checked who signed the server's certificate.
    VerifyCa,
    /// TLS always; it is checked who signed the server's certificate, and that it is for this host.
    VerifyFull,
}

impl SslMode {
    /// libpq's word for the mode, such as `verify-full`.
    pub fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for SslMode {
    type Err = String;

    /// Reads libpq's word for a mode; `allow` becomes the next stricter mode, `prefer`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(SslMode::Disable),
            "allow" | "prefer" => Ok(SslMode::Prefer),
            "require" => Ok(SslMode::Require),
            "verify-ca" => Ok(SslMode::VerifyCa),
            "verify-full" => Ok(SslMode::VerifyFull),
            _ => Err("expected disable, prefer, require, verify-ca or verify-full".to_owned()),
        }
    }
}

/// What one source says of a connection; `None` leaves a value to the next source.
#[derive(Clone, Default)]
pub struct PartialSettings {
    /// Host name or address of the server; a path that begins with `/` is the directory of a unix socket.
    pub host: Option<String>,
    /// Numeric address to go to, whatever the host's name is. It belongs to the same source's host.
    pub host_address: Option<String>,
    /// TCP port of the server, which is also part of a unix socket's name.
    pub port: Option<u16>,
    /// Role (database user) to log in as.
    pub user: Option<String>,
    /// Name of the database.
    pub dbname: Option<String>,
    /// The role's password.
    pub password: Option<Zeroizing<String>>,
    /// How much TLS is asked for.
    pub ssl_mode: Option<SslMode>,
    /// File with the root certificates that are trusted; the path `system` means the system's.
    pub root_certificate: Option<PathBuf>,
    /// File with our own certificate, where the server asks for one.
    pub certificate: Option<PathBuf>,
    /// File with the private key that belongs to our own certificate.
    pub key: Option<PathBuf>,
    /// Password file in the form of `~/.pgpass`, instead of that one.
    pub password_file: Option<PathBuf>,
    /// Settings of the source that change the connection and are not obeyed here, each in words.
    pub not_obeyed: Vec<String>,
}

/// Variables that change whom libpq talks to or how, and that nothing here obeys; with the values that change nothing.
const NOT_OBEYED: [(&str, &[&str]); 9] = [
    ("PGOPTIONS", &[]),
    ("PGTARGETSESSIONATTRS", &["any"]),
    ("PGREQUIREPEER", &[]),
    ("PGREQUIREAUTH", &[]),
    ("PGCHANNELBINDING", &["disable", "prefer"]),
    ("PGGSSENCMODE", &["disable", "prefer"]),
    ("PGSSLCRL", &[]),
    ("PGSSLCRLDIR", &[]),
    ("PGSSLNEGOTIATION", &["postgres"]),
];

impl fmt::Debug for PartialSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("dbname", &self.dbname)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("ssl_mode", &self.ssl_mode)
            .finish_non_exhaustive()
    }
}

impl PartialSettings {
    /// What the `PG…` variables say, read through `variable`, which gives a variable's value.
    ///
    /// # Errors
    /// `Kind::Usage` when a variable is not UTF-8 or holds what it cannot mean.
    pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let text = |name: &str| -> Result<Option<String>> {
            // libpq takes an empty variable for none.
            match variable(name).filter(|v| !v.is_empty()) {
                None => Ok(None),
                Some(value) => value.into_string().map(Some).map_err(|_| {
                    Error::usage(format!("the variable {name} is not UTF-8")).hint(format!("unset {name}"))
                }),
            }
        };
        let bad = |name: &str, value: &str, why: &str| {
            Error::usage(format!("the variable {name} holds \"{}\": {why}", escape(value)))
                .hint(format!("correct or unset {name}, or give the flag"))
        };
        let port = text("PGPORT")?
            .map(|p| p.trim().parse().map_err(|_| bad("PGPORT", &p, "expected a port number")))
            .transpose()?;
        let ssl_mode =
            text("PGSSLMODE")?.map(|m| m.parse().map_err(|why: String| bad("PGSSLMODE", &m, &why))).transpose()?;
        let path = |name: &str| Ok::<_, Error>(text(name)?.map(PathBuf::from));
        let changes = |(name, harmless): &(&str, &[&str])| {
            variable(name).is_some_and(|value| !value.is_empty() && !harmless.iter().any(|harmless| value == *harmless))
        };
        let not_obeyed = NOT_OBEYED.iter().filter(|named| changes(named));
        Ok(PartialSettings {
            host: text("PGHOST")?,
            host_address: text("PGHOSTADDR")?,
            port,
            user: text("PGUSER")?,
            dbname: text("PGDATABASE")?,
            password: text("PGPASSWORD")?.map(Zeroizing::new),
            ssl_mode,
            root_certificate: path("PGSSLROOTCERT")?,
            certificate: path("PGSSLCERT")?,
            key: path("PGSSLKEY")?,
            password_file: path("PGPASSFILE")?,
            not_obeyed: not_obeyed.map(|(name, _)| format!("the variable {name}")).collect(),
        })
    }

    /// Fills what is missing with the values of a source that counts less.
    #[must_use]
    pub fn or(self, lower: PartialSettings) -> Self {
        // An address is that of its own source's host: another host has another one.
        let is_placed = self.host.is_some() || self.host_address.is_some();
        PartialSettings {
            host: if is_placed { self.host } else { lower.host },
            host_address: if is_placed { self.host_address } else { lower.host_address },
            port: self.port.or(lower.port),
            user: self.user.or(lower.user),
            dbname: self.dbname.or(lower.dbname),
            password: self.password.or(lower.password),
            ssl_mode: self.ssl_mode.or(lower.ssl_mode),
            root_certificate: self.root_certificate.or(lower.root_certificate),
            certificate: self.certificate.or(lower.certificate),
            key: self.key.or(lower.key),
            password_file: self.password_file.or(lower.password_file),
            not_obeyed: [self.not_obeyed, lower.not_obeyed].concat(),
        }
    }

    /// Makes settings of what all sources say: adds Kwil's defaults and, where no password was given, looks into the
    /// password file, which is below `home` if none is named. What is odd is told to `warn`.
    ///
    /// # Errors
    /// `Kind::Usage` when a value cannot be used; `Kind::Failed` when a password file that was named cannot be looked
    /// at.
    pub fn complete(self, home: Option<&Path>, mut warn: impl FnMut(String)) -> Result<Settings> {
        for what in &self.not_obeyed {
            warn(format!("{what} is not obeyed: the connection is made without it"));
        }
        if let Some(address) = self.host_address.as_ref().filter(|address| address.parse::<IpAddr>().is_err()) {
            return Err(Error::usage(format!(
                "the host's address (PGHOSTADDR) is \"{}\", which is none",
                escape(address)
            ))
            .hint(Next::OneHostAddress));
        }
        let host = self.host.or_else(|| self.host_address.clone()).unwrap_or_else(|| HOST_DEFAULT.to_owned());
        if host.contains(',') {
            return Err(Error::usage(format!("the host (perhaps from PGHOST) is a list: {}", escape(&host)))
                .hint(Next::OneHost));
        }
        let own = |name: &str| home.map(|h| h.join(".postgresql").join(name)).filter(|p| p.exists());
        let mut settings = Settings {
            host,
            host_address: self.host_address,
            port: self.port.unwrap_or(PORT_DEFAULT),
            user: self.user.unwrap_or_else(|| USER_DEFAULT.to_owned()),
            dbname: self.dbname.unwrap_or_else(|| DBNAME_DEFAULT.to_owned()),
            // libpq takes an empty password for none.
            password: self.password.filter(|p| !p.is_empty()),
            ssl_mode: self.ssl_mode.unwrap_or(SslMode::Prefer),
            root_certificate: self.root_certificate.or_else(|| own("root.crt")),
            key: self.key,
            certificate: self.certificate.or_else(|| own("postgresql.crt")),
        };
        if settings.certificate.is_some() && settings.key.is_none() {
            settings.key = own("postgresql.key");
        }
        let named = [("host", &settings.host), ("user", &settings.user), ("database's name", &settings.dbname)];
        for (what, value) in named {
            if value.is_empty() || value.contains('\0') {
                return Err(Error::usage(format!("the {what} is empty")).hint(format!("give the {what} a value")));
            }
        }
        if settings.password.is_none() {
            let named = self.password_file.is_some();
            let path = self.password_file.or_else(|| home.map(|h| h.join(".pgpass")));
            if let Some(path) = path {
                settings.password = password_from_file(&path, named, &settings, &mut warn)?;
            }
        }
        Ok(settings)
    }
}

fn password_from_file(
    path: &Path,
    named: bool,
    settings: &Settings,
    warn: &mut impl FnMut(String),
) -> Result<Option<Zeroizing<String>>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if !named => return Ok(None),
        Err(e) => {
            return Err(Error::failed(format!("cannot read the password file {}", path.display()))
                .because(e)
                .hint("correct or unset PGPASSFILE"));
        }
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    // libpq's own rule, so that both connections see the same password.
    if metadata.permissions().mode() & 0o077 != 0 {
        warn(format!("{} is ignored: others can read it; make it private with chmod 0600", path.display()));
        return Ok(None);
    }
    if metadata.len() > PASSWORD_FILE_SIZE_BYTES_MAX {
        warn(format!("{} is ignored: it is too large for a password file", path.display()));
        return Ok(None);
    }
    let text = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) => {
            warn(format!("{} is ignored: {e}", path.display()));
            return Ok(None);
        }
    };
    let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
    let wanted = Wanted { host: &settings.host, port: settings.port, dbname: &settings.dbname, user: &settings.user };
    Ok(pgpass::find(&text, wanted))
}

/// Everything that a connection needs: all sources and the defaults are in it.
#[derive(Clone)]
pub struct Settings {
    /// Host name or address of the server; a path that begins with `/` is the directory of a unix socket.
    pub host: String,
    /// Numeric address to go to, whatever the host's name is; `None`: the host's own.
    pub host_address: Option<String>,
    /// TCP port of the server, which is also part of a unix socket's name.
    pub port: u16,
    /// Role (database user) to log in as.
    pub user: String,
    /// Name of the database.
    pub dbname: String,
    /// The role's password; `None` where none was given or found.
    pub password: Option<Zeroizing<String>>,
    /// How much TLS is asked for.
    pub ssl_mode: SslMode,
    /// File with the root certificates for the modes that check them; `None` or the path `system` means the system's.
    pub root_certificate: Option<PathBuf>,
    /// File with our own certificate, where the server asks for one.
    pub certificate: Option<PathBuf>,
    /// File with the private key that belongs to our own certificate.
    pub key: Option<PathBuf>,
}

impl Settings {
    /// Whether `host` names the directory of a unix socket.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The database of these settings where it is yet to be made, ordered as `like` where that is known.
    pub fn new_database<'a>(&'a self, like: Option<&'a Collation>) -> NewDatabase<'a> {
        NewDatabase { host: &self.host, port: self.port, user: &self.user, dbname: &self.dbname, like }
    }

    /// Where the server is, as messages name it: `HOST:PORT`, or the path of the unix socket.
    pub fn place(&self) -> String {
        let host = escape(&self.host);
        if self.is_socket() {
            format!("{}/.s.PGSQL.{}", host.trim_end_matches('/'), self.port)
        } else if let Some(address) = self.host_address.as_ref().filter(|address| **address != self.host) {
            format!("{host}:{} (at {})", self.port, escape(address))
        } else if host.contains(':') {
            format!("[{host}]:{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("place", &self.place())
            .field("user", &self.user)
            .field("dbname", &self.dbname)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("ssl_mode", &self.ssl_mode)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<PartialSettings> {
        let map: HashMap<String, OsString> = pairs.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        PartialSettings::from_environment(|name| map.get(name).cloned())
    }

    fn complete(partial: PartialSettings) -> Settings {
        partial.complete(None, |w| panic!("{w}")).unwrap()
    }

    #[test]
    fn defaults_are_kwils() {
        let settings = complete(PartialSettings::default());
        assert_eq!(settings.place(), "127.0.0.1:5432");
        assert_eq!((settings.user.as_str(), settings.dbname.as_str()), ("kwild", "kwild"));
        assert_eq!(settings.ssl_mode, SslMode::Prefer);
        assert!(settings.password.is_none());
    }

    #[test]
    fn flag_beats_root_beats_environment_beats_default() {
        let flags = PartialSettings { host: Some("flag".into()), ..Default::default() };
        let root = PartialSettings { host: Some("root".into()), user: Some("root-user".into()), ..Default::default() };
        let env =
            environment(&[("PGHOST", "env"), ("PGUSER", "env-user"), ("PGPORT", "5999"), ("PGPASSWORD", "s")]).unwrap();
        let settings = complete(flags.or(root).or(env));
        assert_eq!((settings.host.as_str(), settings.user.as_str(), settings.port), ("flag", "root-user", 5999));
        assert_eq!(settings.password.as_ref().map(|p| p.as_str()), Some("s"));
        assert_eq!(settings.dbname, "kwild");
    }

    #[test]
    fn bad_variables_are_named() {
        let e = environment(&[("PGPORT", "many")]).unwrap_err();
        assert_eq!(e.kind(), crate::base::Kind::Usage);
        assert!(e.to_string().contains("PGPORT"), "{e}");
        assert!(environment(&[("PGSSLMODE", "maybe")]).unwrap_err().to_string().contains("PGSSLMODE"));
        assert_eq!(environment(&[("PGSSLMODE", "verify-ca")]).unwrap().ssl_mode, Some(SslMode::VerifyCa));
        assert_eq!(environment(&[("PGPORT", "")]).unwrap().port, None);
    }

    #[test]
    fn what_libpq_would_obey_is_obeyed_or_said() {
        let environment = environment(&[
            ("PGHOST", "db.example"),
            ("PGHOSTADDR", "192.0.2.7"),
            ("PGSSLCERT", "/own.crt"),
            ("PGSSLKEY", "/own.key"),
            ("PGTARGETSESSIONATTRS", "read-write"),
            ("PGCHANNELBINDING", "prefer"),
        ]);
        let mut said = Vec::new();
        let settings = environment.unwrap().complete(None, |warning| said.push(warning)).unwrap();
        assert_eq!(settings.place(), "db.example:5432 (at 192.0.2.7)");
        assert_eq!(settings.certificate.unwrap(), Path::new("/own.crt"));
        assert_eq!(settings.key.unwrap(), Path::new("/own.key"));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("PGTARGETSESSIONATTRS"), "{said:?}");
    }

    #[test]
    fn an_address_belongs_to_its_own_sources_host() {
        let variables = || environment(&[("PGHOST", "db.example"), ("PGHOSTADDR", "192.0.2.7")]).unwrap();
        let flags = PartialSettings { host: Some("other".into()), ..Default::default() };
        assert_eq!(complete(flags.or(variables())).place(), "other:5432");
        let alone = environment(&[("PGHOSTADDR", "192.0.2.7")]).unwrap();
        assert_eq!(complete(alone).place(), "192.0.2.7:5432");
        let e = environment(&[("PGHOSTADDR", "db.example")]).unwrap().complete(None, |_| {}).unwrap_err();
        assert!(e.to_string().contains("PGHOSTADDR"), "{e}");
    }

    #[test]
    fn a_list_of_hosts_is_refused_by_name() {
        let e = environment(&[("PGHOST", "a,b")]).unwrap().complete(None, |_| {}).unwrap_err();
        assert_eq!(e.kind(), crate::base::Kind::Usage);
        assert!(e.to_string().contains("PGHOST") && e.advice().unwrap().names(&crate::base::Next::OneHost), "{e}");
    }

    #[test]
    fn the_password_file_is_used_only_when_private() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".pgpass");
        fs::write(&path, "*:*:*:*:from-file\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut warnings = Vec::new();
        let open = PartialSettings::default().complete(Some(home.path()), |w| warnings.push(w)).unwrap();
        assert!(open.password.is_none());
        assert!(warnings[0].contains("chmod 0600"), "{warnings:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let private = PartialSettings::default().complete(Some(home.path()), |w| panic!("{w}")).unwrap();
        assert_eq!(private.password.unwrap().as_str(), "from-file");
    }

    #[test]
    fn a_named_password_file_that_is_missing_is_an_error() {
        let partial = PartialSettings { password_file: Some("/no/such/file".into()), ..Default::default() };
        let e = partial.complete(None, |w| panic!("{w}")).unwrap_err();
        assert!(e.to_string().contains("/no/such/file"), "{e}");
    }

    #[test]
    fn passwords_are_not_in_debug_text() {
        let partial = PartialSettings { password: Some(Zeroizing::new("hunter2".into())), ..Default::default() };
        assert!(!format!("{partial:?}").contains("hunter2"));
        assert!(!format!("{:?}", complete(partial)).contains("hunter2"));
    }

    #[test]
    fn places_read_well() {
        let mut settings = complete(PartialSettings::default());
        settings.host = "/var/run/postgresql".into();
        assert_eq!(settings.place(), "/var/run/postgresql/.s.PGSQL.5432");
        settings.host = "::1".into();
        assert_eq!(settings.place(), "[::1]:5432");
    }
}
