//! The state digest: one state has one, wherever it is read and however its rows lie.

use std::{fs, process::Command};

use serde_json::Value;

use super::{
    support::{Place, Run, database, fresh_name, major, program, server},
    worlds::WORLDS,
};
use crate::common::SHUFFLE;

impl Place {
    /// `snapshot digest` with any arguments.
    fn digest(&self, arguments: &[&str]) -> Run {
        let mut command = program(self.home.path());
        command.args(["snapshot", "digest", "--progress", "none"]).args(arguments);
        Run::of(command.output().unwrap())
    }

    fn digest_database(&self, dbname: &str, flags: &[&str]) -> Run {
        let port = server().port().to_string();
        let mut arguments = vec!["--host", "127.0.0.1", "--port", &port, "--user", "postgres", "--dbname", dbname];
        arguments.extend(flags);
        self.digest(&arguments)
    }

    fn digest_json(&self, dbname: &str) -> Value {
        self.digest_database(dbname, &["--output", "json"]).result()
    }
}

#[test]
fn file_database_and_create_agree_about_every_world() {
    for world in &WORLDS {
        let name = world.database;
        let db = database(name);
        let place = Place::new();
        let created = place.create_json(&db, &["--chain-id", "another"]);
        let of_database = place.digest_json(&db);
        let file = place.digest(&[created["snapshot"].as_str().unwrap(), "--output", "json"]).result();
        for key in ["state_digest", "schema_digest"] {
            assert!(created[key].as_str().is_some_and(|digest| digest.len() == 64), "{created}");
            assert_eq!(of_database[key], created[key], "{key} of {name}");
            assert_eq!(file[key], created[key], "{key} of {name}");
        }
        assert_eq!((&file["validators_of"], &of_database["validators_of"]), (&"genesis".into(), &"database".into()));
        for key in ["tables", "validators", "height", "family"] {
            assert_eq!(file[key], of_database[key], "{key} of {name}");
        }
        assert_eq!(created["server_major"], of_database["server_major"]);
        assert_eq!(of_database["server_major"], major());
        assert!(of_database["dump_major"].as_u64() >= Some(15));
        assert_eq!((&file["server_major"], &file["dump_major"]), (&Value::Null, &Value::Null));
        let rows: u64 = file["tables"].as_array().unwrap().iter().map(|t| t["rows"].as_u64().unwrap()).sum();
        assert_eq!(created["rows"], rows);
        assert_eq!(place.files().len(), 2, "no file more");
    }
}

#[test]
fn honest_nodes_with_other_restarts_and_kills_are_equal() {
    for place_of_nodes in ["restarted", "restarted/killed"] {
        let place = Place::new();
        let mut first: Option<Value> = None;
        for node in 0..5 {
            let db = database(&format!("v0.10/worlds/{place_of_nodes}/node{node}.database.sql.gz"));
            let digest = place.digest_json(&db);
            match &first {
                None => first = Some(digest),
                Some(first) => assert_eq!(digest, *first, "{place_of_nodes}/node{node}"),
            }
        }
    }
}

const CLUSTER: &str = r"
SELECT format('CLUSTER %s USING %I', i.indrelid::regclass, c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.indisprimary AND n.nspname !~ '^pg_'
\gexec
";

/// The whole database as pg_dump writes it.
fn dump(db: &str) -> Vec<u8> {
    let mut command = Command::new(server().program("pg_dump"));
    command.args(["--no-owner", "--host", "127.0.0.1", "--port", &server().port().to_string()]);
    let output = command.args(["--username", "postgres", db]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn rows_may_lie_in_any_order() {
    for world in ["v0.10/worlds/quartet/database.sql.gz", "v0.9/worlds/quartet/database.sql.gz"] {
        let db = database(world);
        let place = Place::new();
        let first = place.create_json(&db, &["--chain-id", "another"]);
        let mut hashes = vec![first["state_hash"].clone()];
        let mut same = |db: &str, how: &str| {
            let again = place.create_json(db, &["--chain-id", "another", "--force"]);
            assert_eq!(again["state_digest"], first["state_digest"], "{how}, {world}");
            assert_eq!(again["schema_digest"], first["schema_digest"], "{how}, {world}");
            assert_eq!(place.digest_json(db)["state_digest"], first["state_digest"], "{how}, {world}");
            hashes.push(again["state_hash"].clone());
        };
        server().query(&db, SHUFFLE).unwrap();
        same(&db, "updated, vacuumed full");
        server().query(&db, CLUSTER).unwrap();
        same(&db, "clustered");
        let copy = fresh_name();
        server().load(&copy, &dump(&db)).unwrap();
        same(&copy, "dumped and loaded");
        // The order was really another: the text's own hash says so.
        assert_ne!(hashes[0], hashes[1], "{world}");
        assert_ne!(hashes[1], hashes[2], "{world}");
    }
}

#[test]
fn settings_of_a_role_or_database_do_not_matter() {
    let db = database("v0.10/worlds/quartet/database.sql.gz");
    let place = Place::new();
    let first = place.digest_json(&db);
    let settings = "ALTER DATABASE {} SET bytea_output = 'escape'; ALTER DATABASE {} SET datestyle = 'German'; \
                    ALTER DATABASE {} SET extra_float_digits = -3; ALTER DATABASE {} SET quote_all_identifiers = on";
    server().query("postgres", &settings.replace("{}", &db)).unwrap();
    assert_eq!(place.digest_json(&db), first);
}

#[test]
fn what_was_tampered_with_is_named() {
    let db = database("v0.10/worlds/quartet/database.sql.gz");
    let place = Place::new();
    let honest = place.home.path().join("honest.json");
    let run = place.digest_database(&db, &["--output", "json"]);
    fs::write(&honest, &run.stdout).unwrap();
    let honest = honest.to_str().unwrap();
    let tables = run.result()["tables"].as_array().unwrap().len();
    assert!(tables > 20);

    let equal = place.digest_database(&db, &["--compare", honest]);
    assert_eq!(equal.code, Some(0), "{equal:?}");
    assert!(equal.stdout.contains("The two states are equal"), "{equal:?}");
    assert!(equal.stdout.contains("schema         equal"), "{equal:?}");

    let compared = |tamper: &str| {
        server().query(&db, tamper).unwrap();
        let run = place.digest_database(&db, &["--compare", honest, "--output", "json"]);
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(run.stderr.contains("the two states differ") && run.stderr.contains("next: "), "{run:?}");
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(json["error"], "the two states differ");
        assert_eq!(json["result"]["comparison"]["equal"], false);
        let text = place.digest_database(&db, &["--compare", honest]);
        assert!(text.stdout.contains("DIFFER"), "{text:?}");
        let differs = json["result"]["comparison"]["differs"].as_array().unwrap().clone();
        differs.iter().map(|d| d.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // One digit of one balance.
    let differs = compared(
        "UPDATE kwild_accts.accounts SET balance = overlay(balance placing '9' from length(balance)) WHERE ctid = (SELECT \
         min(ctid) FROM kwild_accts.accounts WHERE balance NOT LIKE '%9')",
    );
    assert_eq!(differs.len(), 1, "{differs:?}");
    assert!(differs[0].starts_with("kwild_accts.accounts: other contents"), "{differs:?}");
    let differs = compared("INSERT INTO kwild_voting.processed VALUES ('\\x00')");
    assert_eq!(differs.len(), 2, "{differs:?}");
    assert!(differs[1].starts_with("kwild_voting.processed: ") && differs[1].contains("row"), "{differs:?}");
    let differs = compared(
        "UPDATE kwild_voting.voters SET power = power + 1 WHERE ctid = (SELECT min(ctid) FROM kwild_voting.voters)",
    );
    assert_eq!(differs.len(), 4, "{differs:?}");
    assert!(differs[2..].iter().all(|d| d.starts_with("validator ")), "{differs:?}");
    let differs = compared("CREATE TABLE main.more (a int8 PRIMARY KEY)");
    assert!(differs.contains(&"main.more is only in this one".to_owned()), "{differs:?}");
    for part in ["table main.more", "constraint more_pkey of main.more", "replica identity of main.more"] {
        assert!(differs.contains(&format!("{part} is only in this one")), "{part}: {differs:?}");
    }
    let differs = compared("CREATE INDEX by_nonce ON kwild_accts.accounts (nonce)");
    assert!(differs.contains(&"index by_nonce of kwild_accts.accounts is only in this one".to_owned()), "{differs:?}");
    let differs = compared("ALTER TABLE kwild_accts.accounts ALTER nonce SET DEFAULT 7");
    let table = "table kwild_accts.accounts: another definition".to_owned();
    assert!(differs.contains(&table), "{differs:?}");
}

#[test]
fn a_genesis_that_was_edited_is_no_other_state_and_is_told() {
    for (world, validators) in [("v0.9/worlds/quartet", "pub_key"), ("v0.10/worlds/quartet", "pubkey")] {
        let db = database(&format!("{world}/database.sql.gz"));
        let place = Place::new();
        let created = place.create_json(&db, &["--chain-id", "another"]);
        let path = place.home.path().join("old.json");
        fs::write(&path, place.digest_database(&db, &["--output", "json"]).stdout).unwrap();
        let (file, genesis) = (created["snapshot"].as_str().unwrap(), created["genesis"].as_str().unwrap());
        let compare = |more: &[&str]| place.digest(&[&[file, "--compare", path.to_str().unwrap()], more].concat());
        let same = compare(&["--validators"]);
        assert!(same.code == Some(0) && !same.stdout.contains("edited"), "{same:?}");

        let mut edited: Value = serde_json::from_slice(&fs::read(genesis).unwrap()).unwrap();
        let gone = edited["validators"].as_array_mut().unwrap().pop().unwrap()[validators].as_str().unwrap().to_owned();
        fs::write(genesis, edited.to_string()).unwrap();
        let told = compare(&[]);
        assert_eq!(told.code, Some(0), "{told:?}");
        for words in
            ["The two states are equal", "The genesis was edited", &format!("validator {gone}"), "only in the other"]
        {
            assert!(told.stdout.contains(words), "no {words:?} in {told:?}");
        }
        let json = compare(&["--output", "json"]).result()["comparison"].clone();
        assert_eq!((&json["equal"], json["edited"].as_array().unwrap().len()), (&true.into(), 1), "{json}");
        // Whoever asks for it, has it counted.
        let asked = compare(&["--validators"]);
        assert!(asked.code == Some(3) && asked.stdout.contains("DIFFER") && asked.stdout.contains(&gone), "{asked:?}");
        // What is another state is one, whatever became of the genesis.
        server().query(&db, "UPDATE kwild_accts.accounts SET nonce = nonce + 1").unwrap();
        fs::write(&path, place.digest_database(&db, &["--output", "json"]).stdout).unwrap();
        let other = compare(&[]);
        assert!(other.code == Some(3) && other.stdout.contains("kwild_accts.accounts: other contents"), "{other:?}");
    }
}

#[test]
fn the_schema_of_another_version_is_compared_too() {
    let db = database("v0.10/worlds/solo/database.sql.gz");
    let place = Place::new();
    let run = place.digest_database(&db, &["--output", "json"]);
    let mut other: Value = run.result();
    other["server_major"] = (major() + 1).into();
    let path = place.home.path().join("other.json");
    fs::write(&path, other.to_string()).unwrap();
    let run = place.digest_database(&db, &["--compare", path.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    other["schema_digest"] = other["state_digest"].clone();
    other["schema"].as_array_mut().unwrap().retain(|part| part["name"] != "view info.tables");
    fs::write(&path, other.to_string()).unwrap();
    let run = place.digest_database(&db, &["--compare", path.to_str().unwrap()]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stdout.contains("view info.tables is only in this one"), "{run:?}");

    fs::write(&path, "{}").unwrap();
    place.digest_database(&db, &["--compare", path.to_str().unwrap()]).failed(3, &["holds no state digest"]);
}

#[test]
fn the_digest_can_be_left_out() {
    let db = database("v0.9/worlds/solo/database.sql.gz");
    let place = Place::new();
    let created = place.create_json(&db, &["--no-digest"]);
    assert_eq!((&created["state_digest"], &created["schema_digest"]), (&Value::Null, &Value::Null));
    let text = Place::new().create(&db, &[]);
    assert!(text.stdout.contains("\n  digest      "), "{text:?}");
}

#[test]
fn a_running_nodes_database_is_digested_and_that_is_said() {
    let place = Place::new();
    server();
    let run = place.digest_database(super::support::DATABASE_WITH_SLOT, &["--output", "json"]);
    let quartet = database("v0.10/worlds/quartet/database.sql.gz");
    assert_eq!(run.result(), place.digest_json(&quartet));
    assert!(run.stderr.contains("kwild_repl"), "{run:?}");
}

#[test]
fn a_file_that_is_not_its_genesis_has_no_digest() {
    let db = database("v0.10/worlds/solo/database.sql.gz");
    let place = Place::new();
    let created = place.create_json(&db, &[]);
    let other = Place::new();
    let foreign = other.create_json(&database("v0.10/worlds/quartet/database.sql.gz"), &[]);
    let file = created["snapshot"].as_str().unwrap();
    place.digest(&[file, "--genesis", foreign["genesis"].as_str().unwrap()]).failed(3, &["state hash"]);
    place.digest(&["--genesis", file]).failed_usage();
    place.digest(&[file, "--dbname", &db]).failed_usage();
}

impl Run {
    #[track_caller]
    fn failed_usage(&self) {
        assert_eq!(self.code, Some(2), "{self:?}");
    }
}
