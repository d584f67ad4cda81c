use super::*;
use crate::base::Level;
use crate::judge::collation::{Collation, NewDatabase};

fn good() -> Server {
    let setting =
        |value: &str| Setting { value: value.into(), source: "configuration file".into(), ..Setting::default() };
    Server {
        version: 160_009,
        version_text: "16.9".into(),
        settings: SETTINGS.iter().map(|(name, _, good)| ((*name).to_owned(), setting(good))).collect(),
        standby: false,
        role: Role { superuser: true, replication: true },
        database: Database::There {
            encoding: "UTF8".into(),
            size_bytes: 8 << 20,
            schemas: vec![],
            slots: vec![],
            sessions: 0,
            collation: None,
        },
        extensions: vec!["pgcrypto".into(), "uuid-ossp".into()],
        icu: true,
        prepared: vec![],
        others: vec![],
        data_directory: None,
        connections: 1,
    }
}

const V09: Expected = Expected { family: Some(Family::V09), truf: Some(false), started: false };

fn wanted<'a>(dbname: &'a str, like: Option<&'a Collation>) -> NewDatabase<'a> {
    NewDatabase { host: "127.0.0.1", port: 5432, user: "kwild", dbname, like }
}

fn judge(server: Server, expected: Expected) -> Vec<Check> {
    let old = icu("en-US");
    judge_server(&Access::Asked(Box::new(server)), expected, &wanted("kwild", Some(&old)), "127.0.0.1:5432")
}

/// The findings of a server that differs in one thing.
fn found(expected: Expected, change: impl Fn(&mut Server)) -> Vec<(Level, &'static str, String, String)> {
    let mut server = good();
    change(&mut server);
    judge(server, expected)
        .iter()
        .filter_map(Check::finding)
        .map(|f| {
            (
                f.level,
                f.code,
                f.text.clone(),
                f.fix.as_ref().map(|fix| fix.words(|step| format!("{step:?}").into())).unwrap_or_default(),
            )
        })
        .collect()
}

/// The one finding.
#[track_caller]
fn one(expected: Expected, code: &str, level: Level, words: &[&str], change: impl Fn(&mut Server)) {
    let found = found(expected, change);
    assert_eq!(found.len(), 1, "{found:?}");
    let (seen, seen_code, text, fix) = &found[0];
    assert_eq!((*seen, *seen_code), (level, code), "{text}");
    for word in words {
        assert!(text.contains(word) || fix.contains(word), "no {word:?} in {text} / {fix}");
    }
}

fn there(change: impl Fn(&mut Vec<Schema>, &mut Vec<String>, &mut u64, &mut String)) -> impl Fn(&mut Server) {
    move |server| {
        if let Database::There { schemas, slots, sessions, encoding, .. } = &mut server.database {
            change(schemas, slots, sessions, encoding);
        }
    }
}

fn schema(name: &str, relations: u64) -> Schema {
    Schema { name: name.into(), relations }
}

#[test]
fn a_good_server_has_no_findings() {
    assert_eq!(found(V09, |_| {}), []);
    assert!(judge(good(), V09).len() >= 5);
}

fn icu(locale: &str) -> Collation {
    Collation {
        provider: "icu".into(),
        icu_locale: locale.into(),
        collate: "C".into(),
        ctype: "C".into(),
        ..Collation::default()
    }
}

fn ordered_by(collation: Collation) -> impl Fn(&mut Server) {
    move |server| {
        if let Database::There { collation: there, .. } = &mut server.database {
            *there = Some(Box::new(collation.clone()));
        }
    }
}

#[test]
fn a_standby_takes_no_writes() {
    one(V09, "standby", Level::Error, &["is a standby", "read-only", "primary"], |s| s.standby = true);
}

#[test]
fn another_order_of_text_is_an_error_and_comes_first() {
    one(V09, "collation", Level::Error, &["ICU de", "ICU en-US", "DatabaseLikeOld"], ordered_by(icu("de")));
    assert_eq!(found(V09, ordered_by(icu("en-US"))), []);
    let mut server = good();
    ordered_by(icu("de"))(&mut server);
    let mut checks = judge(server, V09);
    super::super::sort(&mut checks);
    assert_eq!(checks[0].code(), "collation");
}

#[test]
fn the_command_that_makes_the_database() {
    assert_eq!(
        wanted("kwild_new", Some(&icu("en-US"))).createdb(),
        "createdb --host 127.0.0.1 --port 5432 --username kwild --owner kwild --template template0 --encoding UTF8 \
         --locale-provider icu --icu-locale en-US --lc-collate C --lc-ctype C -- kwild_new"
    );
    let odd = NewDatabase { host: "/tmp/my pg", port: 1, user: "o'neil", dbname: "-x", like: None }.createdb();
    assert!(
        odd.contains("'/tmp/my pg'") && odd.contains(r"'o'\''neil'") && odd.ends_with("--encoding UTF8 -- -x"),
        "{odd}"
    );
}

#[test]
fn versions() {
    for bad in [150_018, 160_000, 170_001, 96_000] {
        one(V09, "server-version", Level::Error, &["16.1", "load the whole snapshot"], |s| s.version = bad);
    }
    assert_eq!(found(V09, |s| s.version = 160_001), []);
}

#[test]
fn each_setting_has_its_bound() {
    for (name, bad, fine) in [
        ("synchronous_commit", "off", "on"),
        ("fsync", "off", "on"),
        ("max_connections", "49", "50"),
        ("wal_level", "replica", "logical"),
        ("max_wal_senders", "9", "10"),
        ("max_replication_slots", "9", "10"),
        ("max_prepared_transactions", "1", "2"),
        ("wal_sender_timeout", "60000", "3600000"),
        ("array_nulls", "off", "on"),
        ("standard_conforming_strings", "off", "on"),
        ("transform_null_equals", "on", "off"),
        ("backslash_quote", "on", "safe_encoding"),
        ("lo_compat_privileges", "on", "off"),
    ] {
        let set = |value: &str| {
            let value = value.to_owned();
            move |server: &mut Server| server.settings.get_mut(name).unwrap().value.clone_from(&value)
        };
        one(V09, "server-setting", Level::Error, &[name, bad, "ALTER SYSTEM SET"], set(bad));
        assert_eq!(found(V09, set(fine)), [], "{name}");
    }
    one(V09, "server-setting", Level::Note, &["fsync"], |s| drop(s.settings.remove("fsync")));
}

#[test]
fn a_setting_is_put_right_where_it_was_made_wrong() {
    let from = |source: &str, pending: bool| {
        let source = source.to_owned();
        move |server: &mut Server| {
            let setting = server.settings.get_mut("wal_sender_timeout").unwrap();
            *setting = Setting { value: "60000".into(), source: source.clone(), restart: false, pending };
        }
    };
    for (source, words) in [
        ("database", "ALTER DATABASE \"kwild\" RESET wal_sender_timeout;"),
        ("user", "ALTER ROLE \"kwild\" RESET wal_sender_timeout;"),
        ("database user", "IN DATABASE \"kwild\" RESET"),
        ("command line", "-c wal_sender_timeout"),
        ("default", "pg_reload_conf"),
    ] {
        one(V09, "server-setting", Level::Error, &[words], from(source, false));
    }
    one(V09, "server-setting", Level::Error, &["restart the server"], from("default", true));
}

#[test]
fn a_replication_role_that_kwild_would_inherit() {
    for (source, words) in [
        ("database", "ALTER DATABASE \"kwild\" RESET session_replication_role;"),
        ("user", "ALTER ROLE \"kwild\" RESET session_replication_role;"),
        ("configuration file", "ALTER SYSTEM SET session_replication_role"),
    ] {
        one(V09, "server-setting", Level::Error, &["replica", "part from the others", words], |s| {
            let setting = Setting { value: "replica".into(), source: source.into(), ..Setting::default() };
            s.settings.insert("session_replication_role".into(), setting);
        });
    }
    one(V09, "server-setting", Level::Error, &["cannot write", "RESET default_transaction_read_only;"], |s| {
        let setting = Setting { value: "on".into(), source: "database".into(), ..Setting::default() };
        s.settings.insert("default_transaction_read_only".into(), setting);
    });
    let fine = Setting { value: "origin".into(), ..Setting::default() };
    assert_eq!(found(V09, |s| drop(s.settings.insert("session_replication_role".into(), fine.clone()))), []);
}

#[test]
fn truf_wants_more_prepared_transactions() {
    let set = |s: &mut Server| s.settings.get_mut("max_prepared_transactions").unwrap().value = "199".into();
    let truf = |truf| Expected { family: Some(Family::V010), truf, started: false };
    one(truf(Some(true)), "server-setting", Level::Error, &["at least 200", "'200'"], set);
    one(truf(None), "server-setting", Level::Warning, &["TRUF"], set);
    assert_eq!(found(truf(Some(false)), set), []);
    assert_eq!(found(V09, set), []);
}

#[test]
fn rights_of_the_role() {
    for (superuser, replication, sql) in [
        (false, true, "ALTER ROLE \"kwild\" SUPERUSER;"),
        (true, false, "ALTER ROLE \"kwild\" REPLICATION;"),
        (false, false, "ALTER ROLE \"kwild\" SUPERUSER REPLICATION;"),
    ] {
        one(V09, "role", Level::Error, &[sql], |s| s.role = Role { superuser, replication });
    }
}

#[test]
fn what_is_in_the_database() {
    one(V09, "database", Level::Error, &["createdb --host 127.0.0.1 ", "--icu-locale en-US"], |s| {
        s.database = Database::Missing { template_encoding: "UTF8".into() };
    });
    let latin = found(V09, |s| s.database = Database::Missing { template_encoding: "LATIN1".into() });
    assert_eq!(
        latin.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(),
        [(Level::Error, "database"), (Level::Note, "database-encoding")]
    );
    one(
        V09,
        "database-state",
        Level::Error,
        &["without a word", "empty schema"],
        there(|s, _, _, _| s.push(schema("kwild_voting", 0))),
    );
    // A kwild whose restore failed, and one whose restore failed after its first batch.
    one(
        V09,
        "database-content",
        Level::Note,
        &["sentry", "begins anew"],
        there(|s, _, _, _| s.push(schema("kwild_internal", 1))),
    );
    one(
        V09,
        "database-content",
        Level::Error,
        &["half-way", "ds_x1", "kwild_internal", "DROP DATABASE \"kwild\"; CREATE DATABASE \"kwild\" OWNER \"kwild\""],
        there(|s, _, _, _| s.extend([schema("ds_x1", 3), schema("kwild_internal", 1)])),
    );
    one(V09, "database-content", Level::Error, &["ds_x1"], there(|s, _, _, _| s.push(schema("ds_x1", 3))));
    one(
        V09,
        "database-content",
        Level::Error,
        &["kwild_engine"],
        there(|s, _, _, _| s.push(schema("kwild_engine", 3))),
    );
    one(V09, "database-content", Level::Warning, &["main"], there(|s, _, _, _| s.push(schema("main", 1))));
    one(V09, "database-encoding", Level::Error, &["SQL_ASCII"], there(|_, _, _, e| *e = "SQL_ASCII".into()));
    one(
        V09,
        "database-in-use",
        Level::Error,
        &["kwild_repl1"],
        there(|_, slots, _, _| slots.push("kwild_repl1".into())),
    );
    one(V09, "database-in-use", Level::Warning, &["2 connections"], there(|_, _, n, _| *n = 2));
    let started = Expected { started: true, ..V09 };
    one(started, "database-state", Level::Note, &["goes on"], there(|s, _, _, _| s.push(schema("kwild_voting", 9))));
}

#[test]
fn what_kwild_is_silent_about_is_marked() {
    let mut server = good();
    there(|s, _, _, _| s.push(schema("kwild_voting", 9)))(&mut server);
    server.version = 150_000;
    let mut checks = judge(server, V09);
    super::super::sort(&mut checks);
    assert_eq!(checks[0].code(), "database-state");
}

#[test]
fn fixes_never_drop_a_database() {
    let mut server = good();
    there(|s, _, _, _| s.push(schema("kwild_voting", 9)))(&mut server);
    let fixes = super::super::Fixes::of(&judge(server, V09));
    assert!(fixes.sql.iter().all(|sql| !sql.contains("DROP")), "{fixes:?}");
    assert!(fixes.sql[0].contains("\"kwild_new\""), "{fixes:?}");
}

#[test]
fn what_the_server_lacks() {
    one(V09, "extensions", Level::Error, &["pgcrypto", "contrib"], |s| s.extensions.retain(|e| e != "pgcrypto"));
    one(V09, "extensions", Level::Error, &["ICU"], |s| s.icu = false);
}

#[test]
fn other_nodes_on_the_server() {
    let other = |slots, restores, same_owner, transactions| OtherDatabase {
        name: "node1".into(),
        same_owner,
        slots,
        transactions,
        restores,
    };
    one(V09, "other-nodes", Level::Warning, &["node1", "right now", "ABCI"], |s| s.others.push(other(0, 1, true, 1)));
    one(V09, "other-nodes", Level::Warning, &["node1", "wait for each other"], |s| {
        s.others.push(other(1, 0, false, 0))
    });
    let main = Expected { family: Some(Family::V010), truf: Some(false), started: false };
    one(main, "other-nodes", Level::Note, &["node1"], |s| s.others.push(other(1, 0, false, 0)));
    assert_eq!(found(V09, |s| s.others.push(other(0, 0, false, 3))), []);
}

#[test]
fn prepared_transactions_that_nobody_ends() {
    let left = |database: &str| {
        let database = database.to_owned();
        move |s: &mut Server| s.prepared.push((database.clone(), "a'b".into()))
    };
    one(V09, "prepared-transactions", Level::Error, &["ROLLBACK PREPARED 'a''b'"], left("kwild"));
    one(V09, "prepared-transactions", Level::Warning, &["other"], left("other"));
}

#[test]
fn a_server_that_does_not_answer() {
    let checks = judge_server(&Access::Refused("no answer".into()), V09, &wanted("kwild", None), "h:1");
    let finding = checks[0].finding().unwrap();
    assert_eq!((checks.len(), finding.level, finding.code), (1, Level::Error, "server"));
}
