//! A started node's database against what was signed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kwil_formats::formats::Family;
use serde_json::Value;

use super::{flags, fresh_name, with};
use crate::common::{GuardedRecording, Party, Run, data, server};

/// A snapshot, and what real kwild made of it: alone as the one validator of the edited genesis, three blocks.
struct Started {
    snapshot: &'static str,
    place: &'static str,
    /// A table of users, a statement that changes one row of it, and one that adds a row.
    table: &'static str,
    change: &'static str,
    add: &'static str,
}

const V09: Started = Started {
    snapshot: "v0.9/worlds/quartet/kwil-admin/kwildb-snapshot.sql.gz",
    place: "v0.9/worlds/quartet/restart-alone",
    table: "ds_x8dd8ec1173d38cbcd29ccba8bff3727027ea944645b48415923b596b.sellers",
    change: "UPDATE ds_x8dd8ec1173d38cbcd29ccba8bff3727027ea944645b48415923b596b.sellers SET name = name || 'x' WHERE id = 7",
    add: "INSERT INTO ds_x8dd8ec1173d38cbcd29ccba8bff3727027ea944645b48415923b596b.sellers (id, name) VALUES (777, 'n')",
};
const V010: Started = Started {
    snapshot: "v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz",
    place: "v0.10/restart/quartet-alone",
    table: "ledger.accts",
    change: "UPDATE ledger.accts SET amount = amount + 1 WHERE id = (SELECT min(id) FROM ledger.accts)",
    add: "INSERT INTO ledger.accts (id, owner, amount) SELECT max(id) + 1, 'n', 1 FROM ledger.accts",
};
const BOTH: [Started; 2] = [V09, V010];

impl Started {
    fn load(&self, name: &str) -> String {
        let database = fresh_name();
        let text = fs::read(data(self.place).join(name)).unwrap();
        server().load(&database, &text).unwrap();
        database
    }

    fn family(&self) -> Family {
        if self.place.starts_with("v0.9") { Family::V09 } else { Family::V010 }
    }

    /// The snapshot with the guard, and this genesis for it, in a directory of the party.
    fn guarded(&self, party: &Party, directory: &str) {
        let recorded = Path::new(self.snapshot).parent().unwrap().to_str().unwrap();
        let recording = GuardedRecording::of(self.family(), recorded);
        let genesis = recording.renew(&fs::read_to_string(self.genesis()).unwrap());
        party.write(&format!("{directory}/genesis.json"), genesis);
        party.write(&format!("{directory}/{}", self.family().snapshot_file_name()), &recording.file);
    }

    fn genesis(&self) -> PathBuf {
        data(self.place).join("genesis.json")
    }

    /// `setup confirm FILE --genesis G` on a database.
    fn confirm(&self, database: &str, args: &[&str]) -> Run {
        let (file, genesis) = (data(self.snapshot), self.genesis());
        let flags = flags(database);
        let head = ["setup", "confirm", file.to_str().unwrap(), "--genesis", genesis.to_str().unwrap()];
        Party::new().run(&with(&[&head, args].concat(), &flags))
    }

    /// The same; it must fail and name these parts as damaged.
    #[track_caller]
    fn damaged(&self, database: &str, names: &[&str]) {
        let run = self.confirm(database, &["--output", "json"]);
        assert_eq!(run.code, 3, "{run:?}");
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(json["result"]["outcome"], "damaged", "{json}");
        assert_eq!(parts(&json["result"], "damage"), names, "{json}");
        for name in names {
            assert!(json["error"].as_str().unwrap().contains(name), "{json}");
        }
    }
}

fn parts(result: &Value, verdict: &str) -> Vec<String> {
    let parts = result["tables"].as_array().unwrap();
    parts.iter().filter(|p| p["verdict"] == verdict).map(|p| p["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_node_that_real_kwild_started_holds_what_was_signed() {
    for started in BOTH {
        let database = started.load("database.sql.gz");
        let result = started.confirm(&database, &["--output", "json"]).result();
        assert_eq!((&result["ok"], &result["outcome"]), (&true.into(), &"as-signed".into()), "{result}");
        assert_eq!((result["transactions"].as_u64(), result["height"].as_i64()), (Some(0), Some(3)));
        assert_eq!(parts(&result, "kwild"), ["kwild_voting.resolutions", "kwild_voting.votes"]);
        let words = started.confirm(&database, &[]).done();
        assert!(words.stdout.starts_with("This node holds what was signed."), "{words:?}");
        // A running node is no matter worth a word.
        assert!(!words.stderr.contains("warning"), "{words:?}");
    }
}

/// What real kwild was seen to leave between its restore and its first block: of v0.9 no row of the chain and no voter, of
/// v0.10 both, at height 0.
#[test]
fn a_node_without_a_block_is_judged_in_both_families() {
    for (started, before) in [
        (V09, "DELETE FROM kwild_chain.chain; DELETE FROM kwild_voting.voters"),
        (V010, "UPDATE kwild_chain.chain SET height = 0"),
    ] {
        let database = started.load("database.sql.gz");
        server().query(&database, before).unwrap();
        let result = started.confirm(&database, &["--output", "json"]).result();
        assert_eq!((&result["outcome"], result["height"].as_i64()), (&"as-signed".into(), Some(0)), "{result}");
        server().query(&database, started.change).unwrap();
        started.damaged(&database, &[started.table]);
        let empty = started.load("not-restored.database.sql.gz");
        server().query(&empty, before).unwrap();
        run_failed(&started.confirm(&empty, &[]), &["NOT restored", "began empty"]);
    }
}

#[test]
fn damage_is_named_table_by_table() {
    for started in BOTH {
        let database = started.load("database.sql.gz");
        let then = |sql: &str| server().query(&database, sql).map(drop).unwrap();
        then(started.change);
        started.damaged(&database, &[started.table]);
        then(&format!("TRUNCATE {} CASCADE", started.table));
        let run = started.confirm(&database, &[]);
        assert!(run.stdout.contains(&format!("DAMAGE {}: ", started.table)), "{run:?}");
        assert!(!run.stdout.contains("DAMAGE kwild_"), "{run:?}");
    }
    let database = V010.load("database.sql.gz");
    let then = |sql: &str| server().query(&database, sql).map(drop).unwrap();
    then("UPDATE kwild_voting.resolutions SET expiration = expiration + 1");
    V010.damaged(&database, &["kwild_voting.resolutions"]);
    then("UPDATE kwild_voting.resolutions SET expiration = expiration - 1");
    then("DELETE FROM kwild_voting.votes");
    V010.damaged(&database, &["kwild_voting.votes"]);
    then("UPDATE kwild_voting.voters SET power = power + 1");
    V010.damaged(&database, &["kwild_voting.votes", "validators"]);
    then("ALTER TABLE ledger.moves DROP CONSTRAINT moves_pkey");
    V010.damaged(&database, &["kwild_voting.votes", "validators", "definitions"]);
    then("UPDATE kwild_accts.accounts SET balance = '1' WHERE nonce = 9");
    V010.damaged(&database, &["kwild_accts.accounts", "kwild_voting.votes", "validators", "definitions"]);
    then("DROP TABLE ledger.moves");
    let run = V010.confirm(&database, &[]);
    assert!(run.stdout.contains("DAMAGE ledger.moves: the table is missing"), "{run:?}");
}

#[test]
fn a_changed_definition_is_damage_though_every_row_is_as_signed() {
    let database = V010.load("database.sql.gz");
    let then = |sql: &str| server().query(&database, sql).map(drop).unwrap();
    let says = |words: &str| {
        V010.damaged(&database, &["definitions"]);
        let run = V010.confirm(&database, &[]);
        assert!(run.stdout.contains(words), "{words}: {run:?}");
    };
    then("ALTER TABLE ledger.accts ADD CONSTRAINT rule UNIQUE (id, owner)");
    says("not signed: constraint rule of ledger.accts");
    // pg_dump writes a check and a default into the table's own statement.
    then("ALTER TABLE ledger.accts DROP CONSTRAINT rule, ADD CONSTRAINT rule CHECK (amount > -1000000)");
    says("not as signed: table ledger.accts");
    then("ALTER TABLE ledger.accts DROP CONSTRAINT rule, ALTER amount SET DEFAULT 7");
    says("not as signed: table ledger.accts");
    then("ALTER TABLE ledger.accts ALTER amount DROP DEFAULT");
    assert_eq!(V010.confirm(&database, &[]).code, 0);
}

#[test]
fn a_chain_that_began_empty_is_told_plainly() {
    for started in BOTH {
        let database = started.load("not-restored.database.sql.gz");
        let run = started.confirm(&database, &[]);
        run_failed(&run, &["NOT restored", "began empty"]);
        assert!(run.stdout.starts_with("The snapshot was NOT restored"), "{run:?}");
    }
}

/// Failed with a result on stdout, which `Run::failed` does not expect.
#[track_caller]
fn run_failed(run: &Run, words: &[&str]) {
    assert_eq!(run.code, 3, "{run:?}");
    for word in words.iter().chain(&["error: ", "next: "]) {
        assert!(run.stderr.contains(word), "no {word:?} in {run:?}");
    }
}

#[test]
fn a_database_that_kwild_did_not_start_on_is_no_node() {
    let empty = fresh_name();
    server().create_database(&empty).unwrap();
    V010.confirm(&empty, &[]).failed(3, &["kwild has not started", "holds nothing of Kwil"]);
    // kwild restores first, and looks at hash and server afterwards: what it leaves then has no chain.
    let left = fresh_name();
    server().create_database(&left).unwrap();
    server().restore(&left, &fs::read(data(V010.snapshot)).unwrap()).unwrap();
    V010.confirm(&left, &[]).failed(3, &["has not come to its end of starting", "drop the database"]);
    V010.confirm("nowhere", &[]).failed(1, &["there is no database", "NEW node's database"]);
}

#[test]
fn the_old_nodes_own_database_is_not_taken_for_a_new_one() {
    for (started, world) in [(V09, "v0.9/worlds/quartet"), (V010, "v0.10/worlds/quartet")] {
        let database = fresh_name();
        server().load(&database, &fs::read(data(world).join("database.sql.gz")).unwrap()).unwrap();
        let run = started.confirm(&database, &[]);
        run_failed(&run, &["kwild_voting.resolutions"]);
        assert!(run.stdout.contains("the old node's database"), "{run:?}");
        assert!(run.stdout.contains("OLD node's database?"), "{run:?}");
    }
}

#[test]
fn after_transactions_only_added_rows_are_sure() {
    for started in BOTH {
        let database = started.load("database.sql.gz");
        let then = |sql: &str| server().query(&database, sql).map(drop).unwrap();
        // One transaction, as the nonces tell.
        then(
            "UPDATE kwild_accts.accounts SET nonce = nonce + 1 WHERE identifier = (SELECT identifier FROM \
              kwild_accts.accounts ORDER BY identifier LIMIT 1)",
        );
        then(started.add);
        let result = started.confirm(&database, &["--output", "json"]).result();
        assert_eq!(result["outcome"], "as-signed-and-more", "{result}");
        assert_eq!((result["transactions"].as_u64(), parts(&result, "grown").len()), (Some(1), 2), "{result}");
        then(started.change);
        let run = started.confirm(&database, &["--output", "json"]);
        assert_eq!(run.code, 3, "{run:?}");
        let json: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(json["result"]["outcome"], "unconfirmed");
        assert_eq!(parts(&json["result"], "unclear"), [started.table]);
        assert!(run.stderr.contains("--allow-transactions"), "{run:?}");
        let allowed = started.confirm(&database, &["--allow-transactions", "--output", "json"]).result();
        assert_eq!((&allowed["ok"], &allowed["outcome"]), (&true.into(), &"unconfirmed".into()));
    }
}

/// TRUF's kwild is not at hand: what it was recorded to change is done by hand.
#[test]
fn what_trufs_kwild_rewrites_is_told_apart_too() {
    let database = fresh_name();
    server().load(&database, &fs::read(data("truf/worlds/quartet/database.sql.gz")).unwrap()).unwrap();
    let then = |sql: &str| server().query(&database, sql).map(drop).unwrap();
    then(
        "DELETE FROM kwild_voting.resolutions r USING kwild_voting.resolution_types t WHERE t.id = r.type AND t.name IN \
          ('migration', 'changeset_migration', 'validator_join', 'validator_remove')",
    );
    let height = server().query(&database, "SELECT height FROM kwild_chain.chain").unwrap();
    then(&format!("UPDATE kwild_voting.resolutions SET expiration = expiration - {height}"));
    then("UPDATE kwild_chain.chain SET height = 3, app_hash = '\\x00'");
    // As every start: built-in actions and the owner's role come again with other ids.
    let shift = |table| {
        format!(
            "UPDATE kwild_engine.{table} p SET id = p.id + 1000, action_id = p.action_id + 1000 FROM kwild_engine.actions a \
             WHERE a.id = p.action_id AND a.built_in;"
        )
    };
    then(&format!(
        "SET session_replication_role = replica; {} {} UPDATE kwild_engine.actions SET id = id + 1000 WHERE built_in",
        shift("parameters"),
        shift("return_fields")
    ));
    then("UPDATE kwild_engine.user_roles SET id = id + 1000");
    then("SELECT setval('kwild_engine.actions_id_seq', 2000)");
    then("ALTER TABLE kwild_voting.votes DROP CONSTRAINT votes_voter_id_fkey");
    let snapshot = data("truf/worlds/quartet/kwild-snapshot/snapshot.sql.gz");
    let flags = flags(&database);
    let confirm = || Party::new().run(&with(&["setup", "confirm", snapshot.to_str().unwrap()], &flags));
    let run = confirm().done();
    assert!(run.stdout.starts_with("This node holds what was signed."), "{run:?}");
    then("UPDATE ledger.accts SET amount = amount + 1 WHERE id = (SELECT min(id) FROM ledger.accts)");
    run_failed(&confirm(), &["ledger.accts"]);
}

#[test]
fn a_manifest_alone_is_enough_for_the_tables() {
    for (family, started) in [(Family::V09, V09), (Family::V010, V010)] {
        let party = Party::new();
        party.take_key(family, 0, "lead.key");
        started.guarded(&party, "snap");
        party.run(&["manifest", "sign", "--snapdir", "snap", "--key", "lead.key", "--state-dir", "state"]).done();
        party.write("alone/manifest.regenesis", party.read("snap/manifest.regenesis"));
        let database = started.load("database.sql.gz");
        let flags = flags(&database);
        let confirm = |manifest| party.run(&with(&["setup", "confirm", "--manifest", manifest], &flags));
        let alone = confirm("alone").done();
        assert!(alone.stdout.contains("the digests in the manifest"), "{alone:?}");
        // With the files beside it, every row.
        let beside = confirm("snap").done();
        assert!(beside.stdout.contains("every row of the snapshot"), "{beside:?}");
        server().query(&database, started.change).unwrap();
        for manifest in ["alone", "snap/manifest.regenesis"] {
            run_failed(&confirm(manifest), &[started.table]);
        }
        // Another network's genesis in the root.
        let other = data("v0.10/worlds/solo/kwild-snapshot/genesis.json");
        let args = ["setup", "confirm", "--manifest", "alone", "--genesis", other.to_str().unwrap()];
        party.run(&with(&args, &flags)).failed(3, &["the manifest's snapshot has"]);
    }
}

#[test]
fn a_genesis_that_was_edited_is_told() {
    for started in BOTH {
        let party = Party::new();
        party.take_key(started.family(), 0, "lead.key");
        started.guarded(&party, "snap");
        // The lead said what the old network was; the new one has one of its validators.
        let world = Path::new(started.snapshot).parent().unwrap().parent().unwrap();
        let old = data(world.join("genesis.original.json").to_str().unwrap());
        let sign = ["manifest", "sign", "--snapdir", "snap", "--key", "lead.key", "--state-dir", "state"];
        party.run(&with(&sign, &["--old-genesis".to_owned(), old.to_str().unwrap().to_owned()])).done();
        let database = started.load("database.sql.gz");
        let confirm = || party.run(&with(&["setup", "confirm", "--manifest", "snap"], &flags(&database))).done();
        let signed = confirm();
        assert!(signed.stdout.contains("edited for the new network: of the validators 0 joined, 3 left"), "{signed:?}");
        assert!(!signed.stdout.contains("not the one that was signed"), "{signed:?}");
        let text = String::from_utf8(party.read("snap/genesis.json")).unwrap();
        party.write("snap/genesis.json", text.replacen('{', "{ ", 1));
        let edited = confirm();
        assert!(
            edited.stdout.contains("the genesis is not the one that was signed: it was edited since"),
            "{edited:?}"
        );
    }
}

#[test]
fn a_root_leads_to_everything() {
    for started in BOTH {
        let party = Party::new();
        let database = started.load("database.sql.gz");
        started.guarded(&party, "snap");
        let file = format!("snap/{}", started.family().snapshot_file_name());
        let port = server().port().to_string();
        let config: &[&str] = match started.place.starts_with("v0.9") {
            true => &["--app.pg-db-user", "postgres", "--app.pg-db-port", &port, "--app.pg-db-name", &database],
            false => &["--db.user", "postgres", "--db.port", &port, "--db.dbname", &database],
        };
        let init = ["setup", "init", "-r", "root", "-g", "snap/genesis.json", "-s", &file];
        party.run(&[&init, config].concat()).done();
        let run = party.run(&["setup", "confirm", "--root-dir", "root"]).done();
        assert!(run.stdout.contains("every row of the snapshot"), "{run:?}");
        server().query(&database, started.change).unwrap();
        run_failed(&party.run(&["setup", "confirm", "--from-root", "root"]), &[started.table]);
        // The node no longer needs it, and may have lost it; then there is nothing to compare with.
        fs::remove_file(party.path("root/genesis-state.sql.gz")).unwrap();
        party.run(&["setup", "confirm", "-r", "root"]).failed(2, &["nothing to compare", "--manifest"]);
    }
}

#[test]
fn nothing_to_compare_with_is_a_wrong_use() {
    let flags = flags("postgres");
    let party = Party::new();
    party.run(&with(&["setup", "confirm"], &flags)).failed(2, &["nothing to compare"]);
    party.write("snapshot.sql.gz", fs::read(data(V010.snapshot)).unwrap());
    party.run(&with(&["setup", "confirm", "snapshot.sql.gz"], &flags)).failed(2, &["--genesis"]);
    party.write("other/genesis.json", fs::read(V09.genesis()).unwrap());
    let args = ["setup", "confirm", "snapshot.sql.gz", "--genesis", "other/genesis.json"];
    party.run(&with(&args, &flags)).failed(3, &["state hash"]);
    let database = V09.load("database.sql.gz");
    let flags = super::flags(&database);
    let genesis = V010.genesis();
    let args = ["setup", "confirm", "snapshot.sql.gz", "--genesis", genesis.to_str().unwrap()];
    party.run(&with(&args, &flags)).failed(3, &["of family v0.9"]);
}
