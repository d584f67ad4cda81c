//! State and schema digests against vectors of an independent implementation, and against recordings of honest nodes that
//! differ in ids, row order and restarts.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use kwil_formats::{
    dump::{
        digest::{DigestError, HashList, TextDigest, TextDigester},
        filter::{DumpFilter, LineRules},
        guard::Arranger,
    },
    formats::{Family, Validator, genesis::Genesis, key::PublicKey},
};
use proptest::prelude::*;
use regenesis::base::{Blake3Hash, Result};
use serde_json::Value;

/// Hashes in memory.
#[derive(Debug, Default)]
struct Memory(Vec<[u8; 32]>);

impl HashList for Memory {
    type Sum = Blake3Hash;

    fn push(&mut self, hash: [u8; 32]) -> Result<()> {
        self.0.push(hash);
        Ok(())
    }

    fn sum(&mut self, _table: Option<&str>, mut hasher: blake3::Hasher) -> Result<Blake3Hash> {
        self.0.sort_unstable();
        hasher.update(self.0.as_flattened());
        self.0.clear();
        Ok(Blake3Hash::from_bytes(*hasher.finalize().as_bytes()))
    }
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn read(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut text = Vec::new();
    if path.extension().is_some_and(|e| e == "gz") {
        MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
    } else {
        file.read_to_end(&mut text).unwrap();
    }
    text
}

fn digest_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<TextDigest, DigestError> {
    let mut digester = TextDigester::new(Memory::default(), Memory::default());
    for piece in pieces {
        digester.push(piece)?;
    }
    digester.finish()
}

fn digest(text: &[u8]) -> TextDigest {
    digest_in_pieces([text]).unwrap()
}

fn validators(genesis: &str) -> Vec<Validator> {
    let genesis = Genesis::parse(&fs::read(data(genesis)).unwrap()).unwrap();
    genesis.validators().unwrap()
}

/// Names of the tables that differ.
fn differing(a: &TextDigest, b: &TextDigest) -> Vec<String> {
    assert_eq!(a.tables.len(), b.tables.len());
    a.tables.iter().zip(&b.tables).filter(|(a, b)| a != b).map(|(a, _)| a.name()).collect()
}

/// Lines of the one COPY block of a table: where they begin and end in the text.
fn block(text: &str, table: &str) -> (usize, usize) {
    let header = text.find(&format!("COPY {table} (")).unwrap_or_else(|| panic!("no {table}"));
    let start = header + text[header..].find('\n').unwrap() + 1;
    (start, start + text[start..].find("\\.\n").unwrap())
}

fn with_rows(text: &str, table: &str, change: impl FnOnce(Vec<&str>) -> Vec<String>) -> String {
    let (start, end) = block(text, table);
    let rows = change(text[start..end].lines().collect());
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    format!("{}{rows}{}", &text[..start], &text[end..])
}

fn reversed(rows: Vec<&str>) -> Vec<String> {
    assert!(rows.len() > 1);
    rows.iter().rev().map(|row| (*row).to_owned()).collect()
}

#[test]
fn an_independent_implementation_gives_the_same_digests() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/digest");
    let vectors: Vec<Value> = serde_json::from_slice(&fs::read(directory.join("vectors.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(vectors.len() > 15);
    for vector in &vectors {
        let file = text(&vector["file"]);
        let found = digest(&read(&directory.join(&file)));
        let validators: Vec<Validator> = vector["validators"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| {
                let key = PublicKey::new(text(&v["type"]).parse().unwrap(), &hex::decode(text(&v["key"])).unwrap());
                Validator::new(key.unwrap(), v["power"].as_i64().unwrap()).unwrap()
            })
            .collect();
        assert_eq!(found.state_digest(&validators).to_string(), text(&vector["state_digest"]), "{file}");
        let Some(tables) = vector["tables"].as_array() else { continue };
        let found: Vec<Value> = found
            .tables
            .iter()
            .map(|t| serde_json::json!({"name": t.name(), "columns": t.columns, "rows": t.rows, "digest": t.digest}))
            .collect();
        assert_eq!(found, *tables, "{file}");
    }
}

#[test]
fn five_nodes_of_one_network_with_different_restarts_are_equal() {
    let of = |node: usize| {
        let place = format!("v0.10/worlds/restarted/node{node}.kwild-snapshot");
        let found = digest(&read(&data(&format!("{place}/snapshot.sql.gz"))));
        let validators = validators(&format!("{place}/genesis.json"));
        (found.state_digest(&validators), found)
    };
    let (state, first) = of(0);
    assert!(first.tables.len() > 30 && first.height == Some(119));
    for node in 1..5 {
        let (other_state, other) = of(node);
        assert_eq!(differing(&first, &other), [""; 0], "node{node}");
        assert_eq!((other_state, other.schema_digest), (state, first.schema_digest), "node{node}");
    }
}

#[test]
fn rows_in_another_order_and_another_height_are_equal() {
    // As node1 of either network really differed from the others.
    for (file, table) in [
        ("v0.9/worlds/quartet/kwil-admin/kwildb-snapshot.sql.gz", "kwild_accts.accounts"),
        ("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz", "kwild_voting.resolution_types"),
    ] {
        let text = String::from_utf8(read(&data(file))).unwrap();
        let found = digest(text.as_bytes());
        let other = with_rows(&text, table, reversed);
        let at = other.find("UPDATE kwild_voting.resolutions SET expiration").unwrap();
        let other = format!("{}UPDATE kwild_voting.resolutions SET expiration = expiration-260;\n", &other[..at]);
        assert_ne!(text, other);
        let again = digest(other.as_bytes());
        assert_eq!(again.height, Some(260));
        assert_eq!(TextDigest { height: found.height, ..again }, found, "{file}");
    }
}

#[test]
fn a_text_has_the_same_digests_with_and_without_the_guard() {
    for (family, file) in [
        (Family::V09, "v0.9/worlds/quartet/kwil-admin/kwildb-snapshot.sql.gz"),
        (Family::V010, "v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"),
        (Family::V010, "truf/worlds/maa_long/kwild-snapshot/snapshot.sql.gz"),
    ] {
        let text = read(&data(file));
        let (mut arranger, mut first, mut last) = (Arranger::default(), Vec::new(), Vec::new());
        arranger.push(&text, &mut first, &mut last).unwrap();
        let (mut filter, mut guarded) = (DumpFilter::of_snapshot(family), Vec::new());
        filter.push(&first, &mut guarded).unwrap();
        filter.push(&last, &mut guarded).unwrap();
        filter.finish_snapshot(&mut guarded).unwrap();
        assert_eq!(digest(&guarded), digest(&text), "{file}");
    }
}

#[test]
fn servers_and_pg_dumps_of_other_versions_agree_about_the_state() {
    for world in ["quartet", "solo"] {
        let of =
            |made: &str| digest(&read(&data(&format!("v0.10/worlds/{world}/kwild-snapshot{made}/snapshot.sql.gz"))));
        let first = of("");
        for made in [".pg15-dump15", ".pg15-dump16"] {
            assert_eq!(of(made).tables, first.tables, "{world} {made}");
        }
        // PostgreSQL 15 spells the views in another way, and they are the same views.
        for made in [".pg15-dump15", ".pg15-dump16"] {
            assert_eq!(of(made).schema, first.schema, "{world} {made}");
            assert_eq!(of(made).schema_digest, first.schema_digest, "{world} {made}");
        }
    }
}

/// pg_dump's own text through our filter, as `snapshot create` has it.
#[test]
fn every_version_of_pg_dump_gives_the_same_schema() {
    for (family, world) in [
        (Family::V09, "v0.9/worlds/solo/kwil-admin"),
        (Family::V010, "v0.10/worlds/solo"),
        (Family::V010, "v0.10/worlds/quartet"),
    ] {
        let mut found = Vec::new();
        for entry in fs::read_dir(data(world)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("pg_dump.raw") {
                let (mut filter, mut text) = (DumpFilter::new(family, LineRules::Faithful), Vec::new());
                filter.push(&read(&path), &mut text).unwrap();
                filter.finish(7, &mut text).unwrap();
                found.push((name, digest(&text)));
            }
        }
        assert!(found.len() > 2, "{world}");
        for (name, other) in &found {
            assert_eq!(other.schema, found[0].1.schema, "{world}: {name} and {}", found[0].0);
            assert_eq!(other.schema_digest, found[0].1.schema_digest, "{world}: {name}");
        }
    }
}

/// A constraint, an index, a function or a default cannot differ without a name being told.
#[test]
fn each_part_of_a_schema_that_differs_is_named() {
    let v09 = String::from_utf8(read(&data("v0.9/worlds/solo/kwil-admin/kwildb-snapshot.sql.gz"))).unwrap();
    let v010 = String::from_utf8(read(&data("v0.10/worlds/solo/kwild-snapshot/snapshot.sql.gz"))).unwrap();
    for (text, from, to, name) in [
        (&v09, "(born >= 1)", "(born >= 2)", "table ds_"),
        (&v09, "DEFAULT '-'::text", "DEFAULT '+'::text", "table ds_"),
        (&v09, "|| '!'::TEXT", "|| '?'::TEXT", "function ds_"),
        (&v09, "WHERE id = _param_id", "WHERE id <> _param_id", "function ds_"),
        (&v010, "ON DELETE CASCADE", "ON DELETE RESTRICT", "constraint "),
        (&v010, "USING btree (type)", "USING hash (type)", "index type_index of kwild_voting.resolutions"),
        (&v010, "REPLICA IDENTITY FULL", "REPLICA IDENTITY NOTHING", "replica identity of "),
        (&v010, "'OWNER',", "'OWNED',", "type kwild_engine.modifiers"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, **text, "{from}");
        let (before, after) = (digest(text.as_bytes()), digest(changed.as_bytes()));
        assert_ne!(before.schema_digest, after.schema_digest, "{from}");
        assert_eq!(before.tables, after.tables, "{from}");
        let (before, after) = (before.schema.unwrap(), after.schema.unwrap());
        let differ: Vec<&str> =
            after.iter().filter(|part| !before.contains(part)).map(|part| part.name.as_str()).collect();
        assert!(matches!(&*differ, [one] if one.starts_with(name)), "{from}: {differ:?}");
    }
    // Another spelling of the same statement is the same part.
    let respelt = v010.replace("REPLICA IDENTITY FULL", "REPLICA  IDENTITY\n    full");
    assert_eq!(digest(respelt.as_bytes()).schema_digest, digest(v010.as_bytes()).schema_digest);
}

#[test]
fn one_changed_byte_changes_the_digest_and_names_the_table() {
    let text = String::from_utf8(read(&data("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz"))).unwrap();
    let found = digest(text.as_bytes());
    let mut changed = 0;
    for table in &found.tables {
        let name = table.name();
        if table.rows == 0 {
            continue;
        }
        let (start, end) = block(&text, &name);
        let rows = &text[start..end];
        // A letter of a field that is no id: the last one of the first row.
        let at = start + rows.find('\n').unwrap() - 1;
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b't' { b'f' } else { b't' };
        let Ok(other) = digest_in_pieces([&bytes[..]]) else {
            assert!(["kwild_engine.user_roles"].contains(&name.as_str()), "{name}: the last field is an id");
            continue;
        };
        assert_eq!(differing(&found, &other), [name]);
        assert_ne!(other.state_digest(&[]), found.state_digest(&[]));
        changed += 1;
    }
    assert!(changed > 10, "{changed}");

    // A missing and a doubled row, too.
    for change in [
        |mut rows: Vec<String>| {
            rows.pop();
            rows
        },
        |mut rows: Vec<String>| {
            rows.push(rows[0].clone());
            rows
        },
    ] {
        let table = "kwild_voting.resolution_types";
        let other = with_rows(&text, table, |rows| change(rows.iter().map(|r| (*r).to_owned()).collect()));
        assert_eq!(differing(&found, &digest(other.as_bytes())), [table]);
    }
}

#[test]
fn validators_count_and_their_order_does_not() {
    let found = digest(&read(&data("v0.10/worlds/quartet/kwild-snapshot/snapshot.sql.gz")));
    let mut validators = validators("v0.10/worlds/quartet/kwild-snapshot/genesis.json");
    let state = found.state_digest(&validators);
    validators.reverse();
    assert_eq!(found.state_digest(&validators), state);
    validators[0].power += 1;
    assert_ne!(found.state_digest(&validators), state);
    validators.pop();
    assert_ne!(found.state_digest(&validators), state);
}

#[test]
fn grants_owners_sequences_and_trufs_own_sequence_are_no_schema() {
    let text = String::from_utf8(read(&data("v0.10/worlds/solo/kwild-snapshot/snapshot.sql.gz"))).unwrap();
    let found = digest(text.as_bytes());
    let (before, after) = text.split_at(text.find("UPDATE kwild_voting.resolutions SET expiration").unwrap());
    let with = |statement: &str| digest(format!("{before}{statement}\n{after}").as_bytes());
    for statement in [
        "GRANT SELECT ON TABLE main.x TO reader;",
        "REVOKE ALL ON SCHEMA main FROM reader;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA main GRANT SELECT ON TABLES TO b;",
        "ALTER TABLE main.x OWNER TO kwild;",
        "ALTER TABLE main.x CLUSTER ON x_pkey;",
        "CREATE SEQUENCE kwild_internal.sentry_seq\n    START WITH 1\n    CACHE 1;",
        "SELECT pg_catalog.setval('kwild_internal.sentry_seq', 77, true);",
        "SELECT pg_catalog.lo_create('7');",
        "SET row_security = off;",
        "\\restrict abc",
        "-- a comment",
        "",
    ] {
        assert_eq!(with(statement), found, "{statement}");
    }
    for statement in [
        "CREATE SEQUENCE kwild_internal.sentry_seq2;",
        "ALTER TABLE ONLY main.owner ADD CONSTRAINT x UNIQUE (a);",
        "CREATE INDEX i ON main.x USING btree (a);",
    ] {
        let other = with(statement);
        assert_ne!(other.schema_digest, found.schema_digest, "{statement}");
        assert_eq!(other.tables, found.tables);
    }
    // The order in which objects are made says nothing: it follows their oids.
    let swapped = text.replacen("CREATE SCHEMA info;\n", "", 1).replacen(
        "CREATE SCHEMA kwild_accts;\n",
        "CREATE SCHEMA kwild_accts;\nCREATE SCHEMA info;\n",
        1,
    );
    assert_ne!(swapped, text);
    assert_eq!(digest(swapped.as_bytes()).schema_digest, found.schema_digest);
}

#[test]
fn what_the_server_could_read_in_two_ways_has_no_digest() {
    let engine =
        String::from_utf8(read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/digest/engine.sql")));
    let engine = engine.unwrap();
    for (from, to, words) in [
        ("1\t0xabc\t4\n", "1\t0xabc\t04\n", "04 is no id"),
        ("1\t0xabc\t4\n", "1\t0xabc\t+4\n", "+4 is no id"),
        ("1\t0xabc\t4\n", "1\t0xabc\t 4\n", " 4 is no id"),
        ("1\t0xabc\t4\n", "\\N\t0xabc\t4\n", "\\N is no id"),
        ("1\t0xabc\t4\n", "1\t0xabc\n", "has not 3 fields"),
        ("1\t0xabc\t4\n", "1\t0xabc\t4\t5\n", "has not 3 fields"),
        ("4\towner", "1\towner", "the id 1 appears twice"),
        ("roles_id_seq', 12, true", "roles_id_seq', 11, true", "a role 12 that is yet to be made"),
        ("roles_id_seq', 12, true", "roles_id_seq', 12, false", "a role 12 that is yet to be made"),
        ("roles_id_seq', 12, true", "rolez_id_seq', 12, true", "a role 12 that is yet to be made"),
        ("2\t0xdef\t12", "2\t0xdef\t13", "a role 13 that is yet to be made"),
        ("user_roles (id,", "user_roles (no,", "has not exactly one column id"),
        (
            "user_roles (id, user_identifier, role_id)",
            "user_roles (id, role_id, role_id)",
            "has not exactly one column role_id",
        ),
        ("COPY kwild_voting.voters", "COPY kwild_engine.roles", "rows for kwild_engine.roles come twice"),
        ("FROM stdin;\n\\.\n", "FROM PROGRAM 'id';\n\\.\n", "of another form"),
        ("\\.\nSELECT", "\nSELECT", "ends inside a COPY block"),
    ] {
        let changed = engine.replacen(from, to, 1);
        assert_ne!(changed, engine, "{from:?}");
        let e = digest_in_pieces([changed.as_bytes()]).unwrap_err();
        let e = regenesis::base::Error::from(e);
        assert!(e.chain().contains(words), "{words}: {}", e.chain());
    }
}

#[test]
fn a_hostile_text_does_not_take_the_memory() {
    let endless_row =
        [b"COPY kwild_engine.actions (id, namespace, name) FROM stdin;\n1\t".to_vec(), vec![b'x'; 1 << 20]];
    let e = digest_in_pieces(endless_row.iter().map(Vec::as_slice).chain((0..64).map(|_| &endless_row[1][..])))
        .unwrap_err();
    assert!(e.to_string().contains("more than 16 MiB"), "{e}");

    let waiting: String = (0..1 << 15).map(|n| format!("{n}\t{n}\n")).collect();
    let head: &[u8] = b"COPY kwild_engine.user_roles (id, role_id) FROM stdin;\n";
    let e = digest_in_pieces([head].into_iter().chain((0..200).map(|_| waiting.as_bytes()))).unwrap_err();
    assert!(e.to_string().contains("more than 16 MiB"), "{e}");

    let tables: String = (0..200_000).map(|n| format!("COPY s.{}{n} FROM stdin;\n\\.\n", "x".repeat(60))).collect();
    let e = digest_in_pieces([tables.as_bytes()]).unwrap_err();
    assert!(e.to_string().contains("more than 24 MiB"), "{e}");
}

/// Tables with ids in `kwild_engine`, with the columns that hold ids and what they are ids of.
const IDS: [(&str, &[(&str, &str)]); 9] = [
    ("actions", &[("id", "actions")]),
    ("parameters", &[("id", "parameters"), ("action_id", "actions")]),
    ("return_fields", &[("id", "return_fields"), ("action_id", "actions")]),
    ("namespaces", &[("id", "namespaces")]),
    ("initialized_extensions", &[("id", "extensions"), ("namespace_id", "namespaces")]),
    ("extension_initialization_parameters", &[("id", "parameters of extensions"), ("extension_id", "extensions")]),
    ("roles", &[("id", "roles")]),
    ("role_privileges", &[("id", "privileges"), ("role_id", "roles"), ("namespace_id", "namespaces")]),
    ("user_roles", &[("id", "user roles"), ("role_id", "roles")]),
];

/// The same state with other ids and the rows of every engine table in another order.
fn renumbered(text: &str, by: i64) -> String {
    let mut text = text.to_owned();
    for (table, columns) in IDS {
        let name = format!("kwild_engine.{table}");
        let header = text[text.find(&format!("COPY {name} (")).unwrap()..].lines().next().unwrap();
        let list = &header[header.find('(').unwrap() + 1..header.find(')').unwrap()];
        let kinds: Vec<Option<&str>> = list
            .split(", ")
            .map(|column| columns.iter().find(|(name, _)| *name == column).map(|(_, kind)| *kind))
            .collect();
        text = with_rows(&text, &name, |rows| {
            let row = |row: &&str| {
                let fields = row.split('\t').zip(&kinds).map(|(field, kind)| match (field, kind) {
                    (id, Some(kind)) if id != "\\N" => {
                        // Another permutation for each kind of id.
                        (id.parse::<i64>().unwrap() * (3 + kind.len() as i64) + by).to_string()
                    }
                    _ => field.to_owned(),
                });
                fields.collect::<Vec<_>>().join("\t")
            };
            rows.iter().rev().map(row).collect()
        });
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ids_do_not_matter(by in -1000_i64..1000) {
        let text = read(&data("v0.10/worlds/restarted/node2.kwild-snapshot/snapshot.sql.gz"));
        let text = String::from_utf8(text).unwrap();
        let other = renumbered(&text, by);
        prop_assert_ne!(&other, &text);
        prop_assert_eq!(digest(other.as_bytes()), digest(text.as_bytes()));
    }

    #[test]
    fn the_text_may_be_cut_anywhere(sizes in prop::collection::vec(1_usize..3000, 1..40)) {
        for file in ["tests/vectors/digest/engine.sql", "tests/data/truf/worlds/quartet/kwild-snapshot/snapshot.sql.gz"] {
            let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
            let mut pieces = Vec::new();
            let mut rest = &text[..];
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(digest_in_pieces(pieces).unwrap(), digest(&text));
        }
    }
}

#[test]
fn every_single_cut_is_seamless() {
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/digest/engine.sql"));
    let whole = digest(&text);
    for at in 0..text.len() {
        assert_eq!(digest_in_pieces([&text[..at], &text[at..]]).unwrap(), whole, "cut at {at}");
    }
    assert_eq!(digest_in_pieces(text.chunks(1)).unwrap(), whole);
}
