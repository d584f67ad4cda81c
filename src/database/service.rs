//! libpq's connection service file: in go the variables `PGSERVICE`… and the file, out come partial settings. The file
//! has `[name]`, and under it `keyword=value`, one a line.

use std::{
    ffi::OsString,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::settings::PartialSettings;
use crate::base::{Context, Error, Next, Result, limits::PASSWORD_FILE_SIZE_BYTES_MAX, text::escape};

/// Where packages put the service file for everyone: Debian's, Red Hat's, and that of a libpq built from its source.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/usr/local/pgsql/etc"];
const SYSTEM_FILE_NAME: &str = "pg_service.conf";
/// Keywords of the file that change neither whom we talk to nor how safely; they are passed over.
const HARMLESS: [&str; 10] = [
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "sslcompression",
];

impl PartialSettings {
    /// What the service says that `PGSERVICE` names; empty settings where that is not set. It counts more than the
    /// other variables, as it does to libpq.
    ///
    /// # Errors
    /// When `PGSERVICE` is not UTF-8, no file has such a service, or the service's file cannot be read or used.
    pub fn from_service(variable: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let Some(name) = set("PGSERVICE") else { return Ok(PartialSettings::default()) };
        let name = name.into_string().map_err(|_| Error::usage("the variable PGSERVICE is not UTF-8"))?;
        let named = set("PGSERVICEFILE").map(PathBuf::from);
        let own = named.clone().or_else(|| home.map(|home| home.join(".pg_service.conf")));
        let system = match set("PGSYSCONFDIR") {
            Some(directory) => vec![PathBuf::from(directory)],
            None => SYSTEM_DIRECTORIES.iter().map(PathBuf::from).collect(),
        };
        let files = own.into_iter().chain(system.into_iter().map(|directory| directory.join(SYSTEM_FILE_NAME)));
        for path in files {
            let must_be_there = named.as_ref() == Some(&path);
            let Some(text) = read(&path, must_be_there)? else { continue };
            let found = settings(&text, &name).map_err(|why| {
                Error::failed(format!("the service file {} cannot be used: {why}", path.display()))
                    .hint(Next::CorrectService)
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(Error::failed(format!("no service file has the service \"{}\" that PGSERVICE names", escape(&name)))
            .hint(Next::DefineService))
    }
}

fn read(path: &Path, must_be_there: bool) -> Result<Option<Zeroizing<String>>> {
    let what = || format!("cannot read the service file {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound && !must_be_there => return Ok(None),
        Err(e) => return Err(Error::failed(what()).because(e).hint("correct or unset PGSERVICEFILE")),
    };
    let mut text = Zeroizing::new(String::new());
    file.take(PASSWORD_FILE_SIZE_BYTES_MAX).read_to_string(&mut text).or_failed(what)?;
    Ok(Some(text))
}

/// What the file's text says of a service; `None` where the text does
/// not have it. The error says in words which line cannot be used.
fn settings(text: &str, name: &str) -> Result<Option<PartialSettings>, String> {
    let mut found: Option<PartialSettings> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if header.split_once(']').is_some_and(|(header, _)| header == name) {
                found = Some(PartialSettings::default());
            }
            continue;
        }
        // Other services are none of our business.
        let Some(settings) = &mut found else { continue };
        if line.starts_with("ldap") {
            return Err(format!("line {number} asks an LDAP server, which is not done here"));
        }
        let Some((keyword, value)) = line.split_once('=') else {
            return Err(format!("line {number} is not keyword=value"));
        };
        set(settings, name, keyword, value).map_err(|why| format!("line {number}: {why}"))?;
    }
    Ok(found)
}

fn set(settings: &mut PartialSettings, service: &str, keyword: &str, value: &str) -> Result<(), String> {
    let bad = |expected: &str| format!("{} is \"{}\": expected {expected}", escape(keyword), escape(value));
    let text = || Some(value.to_owned());
    let path = || Some(PathBuf::from(value));
    match keyword {
        // libpq takes an empty value for none.
        _ if value.is_empty() => {}
        "host" => settings.host = text(),
        "hostaddr" => settings.host_address = text(),
        "port" => settings.port = Some(value.parse().map_err(|_| bad("a port number"))?),
        "user" => settings.user = text(),
        "dbname" => settings.dbname = text(),
        "password" => settings.password = text().map(Zeroizing::new),
        "passfile" => settings.password_file = path(),
        "sslmode" => settings.ssl_mode = Some(value.parse().map_err(|expected: String| bad(&expected))?),
        "sslrootcert" => settings.root_certificate = path(),
        "sslcert" => settings.certificate = path(),
        "sslkey" => settings.key = path(),
        "service" => return Err("a service cannot name another one".to_owned()),
        _ if HARMLESS.contains(&keyword) => {}
        _ => settings.not_obeyed.push(format!("{} of the service {}", escape(keyword), escape(service))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use super::{super::settings::SslMode, *};

    const FILE: &str = "# a comment\n[other]\nhost=wrong\nnonsense\n\n[field]\nhost=db.example\nport=6543\n  user=kwil\n\
        dbname=old\npassword=a=b\nsslmode=verify-ca\nsslrootcert=/root.crt\napplication_name=x\noptions=-c a=b\n[after]\nport=1\n";

    fn from(pairs: &[(&str, &str)], home: Option<&Path>) -> Result<PartialSettings> {
        let map: HashMap<String, OsString> = pairs.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        PartialSettings::from_service(|name| map.get(name).cloned(), home)
    }

    #[test]
    fn a_service_is_read_as_libpq_reads_it() {
        let found = settings(FILE, "field").unwrap().unwrap();
        let password = found.password.as_ref().map(|p| p.as_str());
        assert_eq!((found.host.as_deref(), found.port, password), (Some("db.example"), Some(6543), Some("a=b")));
        assert_eq!((found.user.as_deref(), found.dbname.as_deref()), (Some("kwil"), Some("old")));
        assert_eq!(found.ssl_mode, Some(SslMode::VerifyCa));
        assert_eq!(found.not_obeyed, ["options of the service field"]);
        assert!(settings(FILE, "missing").unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_line() {
        for (text, words) in [
            ("[field]\nport=many\n", "line 2: port is \"many\""),
            ("[field]\nhost db\n", "line 2 is not keyword=value"),
            ("[field]\nservice=other\n", "cannot name another"),
            ("[field]\nldap://x\n", "LDAP"),
            ("[field]\nsslmode=maybe\n", "expected disable, prefer"),
        ] {
            let why = settings(text, "field").unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn the_file_is_looked_for_where_libpq_looks() {
        let home = tempfile::tempdir().unwrap();
        let system = tempfile::tempdir().unwrap();
        let system_path = system.path().to_str().unwrap();
        fs::write(system.path().join("pg_service.conf"), "[everyone]\nport=1\n[field]\nport=2\n").unwrap();
        fs::write(home.path().join(".pg_service.conf"), "[field]\nport=3\n").unwrap();
        let port = |service, more: &[(&str, &str)]| {
            let pairs = [&[("PGSERVICE", service), ("PGSYSCONFDIR", system_path)], more].concat();
            from(&pairs, Some(home.path())).map(|found| found.port)
        };
        assert_eq!(port("field", &[]).unwrap(), Some(3));
        assert_eq!(port("everyone", &[]).unwrap(), Some(1));
        let file = system.path().join("pg_service.conf");
        assert_eq!(port("field", &[("PGSERVICEFILE", file.to_str().unwrap())]).unwrap(), Some(2));
        assert!(port("nobody", &[]).unwrap_err().to_string().contains("\"nobody\" that PGSERVICE names"));
        assert!(port("field", &[("PGSERVICEFILE", "/no/such")]).unwrap_err().to_string().contains("/no/such"));
        assert!(from(&[("PGSERVICE", "")], None).unwrap().port.is_none());
    }
}
