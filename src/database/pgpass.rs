//! libpq's password file: in go its text and a connection, out comes the password of the first line that fits. A line
//! is `host:port:database:user:password`; `*` stands for anything.

use zeroize::Zeroizing;

/// Host by which the file names a connection over a unix socket in a default directory.
const LOCAL_HOST: &str = "localhost";
/// Directories of unix sockets that count as default; libpq compares with the one that it was built for.
const SOCKET_DIRECTORIES: [&str; 3] = ["/tmp", "/var/run/postgresql", "/run/postgresql"];

/// The connection that a line of the file is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) dbname: &'a str,
    pub(crate) user: &'a str,
}

/// The password of the first line that fits; `None` where none does.
pub(crate) fn find(text: &str, wanted: Wanted<'_>) -> Option<Zeroizing<String>> {
    let port = wanted.port.to_string();
    let local = SOCKET_DIRECTORIES.contains(&wanted.host.trim_end_matches('/'));
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        let host = next_field(&mut rest)?;
        let host_fits = field_matches(&host, wanted.host) || (local && *host == LOCAL_HOST);
        let others = [port.as_str(), wanted.dbname, wanted.user];
        let mut all_fit = host_fits;
        for value in others {
            all_fit &= field_matches(&next_field(&mut rest)?, value);
        }
        all_fit.then(|| unescape(rest))
    })
}

/// Takes the text up to the next unescaped colon off `rest`; `None` when there is no colon. A lone `*` comes as `\*`.
fn next_field(rest: &mut &str) -> Option<Zeroizing<String>> {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => {
                let (text, after) = rest.split_at(at);
                *rest = &after[1..];
                // An unescaped star alone is a wildcard and has to stay tellable from an escaped one.
                return Some(if text == "*" { Zeroizing::new("\\*".to_owned()) } else { unescape(text) });
            }
            _ => {}
        }
    }
    None
}

fn field_matches(pattern: &str, value: &str) -> bool {
    pattern == "\\*" || pattern == value
}

fn unescape(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted<'static> {
        Wanted { host: "db.example", port: 5432, dbname: "kwild", user: "kwil" }
    }

    fn password(text: &str) -> Option<String> {
        find(text, wanted()).map(|p| p.to_string())
    }

    #[test]
    fn the_first_line_that_fits_wins() {
        let file = "# comment\nother:5432:kwild:kwil:no\ndb.example:5432:kwild:kwil:yes\n*:*:*:*:late\n";
        assert_eq!(password(file).as_deref(), Some("yes"));
        assert_eq!(password("*:*:*:*:any\n").as_deref(), Some("any"));
        assert_eq!(password("db.example:5433:kwild:kwil:x\n"), None);
        assert_eq!(password("db.example:5432:kwild\n"), None);
        assert_eq!(password(""), None);
    }

    #[test]
    fn backslash_and_colon_are_escaped() {
        assert_eq!(password(r"db.example:*:kwild:kwil:a\:b\\c:d").as_deref(), Some(r"a:b\c:d"));
        assert_eq!(password(r"\*:*:*:*:x"), None, "an escaped star is a star");
    }

    #[test]
    fn a_default_socket_is_localhost() {
        let socket = Wanted { host: "/var/run/postgresql", ..wanted() };
        assert!(find("localhost:5432:kwild:kwil:s", socket).is_some());
        let odd = Wanted { host: "/srv/pg", ..wanted() };
        assert!(find("localhost:5432:kwild:kwil:s", odd).is_none());
        assert!(find("/srv/pg:5432:kwild:kwil:s", odd).is_some());
    }

    proptest::proptest! {
        #[test]
        fn any_password_comes_back(password in "[^\n\r]{0,40}", host in "[a-z:\\\\]{1,12}") {
            let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
            let line = format!("{}:5432:kwild:kwil:{}", escape(&host), escape(&password));
            let found = find(&line, Wanted { host: &host, ..wanted() });
            proptest::prop_assert_eq!(found.map(|p| p.to_string()), Some(password));
        }
    }
}
