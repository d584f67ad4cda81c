//! Every recorded world: what we write, and what it restores to.

use std::fs;

use super::support::{Place, data, database, fresh_name, major, read, server, unzip};

/// Database, and its Kwil snapshots by the server's major version (0: any).
pub(crate) struct World {
    pub(crate) database: &'static str,
    recordings: &'static [(u32, &'static str)],
}

pub(crate) const WORLDS: [World; 9] = [
    World {
        database: "v0.9/worlds/solo/database.sql.gz",
        recordings: &[(0, "v0.9/worlds/solo/kwil-admin/kwildb-snapshot.sql.gz")],
    },
    World {
        database: "v0.9/worlds/quartet/database.sql.gz",
        recordings: &[(0, "v0.9/worlds/quartet/kwil-admin/kwildb-snapshot.sql.gz")],
    },
    World {
        database: "v0.10/worlds/solo/database.sql.gz",
        recordings: &[
            (15, "v0.10/worlds/solo/kwild-snapshot.pg15-dump15/snapshot.sql.gz"),
            (16, "v0.10/worlds/solo/kwild-snapshot/snapshot.sql.gz"),
            (17, "v0.10/worlds/solo/kwild-snapshot/snapshot.sql.gz"),
        ],
    },
    World {
        database: "v0.10/worlds/quartet/database.sql.gz",
        recordings: &[
            (15, "v0.10/worlds/quartet/kwild-snapshot.pg15-dump15/snapshot.sql.gz"),
            (16, "v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"),
            (17, "v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"),
        ],
    },
    World {
        database: "v0.10/worlds/restarted/node0.database.sql.gz",
        recordings: &[(16, "v0.10/worlds/restarted/node0.kwild-snapshot/snapshot.sql.gz")],
    },
    World { database: "v0.10/worlds/restarted/killed/node1.database.sql.gz", recordings: &[] },
    World {
        database: "truf/worlds/solo/database.sql.gz",
        recordings: &[(16, "truf/worlds/solo/kwild-snapshot/snapshot.sql.gz")],
    },
    World {
        database: "truf/worlds/quartet/database.sql.gz",
        recordings: &[(16, "truf/worlds/quartet/kwild-snapshot/snapshot.sql.gz")],
    },
    World {
        database: "truf/worlds/maa_long/database.sql.gz",
        recordings: &[(16, "truf/worlds/maa_long/kwild-snapshot/snapshot.sql.gz")],
    },
];

/// The text without the random tokens of newer pg_dumps.
fn without_restrict_lines(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        if !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ") {
            kept.push_str(line);
        }
    }
    kept
}

#[test]
fn the_compat_text_is_kwils_own() {
    let major = major();
    let mut compared = 0;
    for world in &WORLDS {
        let Some((_, recording)) = world.recordings.iter().find(|(m, _)| *m == major || *m == 0) else { continue };
        let db = database(world.database);
        let place = Place::new();
        let created = place.create_json(&db, &["--kwil-compat", "--template", "--chain-id", "another"]);
        let ours = unzip(&fs::read(created["snapshot"].as_str().unwrap()).unwrap());
        let ours = String::from_utf8(ours).unwrap();
        let kwils = without_restrict_lines(&unzip(&read(recording)));
        let different = ours.lines().zip(kwils.lines()).find(|(a, b)| a != b);
        assert_eq!(different, None, "{recording}");
        assert!(ours == kwils, "{recording}: other length");
        assert_eq!(created["bytes"], ours.len());
        compared += 1;
    }
    assert!(compared >= 2, "no recording for PostgreSQL {major}");
}

/// Facts about everything of the given schemas, as lines; rows as hashes of the sorted rows.
const FACTS: &str = r#"
SET search_path = '';
CREATE TEMPORARY TABLE carried AS SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'
  AND nspname NOT IN ('information_schema', 'public', 'kwild_chain', 'kwild_events', 'kwild_peers', 'kwild_migrations');
SELECT 'schema', nspname FROM pg_temp.carried ORDER BY 2;
SELECT 'relation', n.nspname, c.relname, c.relkind, c.relreplident FROM pg_catalog.pg_class c
  JOIN pg_temp.carried n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'S', 'p')
  AND c.relname NOT IN ('sentry', 'sentry_seq') ORDER BY 2, 3;
SELECT 'column', n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
  pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_temp.carried n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'sentry'
  ORDER BY 2, 3, (SELECT count(*) FROM pg_catalog.pg_attribute b WHERE b.attrelid = a.attrelid AND b.attnum <= a.attnum
  AND NOT b.attisdropped);
SELECT 'constraint', n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_temp.carried n ON n.oid = c.relnamespace ORDER BY 2, 3, 4;
SELECT 'index', i.schemaname, i.tablename, i.indexname, i.indexdef FROM pg_catalog.pg_indexes i
  JOIN pg_temp.carried n ON n.nspname = i.schemaname ORDER BY 2, 3, 4;
SELECT 'function', n.nspname, pg_catalog.pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc p
  JOIN pg_temp.carried n ON n.oid = p.pronamespace ORDER BY 2, 3;
SELECT 'view', v.schemaname, v.viewname, v.definition FROM pg_catalog.pg_views v
  JOIN pg_temp.carried n ON n.nspname = v.schemaname ORDER BY 2, 3;
SELECT 'enum', n.nspname, t.typname, e.enumlabel FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
  JOIN pg_temp.carried n ON n.oid = t.typnamespace ORDER BY 2, 3, e.enumsortorder;
SELECT 'sequence', s.schemaname, s.sequencename, s.last_value FROM pg_catalog.pg_sequences s
  JOIN pg_temp.carried n ON n.nspname = s.schemaname WHERE s.sequencename <> 'sentry_seq' ORDER BY 2, 3;
SELECT pg_catalog.format('SELECT ''rows'', %L, count(*), md5(coalesce(string_agg(r, E''\n'' ORDER BY r COLLATE "C"), '''')) '
  'FROM (SELECT %s AS r FROM %I.%I t) x', n.nspname || '.' || c.relname,
  CASE WHEN n.nspname = 'kwild_voting' AND c.relname = 'resolutions' THEN '(to_jsonb(t) - ''expiration'')::text'
  ELSE 't::text' END, n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_temp.carried n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND c.relname <> 'sentry' AND (n.nspname, c.relname) <> ('kwild_voting', 'voters')
  ORDER BY n.nspname, c.relname
\gexec
"#;

fn facts(db: &str) -> Vec<String> {
    server().query(db, FACTS).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_the_file_restores_to_is_what_was_there() {
    for world in &WORLDS {
        let source = database(world.database);
        let place = Place::new();
        let created = place.create_json(&source, &["--chain-id", "another"]);
        assert_eq!(created["refusal"], serde_json::Value::Null);
        let file = created["snapshot"].as_str().unwrap();
        let genesis = created["genesis"].as_str().unwrap();

        let verified = place.verify(&[file, "--genesis", genesis, "--output", "json"]).result();
        for key in ["state_hash", "height", "bytes", "tables", "rows", "family"] {
            assert_eq!(verified[key], created[key], "{key} of {}", world.database);
        }
        assert_eq!(verified["ok"], true);

        let target = fresh_name();
        server().create_database(&target).unwrap();
        if created["family"] == "v0.9" {
            let domain = "CREATE DOMAIN public.uint256 AS numeric(78,0) CHECK (VALUE >= 0) CHECK (VALUE <= \
                115792089237316195423570985008687907853269984665640564039457584007913129639935) CHECK (scale(VALUE) = 0)";
            server().query(&target, domain).unwrap();
        }
        let complaints = server().restore(&target, &fs::read(file).unwrap()).unwrap();
        let has_votes = server().query(&source, "SELECT count(*) > 0 FROM kwild_voting.votes").unwrap().trim() == "t";
        // The key that no restore can make is left out of it.
        assert!(!complaints.contains("ERROR") && !complaints.contains("error:"), "{}: {complaints}", world.database);

        let mut before = facts(&source);
        // TRUF allows a namespace of 64 characters, whose schema Postgres cuts to 63: Kwil's tool and ours leave it out.
        before.retain(|line| !line.contains(&"w".repeat(63)));
        let after = facts(&target);
        if has_votes {
            before.retain(|line| !line.contains("|votes_voter_id_fkey|"));
        }
        assert!(before.len() > 100, "{}: too few facts", world.database);
        let missing: Vec<&String> = before.iter().filter(|l| !after.contains(l)).collect();
        let extra: Vec<&String> = after.iter().filter(|l| !before.contains(l)).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{}: lost {missing:#?}, came {extra:#?}", world.database);

        // Voters are the genesis' now, and resolutions expire as much earlier as blocks were made.
        let expirations = "SELECT id, expiration - :height FROM kwild_voting.resolutions ORDER BY id";
        let shifted = expirations.replace(":height", &created["height"].to_string());
        let same = expirations.replace(":height", "0");
        assert_eq!(server().query(&source, &shifted).unwrap(), server().query(&target, &same).unwrap());
        assert_eq!(server().query(&target, "SELECT count(*) FROM kwild_voting.voters").unwrap().trim(), "0");
        let voters = server().query(&source, "SELECT count(*) FROM kwild_voting.voters").unwrap();
        assert_eq!(created["validators"].to_string(), voters.trim());
    }
}

#[test]
fn the_old_genesis_gives_the_next_chain_id_and_parameters_come_along() {
    let db = database("v0.9/worlds/quartet/database.sql.gz");
    let old = data("v0.9/worlds/quartet/genesis.original.json");
    let old_json: serde_json::Value = serde_json::from_slice(&fs::read(&old).unwrap()).unwrap();
    let place = Place::new();
    let created = place.create_json(&db, &["--genesis", old.to_str().unwrap()]);
    let genesis: serde_json::Value =
        serde_json::from_slice(&fs::read(created["genesis"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(created["old_chain_id"], old_json["chain_id"]);
    assert_ne!(genesis["chain_id"], old_json["chain_id"]);
    assert_eq!(genesis["chain_id"], created["chain_id"]);
    assert_eq!(genesis["consensus_params"]["without_gas_costs"], false, "gas was on and stays on");
    assert_eq!(genesis["validators"].as_array().unwrap().len(), 4);

    let old_id = old_json["chain_id"].as_str().unwrap();
    let place = Place::new();
    place.create(&db, &["--genesis", old.to_str().unwrap(), "--chain-id", old_id]).failed(4, &["the old one"]);
    place.is_untouched();
}

#[test]
fn a_kept_height_goes_on_and_takes_nothing_off_the_expiry() {
    let db = database("v0.9/worlds/solo/database.sql.gz");
    let place = Place::new();
    let created = place.create_json(&db, &["--keep-height", "--genesis-time", "2030-01-02T03:04:05Z"]);
    let genesis: serde_json::Value =
        serde_json::from_slice(&fs::read(created["genesis"].as_str().unwrap()).unwrap()).unwrap();
    let height = created["height"].as_i64().unwrap();
    assert_eq!(genesis["initial_height"].to_string().trim_matches('"'), (height + 1).to_string());
    assert!(genesis["genesis_time"].as_str().unwrap().starts_with("2030-01-02T03:04:05"), "{genesis}");
    let text = unzip(&fs::read(created["snapshot"].as_str().unwrap()).unwrap());
    assert!(text.ends_with(b"SET expiration = expiration-0;\nCOMMIT;\n"));
    let verified = place.verify(&[created["snapshot"].as_str().unwrap(), "--output", "json"]).result();
    assert_eq!(verified["height"], height);
}

#[test]
fn json_results_have_the_keys_that_scripts_read() {
    let db = database("v0.10/worlds/quartet/database.sql.gz");
    let place = Place::new();
    let created = place.create_json(&db, &["--max-row-size", "4", "--no-digest"]);
    for key in [
        "logs",
        "snapshot",
        "genesis",
        "family",
        "state_hash",
        "height",
        "bytes",
        "file_bytes",
        "state_digest",
        "tables",
        "rows",
        "rescued_rows",
        "guarded",
        "validators",
        "seconds",
    ] {
        assert!(created.get(key).is_some(), "no {key} in {created}");
    }
    let file = created["snapshot"].as_str().unwrap();
    assert_eq!(created["file_bytes"], fs::metadata(file).unwrap().len());
    assert_eq!(created["logs"].as_array().unwrap().len(), 2);
    let verified = place.verify(&[file, "--deep", "--output", "json"]).result();
    for key in [
        "ok",
        "family",
        "state_hash",
        "expected",
        "height",
        "bytes",
        "tables",
        "rows",
        "guarded",
        "findings",
        "table_rows",
    ] {
        assert!(verified.get(key).is_some(), "no {key} in {verified}");
    }
    assert_eq!(verified["table_rows"]["kwild_voting.voters"], 0);
}

#[test]
fn text_output_is_in_kwils_words_and_the_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let db = database("v0.10/worlds/solo/database.sql.gz");
    let place = Place::new();
    let run = place.create(&db, &["--compress", "small", "--jobs", "1"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("Snapshot created successfully at height: ") && lines[0].ends_with(' '), "{lines:?}");
    assert!(lines[1].starts_with("Snapshot created at: ") && lines[1].contains("Total bytes written: "), "{lines:?}");
    assert!(lines[2].starts_with("Genesis config created at: ") && lines[2].contains("Genesis hash: "), "{lines:?}");
    assert!(run.stderr.contains("warning: the old chain id is not known"), "{}", run.stderr);
    assert_eq!(place.files(), ["genesis.json", "snapshot.sql.gz"]);
    for name in place.files() {
        let mode = fs::metadata(place.snapdir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let verify = place.verify(&[place.snapdir.join("snapshot.sql.gz").to_str().unwrap()]);
    assert_eq!(verify.code, Some(0), "{verify:?}");
}

#[test]
fn what_every_join_would_refuse_is_said_when_it_is_made() {
    let db = database("v0.10/worlds/solo/database.sql.gz");
    server().query(&db, "CREATE FUNCTION main.surprise() RETURNS int LANGUAGE sql AS 'SELECT 1'").unwrap();
    let place = Place::new();
    let run = place.create(&db, &["--output", "json"]);
    let created = run.result();
    assert!(run.stderr.contains("every join, will refuse this snapshot"), "{}", run.stderr);
    assert!(created["refusal"].as_str().unwrap().contains("line "), "{created}");
    place.verify(&[created["snapshot"].as_str().unwrap()]).failed(3, &["line ", "surprise"]);
}

#[test]
fn odd_names_and_rows_pass_whole() {
    let db = database("v0.10/worlds/solo/database.sql.gz");
    // A namespace whose name would match others as a pattern, and rows that Kwil's own tool loses or reads as commands.
    server()
        .query(
            &db,
            "INSERT INTO kwild_engine.namespaces (name, type) VALUES ('Odd*\"x', 'USER'), ('gone', 'USER');
             CREATE SCHEMA \"Odd*\"\"x\";
             CREATE SCHEMA oddity; CREATE TABLE oddity.not_ours (a int);
             CREATE TABLE \"Odd*\"\"x\".notes (line text);
             INSERT INTO \"Odd*\"\"x\".notes VALUES (''), ('   '), ('-- a comment'), ('\\restrict x'),
               ('COPY kwild_voting.voters (id, name, power) FROM stdin;'), (E'a\\nb'), ('SET x = 1;');",
        )
        .unwrap();
    let place = Place::new();
    let run = place.create(&db, &["--output", "json"]);
    let created = run.result();
    assert!(run.stderr.contains("\"gone\""), "a namespace without a schema is said: {}", run.stderr);
    assert_eq!(created["rescued_rows"], 3);
    assert_eq!(created["validators"], 1);
    let text = String::from_utf8(unzip(&fs::read(created["snapshot"].as_str().unwrap()).unwrap())).unwrap();
    assert!(!text.contains("oddity"), "only what the catalogue lists");
    let target = fresh_name();
    server().load(&target, text.as_bytes()).unwrap();
    let rows = "SELECT string_agg(line, '|' ORDER BY line COLLATE \"C\") FROM \"Odd*\"\"x\".notes";
    assert_eq!(server().query(&target, rows).unwrap(), server().query(&db, rows).unwrap());
}
