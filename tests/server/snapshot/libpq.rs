//! Connections as libpq makes them: its certificates, its variables and files, and what stands before a server.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    thread,
};

use regenesis::database::scratch::{Scratch, ScratchOptions};

use super::support::{Place, Run, data, database, program, read, server};

const QUARTET: &str = "v0.10/worlds/quartet/database.sql.gz";

/// A server with a certificate of `tests/data/tls/libpq`, and who may come in how.
fn tls_server(certificate: &str, hba: &str) -> Scratch {
    let file = |name: &str| read(&format!("tls/libpq/{name}"));
    let files = vec![
        ("server.crt".to_owned(), file(&format!("{certificate}.crt"))),
        ("server.key".to_owned(), file(&format!("{certificate}.key"))),
        ("root.crt".to_owned(), file("ca.crt")),
        ("pg_hba.conf".to_owned(), format!("local all all trust\n{hba}\n").into_bytes()),
    ];
    let parameters = vec![("ssl".into(), "on".into()), ("ssl_ca_file".into(), "root.crt".into())];
    let server = Scratch::start(ScratchOptions { parameters, files, ..ScratchOptions::default() }).unwrap();
    server.load("kwil", &read(QUARTET)).unwrap();
    server
}

fn digest(place: &Place, server: &Scratch, flags: &[&str]) -> Command {
    let mut command = program(place.home.path());
    command.args(["snapshot", "digest", "--progress", "none", "--dbname", "kwil", "--user", "postgres"]);
    command.args(["--port", &server.port().to_string()]).args(flags);
    command
}

/// The same with a root certificate.
fn verified(server: &Scratch, root: &str, mode: &str, host: &str) -> Run {
    let place = Place::new();
    let mut command = digest(&place, server, &["--sslmode", mode, "--host", host]);
    command.env("PGSSLROOTCERT", data(&format!("tls/libpq/{root}.crt")));
    Run::of(command.output().unwrap())
}

#[track_caller]
fn succeeds(run: &Run) {
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn a_certificate_of_x509_v1_is_taken_as_libpq_takes_it() {
    let server = tls_server("v1", "hostssl all all all trust\nhostnossl all all all reject");
    let place = Place::new();
    for mode in ["require", "prefer"] {
        let run = Run::of(digest(&place, &server, &["--sslmode", mode]).output().unwrap());
        succeeds(&run);
        assert!(!run.stderr.contains("plain text"), "{run:?}");
    }
    for (mode, host) in [("require", "localhost"), ("verify-ca", "127.0.0.1"), ("verify-full", "localhost")] {
        succeeds(&verified(&server, "ca", mode, host));
    }
    // Whoever names a root wants it used, also with "require".
    verified(&server, "self", "require", "localhost")
        .failed(1, &["X.509 v1", "CN=localhost", "CN=a test CA", "--sslmode"]);
    verified(&server, "ca", "verify-full", "127.0.0.1")
        .failed(1, &["is for localhost, not for 127.0.0.1", "subjectAltName"]);
    let refused = Run::of(digest(&place, &server, &["--sslmode", "disable"]).output().unwrap());
    refused.failed(1, &["no encryption", "--sslmode require"]);
}

#[test]
fn a_certificate_with_a_common_name_alone_or_that_is_its_own_root_is_taken() {
    for (certificate, root) in [("cn", "ca"), ("self", "self")] {
        let server = tls_server(certificate, "host all all all trust");
        succeeds(&verified(&server, root, "verify-full", "localhost"));
        succeeds(&verified(&server, root, "verify-ca", "127.0.0.1"));
        let other_name = verified(&server, root, "verify-full", "127.0.0.1");
        other_name.failed(1, &["is for localhost, not for 127.0.0.1", "subjectAltName"]);
        let other_root = if root == "ca" { "self" } else { "ca" };
        for mode in ["verify-ca", "verify-full"] {
            verified(&server, other_root, mode, "localhost")
                .failed(1, &["no TLS connection", "CN=localhost", "PGSSLROOTCERT"]);
        }
    }
}

/// A key as libpq wants it: private.
fn private_key(place: &Place, mode: u32) -> PathBuf {
    let path = place.home.path().join(format!("key{mode:o}"));
    fs::write(&path, read("tls/libpq/client.key")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_server_that_asks_for_a_certificate_is_given_ours() {
    let server = tls_server("cn", "hostssl all all all cert");
    let place = Place::new();
    let run = |certificate: Option<PathBuf>, key: Option<PathBuf>| {
        let mut command = digest(&place, &server, &["--sslmode", "require"]);
        let files = [("PGSSLCERT", certificate), ("PGSSLKEY", key)];
        command.envs(files.into_iter().filter_map(|(name, path)| Some((name, path?))));
        Run::of(command.output().unwrap())
    };
    let certificate = || Some(data("tls/libpq/client.crt"));
    let none = run(None, None);
    assert_eq!(none.code, Some(1), "{none:?}");
    succeeds(&run(certificate(), Some(private_key(&place, 0o600))));
    run(certificate(), None).failed(1, &["has no key", "PGSSLKEY"]);
    run(certificate(), Some(private_key(&place, 0o644))).failed(1, &["others can read the private key", "chmod 0600"]);
    run(certificate(), Some(data("tls/libpq/ca.crt"))).failed(1, &["ca.crt"]);
    run(Some("/nonexistent.crt".into()), Some(private_key(&place, 0o600)))
        .failed(1, &["/nonexistent.crt", "PGSSLCERT"]);
    // And from where libpq looks by itself.
    let own = place.home.path().join(".postgresql");
    fs::create_dir(&own).unwrap();
    fs::copy(data("tls/libpq/client.crt"), own.join("postgresql.crt")).unwrap();
    fs::copy(private_key(&place, 0o600), own.join("postgresql.key")).unwrap();
    succeeds(&run(None, None));
}

#[test]
fn plain_text_is_said_where_tls_was_preferred() {
    let place = Place::new();
    // The role is let in without TLS only.
    let server = tls_server("cn", "hostssl all all all reject\nhostnossl all all all trust");
    let run = Run::of(digest(&place, &server, &[]).output().unwrap());
    succeeds(&run);
    assert_eq!(run.stderr.matches("is plain text").count(), 1, "{run:?}");
    assert!(run.stderr.contains("pg_hba.conf rejects"), "{run:?}");
    let meant = Run::of(digest(&place, &server, &["--sslmode", "disable"]).output().unwrap());
    succeeds(&meant);
    assert!(!meant.stderr.contains("plain text"), "{meant:?}");
    Run::of(digest(&place, &server, &["--sslmode", "require"]).output().unwrap()).failed(1, &["does not let"]);
    // A server without TLS on this machine is what everybody has.
    let db = database(QUARTET);
    let run = place.create(&db, &[]);
    succeeds(&run);
    assert!(!run.stderr.contains("plain text"), "{run:?}");
}

/// What something in between does with a start-up message.
enum Meets {
    /// Answers itself.
    Answers(Vec<u8>),
    /// Passes this on.
    Passes(Vec<u8>),
}

/// Speaks as a server and relays to one, but for what `meet` does with the start-up message. Ends with the test's process.
fn in_between(server: &'static Scratch, meet: fn(Vec<u8>) -> Meets) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || relay(client.unwrap(), server, meet));
        }
    });
    port.to_string()
}

fn read_startup(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut body)?;
        // A request for TLS.
        if body == [4, 210, 22, 47] {
            client.write_all(b"N")?;
        } else {
            return Ok(body);
        }
    }
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

fn relay(mut client: TcpStream, server: &Scratch, meet: fn(Vec<u8>) -> Meets) -> io::Result<()> {
    let startup = match meet(read_startup(&mut client)?) {
        Meets::Answers(answer) => return client.write_all(&answer),
        Meets::Passes(startup) => startup,
    };
    let mut upstream = TcpStream::connect(("127.0.0.1", server.port()))?;
    upstream.write_all(&with_length(&startup))?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    io::copy(&mut upstream, &mut client)?;
    client.shutdown(Shutdown::Both)
}

/// As PgBouncer answers to what it does not know.
fn refuse_options(startup: Vec<u8>) -> Meets {
    if !startup.windows(8).any(|window| window == b"options\0") {
        return Meets::Passes(startup);
    }
    let fields = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
    Meets::Answers([b"E".to_vec(), with_length(fields)].concat())
}

/// As one that was told to pass over what it does not know.
fn drop_options(startup: Vec<u8>) -> Meets {
    let mut kept = startup[..4].to_vec();
    let words: Vec<&[u8]> = startup[4..].split(|b| *b == 0).collect();
    for pair in words.chunks(2).filter(|pair| pair.len() == 2 && !pair[0].is_empty() && pair[0] != b"options") {
        kept.extend_from_slice(&[pair[0], b"\0", pair[1], b"\0"].concat());
    }
    kept.push(0);
    Meets::Passes(kept)
}

#[test]
fn a_pooler_is_called_one_and_the_server_behind_it_is_named() {
    let db = database(QUARTET);
    server().create_database("pooled0").unwrap();
    for (meet, words) in [
        (refuse_options as fn(Vec<u8>) -> Meets, "unsupported startup parameter"),
        (drop_options, "do not reach the server"),
    ] {
        let place = Place::new();
        let port = in_between(server(), meet);
        let mut command = program(place.home.path());
        command.args(["snapshot", "create", "--dbname", &db, "--user", "postgres", "--port", &port, "--snapdir"]);
        let run = Run::of(command.arg(&place.snapdir).output().unwrap());
        let behind = format!("--host 127.0.0.1 --port {}", server().port());
        run.failed(1, &["a connection pooler (PgBouncer or its like)", words, &behind]);
        place.is_untouched();
        // kwild could not do its work there either.
        let mut command = program(place.home.path());
        command.args(["setup", "check", "--dbname", &db, "--user", "postgres", "--port", &port, "--output", "json"]);
        let run = Run::of(command.output().unwrap());
        let answer: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let first = &answer["result"]["checks"][0];
        assert_eq!(
            (run.code, first["level"].as_str(), first["code"].as_str()),
            (Some(4), Some("error"), Some("pooler")),
            "{run:?}"
        );
        assert!(first["text"].as_str().unwrap().contains(words), "{first}");
        // Nor is a node sent there.
        let mut command = program(place.home.path());
        command.args(["setup", "testnet", "-v", "1", "--database-prefix", "pooled", "--db.user", "postgres"]);
        command.args(["--db.port", &port, "-o"]).arg(place.home.path().join("net"));
        let run = Run::of(command.output().unwrap());
        succeeds(&run);
        assert!(run.stdout.contains("name the server behind it: it says that its host is 127.0.0.1"), "{run:?}");
        assert!(!run.stdout.contains("createdb") && !run.stdout.contains("kwild start"), "{run:?}");
    }
}

/// PgBouncer has no code of its own for it.
#[test]
fn a_database_that_a_pooler_does_not_know_is_no_missing_database() {
    let place = Place::new();
    let port = in_between(server(), |_| {
        let fields = b"SFATAL\0C08P01\0Mdatabase \"elsewhere\" does not exist\0\0";
        Meets::Answers([b"E".to_vec(), with_length(fields)].concat())
    });
    let mut command = program(place.home.path());
    command.args(["snapshot", "digest", "--dbname", "elsewhere", "--user", "postgres", "--port", &port]);
    Run::of(command.output().unwrap()).failed(1, &["a connection pooler", "elsewhere"]);
}

#[test]
fn services_and_addresses_are_obeyed() {
    let db = database(QUARTET);
    let place = Place::new();
    let port = server().port().to_string();
    let service = format!("[field]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname={db}\nsslcrl=/x\n");
    fs::write(place.home.path().join(".pg_service.conf"), &service).unwrap();
    let run = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = program(place.home.path());
        command.args(["snapshot", "digest", "--progress", "none"]).args(flags).envs(variables.iter().copied());
        Run::of(command.output().unwrap())
    };
    // A service counts more than the other variables, and less than a flag.
    let served = run(&[("PGSERVICE", "field"), ("PGPORT", "1"), ("PGDATABASE", "no_such")], &[]);
    succeeds(&served);
    assert!(served.stderr.contains("sslcrl of the service field is not obeyed"), "{served:?}");
    let flag = run(&[("PGSERVICE", "field")], &["--dbname", "no_such"]);
    flag.failed(1, &["no database \"no_such\""]);
    run(&[("PGSERVICE", "other")], &[]).failed(1, &["\"other\"", "PGSERVICE"]);
    let all = [("PGPORT", port.as_str()), ("PGUSER", "postgres"), ("PGDATABASE", db.as_str())];
    let with = |more: &[(&'static str, &'static str)]| {
        let more: Vec<(&str, &str)> = more.iter().copied().chain(all).collect();
        run(&more, &[])
    };
    succeeds(&with(&[("PGHOST", "db.invalid"), ("PGHOSTADDR", "127.0.0.1")]));
    with(&[("PGHOST", "db.invalid,127.0.0.1")]).failed(2, &["PGHOST", "a list", "--host"]);
    let said = with(&[("PGHOST", "127.0.0.1"), ("PGTARGETSESSIONATTRS", "read-write")]);
    succeeds(&said);
    assert!(said.stderr.contains("PGTARGETSESSIONATTRS is not obeyed"), "{said:?}");
}

#[test]
fn thousands_of_datasets_are_no_list_of_arguments() {
    let db = database("v0.9/worlds/solo/database.sql.gz");
    let sql = "INSERT INTO kwild_internal.kwil_schemas (dbid, schema_content, version, id, name, owner)
          SELECT 'x' || encode(sha224(convert_to('field' || i, 'UTF8')), 'hex'), '{}', 0, public.uuid_generate_v4(), 'n' || i, '\\x00'
          FROM generate_series(1, 3000) i;
        DO $$ DECLARE name text; BEGIN FOR name IN SELECT dbid FROM kwild_internal.kwil_schemas LOOP
          EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', 'ds_' || name); END LOOP; END $$;
        CREATE SCHEMA ds_of_nobody; CREATE TABLE ds_of_nobody.t (a int); CREATE SCHEMA other; CREATE TABLE other.t (a int);";
    server().query(&db, sql).unwrap();
    let place = Place::new();
    let created = place.create_json(&db, &[]);
    let text = super::support::unzip(&fs::read(created["snapshot"].as_str().unwrap()).unwrap());
    let text = String::from_utf8(text).unwrap();
    let made = text.lines().filter(|line| line.starts_with("CREATE SCHEMA ")).count();
    let all = server().query(&db, "SELECT count(*) FROM kwild_internal.kwil_schemas").unwrap();
    assert_eq!(made, all.trim().parse::<usize>().unwrap() + 3);
    for absent in ["ds_of_nobody", "other.t", "CREATE SCHEMA kwild_chain", "CREATE SCHEMA public", "CREATE EXTENSION"] {
        assert!(!text.contains(absent), "{absent}");
    }
}
