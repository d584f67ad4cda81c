//! Passwords and TLS, on a server that asks for both.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, sync::OnceLock};

use regenesis::database::scratch::{Scratch, ScratchOptions};
use zeroize::Zeroizing;

use super::support::{Place, Run, data, program, read};

const PASSWORD: &str = "it's a \\ se:cret";

/// A server with a password and a certificate for the name `localhost`.
fn strict_server() -> &'static Scratch {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    SERVER.get_or_init(|| {
        let files = ["server.crt", "server.key"].map(|name| (name.to_owned(), read(&format!("tls/{name}"))));
        let server = Scratch::start(ScratchOptions {
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            parameters: vec![("ssl".into(), "on".into())],
            files: files.to_vec(),
            ..ScratchOptions::default()
        })
        .unwrap();
        server.load("kwil", &read("v0.10/worlds/quartet/database.sql.gz")).unwrap();
        server
    })
}

fn command(place: &Place, flags: &[&str]) -> Command {
    let mut command = program(place.home.path());
    command.args(["snapshot", "create", "--force", "--progress", "none", "--snapdir"]).arg(&place.snapdir);
    command.args(["--port", &strict_server().port().to_string(), "--user", "postgres", "--dbname", "kwil"]).args(flags);
    command
}

fn run(mut command: Command) -> Run {
    Run::of(command.output().unwrap())
}

#[track_caller]
fn succeeds(command: Command) {
    let run = run(command);
    assert_eq!(run.code, Some(0), "{run:?}");
}

fn with_password(place: &Place, flags: &[&str]) -> Command {
    let mut command = command(place, flags);
    command.env("PGPASSWORD", PASSWORD);
    command
}

#[test]
fn passwords_come_from_each_place_and_reach_pg_dump_too() {
    let place = Place::new();
    run(command(&place, &[])).failed(1, &["wants a password", "PGPASSWORD"]);
    let mut wrong = command(&place, &[]);
    wrong.env("PGPASSWORD", "wrong");
    run(wrong).failed(1, &["does not let \"postgres\" in", "password"]);
    place.is_untouched();

    succeeds(with_password(&place, &[]));

    let file = place.home.path().join("secret");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    succeeds(command(&place, &["--password-file", file.to_str().unwrap()]));

    let typed = run(command(&place, &["--password", PASSWORD]));
    assert_eq!(typed.code, Some(0), "{typed:?}");
    assert!(typed.stderr.contains("warning: --password"), "{}", typed.stderr);
    assert!(!typed.stderr.contains("se:cret"), "a password is never echoed");

    let pgpass = place.home.path().join(".pgpass");
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(&pgpass, format!("127.0.0.1:*:kwil:postgres:{escaped}\n")).unwrap();
    fs::set_permissions(&pgpass, fs::Permissions::from_mode(0o600)).unwrap();
    succeeds(command(&place, &[]));
}

#[test]
fn tls_as_libpq_means_it() {
    let place = Place::new();
    for mode in ["disable", "prefer", "require"] {
        succeeds(with_password(&place, &["--sslmode", mode]));
    }
    let root = data("tls/ca.crt");
    // The certificate is for the name, not for the address.
    let mut verified = with_password(&place, &["--host", "localhost", "--sslmode", "verify-full"]);
    verified.env("PGSSLROOTCERT", &root);
    succeeds(verified);
    let mut wrong_name = with_password(&place, &["--host", "127.0.0.1", "--sslmode", "verify-full"]);
    wrong_name.env("PGSSLROOTCERT", &root);
    run(wrong_name).failed(1, &["no TLS connection", "is for localhost, not for 127.0.0.1", "subjectAltName"]);
    let mut wrong_root = with_password(&place, &["--host", "localhost", "--sslmode", "verify-full"]);
    wrong_root.env("PGSSLROOTCERT", data("tls/server.key"));
    run(wrong_root).failed(1, &["holds no certificate"]);
}

#[test]
fn require_does_not_fall_back_to_plain_text() {
    let place = Place::new();
    let plain = super::support::server();
    let mut command = program(place.home.path());
    command.args(["snapshot", "create", "--sslmode", "require", "--user", "postgres", "--port"]);
    command.arg(plain.port().to_string()).arg("--snapdir").arg(&place.snapdir);
    Run::of(command.output().unwrap()).failed(1, &["no TLS connection", "does not support TLS"]);
    place.is_untouched();
}

#[test]
fn a_unix_socket_and_the_environment_are_enough() {
    let place = Place::new();
    let server = super::support::server();
    let db = super::support::database("v0.10/worlds/quartet/database.sql.gz");
    let mut command = program(place.home.path());
    command.args(["snapshot", "create", "--snapdir"]).arg(&place.snapdir);
    command.env("PGHOST", server.socket_directory()).env("PGPORT", server.port().to_string());
    command.env("PGUSER", "postgres").env("PGDATABASE", db);
    // Traps: these must not reach pg_dump.
    command.env("PGCLIENTENCODING", "LATIN1").env("PGOPTIONS", "-c default_transaction_read_only=nonsense");
    succeeds(command);
}

#[test]
fn the_old_nodes_root_says_where_the_database_is_and_flags_say_otherwise() {
    let place = Place::new();
    let server = super::support::server();
    let db = super::support::database("v0.10/worlds/quartet/database.sql.gz");
    let root = place.home.path().join("old-root");
    fs::create_dir(&root).unwrap();
    let config = format!(
        "[db]\nhost = '127.0.0.1'\nport = '{}'\nuser = 'postgres'\npass = ''\ndbname = '{db}'\n",
        server.port()
    );
    fs::write(root.join("config.toml"), &config).unwrap();
    fs::copy(data("v0.10/worlds/quartet/genesis.original.json"), root.join("genesis.json")).unwrap();
    let from_root = |flags: &[&str]| {
        let mut command = program(place.home.path());
        command.args(["snapshot", "create", "--output", "json", "--snapdir"]).arg(&place.snapdir);
        command.arg("--from-root").arg(&root).args(flags);
        // The root counts more than the environment.
        command.env("PGDATABASE", "no_such_database").env("PGPORT", "1");
        run(command)
    };
    let created = from_root(&[]).result();
    let old: serde_json::Value = serde_json::from_slice(&read("v0.10/worlds/quartet/genesis.original.json")).unwrap();
    assert_eq!(created["old_chain_id"], old["chain_id"]);
    assert_ne!(created["chain_id"], old["chain_id"]);
    let other = from_root(&["--force", "--dbname", "no_such_database"]);
    assert!(other.stderr.contains("no database \"no_such_database\""), "{other:?}");
    fs::write(root.join("config.toml"), "not [ toml").unwrap();
    let broken = from_root(&["--force"]);
    assert!(broken.stderr.contains("config.toml") && broken.code != Some(0), "{broken:?}");
}
