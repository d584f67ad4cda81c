//! Databases that are not what they seem: replicas, tables somebody tuned or made without a log, roles that see little.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{
    parallel::{on, own_server},
    support::{Place, Run, database, fresh_name, program, read, server, unzip, wait_for},
};

const SOLO: &str = "v0.10/worlds/solo/database.sql.gz";

fn text(created: &Value) -> String {
    String::from_utf8(unzip(&fs::read(created["snapshot"].as_str().unwrap()).unwrap())).unwrap()
}

#[track_caller]
fn is_verified(place: &Place, created: &Value) {
    let genesis = created["genesis"].as_str().unwrap();
    let verified = place.verify(&[created["snapshot"].as_str().unwrap(), "--genesis", genesis]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn a_standby_is_refused_and_with_allow_live_says_its_height_and_lag() {
    let mut server = own_server();
    let db = fresh_name();
    server.load(&db, &read(SOLO)).unwrap();
    server.become_standby().unwrap();
    let place = Place::new();
    let run = Run::of(on(&place, &server, &db, &[]).output().unwrap());
    run.failed(4, &["is a standby (a replica)", "the primary's database", "--allow-live"]);
    place.is_untouched();
    let allowed = Run::of(on(&place, &server, &db, &["--allow-live", "--jobs", "3"]).output().unwrap());
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
    for words in ["warning: the server is a standby", "the height is 76", "receives nothing from a primary"] {
        assert!(allowed.stderr.contains(words), "no {words:?} in {allowed:?}");
    }
    let mut digest = program(place.home.path());
    digest.args(["snapshot", "digest", "--host", "127.0.0.1", "--dbname", &db, "--user", "postgres", "--port"]);
    let digest = Run::of(digest.arg(server.port().to_string()).output().unwrap());
    assert_eq!(digest.code, Some(0), "{digest:?}");
    assert!(digest.stderr.contains("warning: the server is a standby"), "{digest:?}");
}

#[test]
fn others_who_are_connected_are_told_to_a_role_that_sees_little_of_them() {
    let db = database(SOLO);
    let role = fresh_name();
    server().query(&db, &format!("CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}")).unwrap();
    let mut other = Command::new(server().program("psql"));
    other.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &server().port().to_string(), "-d", &db]);
    other.args(["-c", "SELECT pg_sleep(3600)"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut other = other.spawn().unwrap();
    let sleeps = format!("FROM pg_stat_activity WHERE datname = '{db}' AND wait_event = 'PgSleep'");
    wait_for("the other session", || {
        server().query("postgres", &format!("SELECT count(*) {sleeps}")).unwrap().trim() == "1"
    });
    let runs = ["postgres", &role].map(|user| {
        let place = Place::new();
        (place.create(&db, &["--user", user]), user.to_owned())
    });
    server().query("postgres", &format!("SELECT pg_terminate_backend(pid) {sleeps}")).unwrap();
    other.wait().unwrap();
    for (run, user) in runs {
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.contains("Others are connected to this database"), "as {user}: {run:?}");
    }
}

#[test]
fn what_a_dba_tuned_is_left_out_said_once_and_changes_no_digest() {
    let (plain, tuned) = (database(SOLO), database(SOLO));
    let sql = "ALTER TABLE shop.orders SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
        ALTER TABLE shop.customers SET (autovacuum_enabled = off, toast.autovacuum_enabled = off);
        ALTER TABLE shop.customers ALTER COLUMN name SET STATISTICS 500;
        ALTER TABLE shop.customers ALTER COLUMN name SET STORAGE EXTERNAL;
        ALTER TABLE shop.customers ALTER COLUMN name SET (n_distinct = 7);
        CREATE STATISTICS shop.st ON id, name FROM shop.customers;
        ALTER STATISTICS shop.st SET STATISTICS 9;
        ALTER INDEX shop.customers_pkey SET (fillfactor = 70);";
    server().query(&tuned, sql).unwrap();
    let (place, other) = (Place::new(), Place::new());
    let run = place.create(&tuned, &["--output", "json"]);
    let told = run.stderr.matches("Left out, since it changes no row").count();
    assert_eq!(told, 1, "{run:?}");
    assert!(run.stderr.contains("shop.customers, shop.orders"), "{run:?}");
    let (created, expected) = (run.result(), other.create_json(&plain, &[]));
    for digest in ["state_digest", "schema_digest"] {
        assert_eq!(created[digest], expected[digest]);
    }
    assert_eq!(text(&created), text(&expected));
    is_verified(&place, &created);
}

#[test]
fn unlogged_tables_are_left_out_and_said() {
    let (plain, db) = (database(SOLO), database(SOLO));
    let sql = "CREATE UNLOGGED TABLE shop.cache (id bigserial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text);
        INSERT INTO shop.cache (v) SELECT 'x' FROM generate_series(1, 100); CREATE INDEX ON shop.cache (v);";
    server().query(&db, sql).unwrap();
    let (place, other) = (Place::new(), Place::new());
    let run = place.create(&db, &["--output", "json"]);
    assert!(run.stderr.contains("unlogged tables: shop.cache, shop.cache_id_seq, shop.cache_n_seq"), "{run:?}");
    let (created, expected) = (run.result(), other.create_json(&plain, &[]));
    assert_eq!(text(&created), text(&expected));
    is_verified(&place, &created);
}

#[test]
fn an_unlogged_table_of_kwils_own_is_refused() {
    let db = database(SOLO);
    server().query(&db, "ALTER TABLE kwild_voting.processed SET UNLOGGED").unwrap();
    let place = Place::new();
    place.create(&db, &[]).failed(1, &["kwild_voting.processed is an unlogged table", "SET LOGGED"]);
    place.is_untouched();
}

#[test]
fn a_pg_dump_of_another_distribution_is_one() {
    let db = database(SOLO);
    let place = Place::new();
    let real = server().program("pg_dump");
    let major = super::support::major();
    for (n, words) in ["(EnterpriseDB) {}.2.0", "(Postgres Pro) {}.2", "(PostgreSQL) {}.2 - Percona"].iter().enumerate()
    {
        let answer = words.replace("{}", &major.to_string());
        let script =
            format!("[ \"$1\" = --version ] && exec echo 'pg_dump {answer}'\nexec '{}' \"$@\"", real.display());
        let pg_dump = place.script(&format!("pg_dump{n}"), &script).display().to_string();
        place.create_json(&db, &["--force", "--pg-dump", &pg_dump]);
    }
    let other = place.script("pg_dumpall", "echo 'pg_dumpall (PostgreSQL) 16.2'").display().to_string();
    place.create(&db, &["--force", "--pg-dump", &other]).failed(1, &["is not a pg_dump"]);
}
