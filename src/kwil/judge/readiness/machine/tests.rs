use super::*;
use crate::base::Level;

const V010: Expected = Expected { family: Some(Family::V010), truf: Some(false), started: false };

fn version(major: u32) -> Program {
    Program::Version { text: format!("{major}.2"), major }
}

fn port(key: &str, address: &str, state: PortState) -> Port {
    Port { key: key.into(), address: address.into(), state }
}

fn good() -> Machine {
    Machine {
        psql: version(16),
        pg_dump: version(16),
        pg_dump_path: "pg_dump".into(),
        skip_dependency_verification: false,
        state_sync: false,
        environment: vec![],
        psqlrc: vec![],
        ports: vec![
            port("rpc.listen", "0.0.0.0:8484", PortState::Free),
            port("admin.listen", "/tmp/s", PortState::Free),
        ],
        ports_are_known: true,
        open_files: Some((1024, 1 << 20)),
        space: RequiredSpace {
            text: Some((1 << 30, true)),
            wal_max_bytes: Some(1 << 30),
            data: Some(("/data".into(), 1 << 40)),
            root: Some(("/r".into(), 1 << 40)),
        },
        kwild: None,
    }
}

#[track_caller]
fn one(code: &str, level: Level, words: &[&str], change: impl Fn(&mut Machine)) {
    let mut machine = good();
    change(&mut machine);
    let checks = judge_machine(&machine, V010);
    let found: Vec<_> = checks.iter().filter_map(Check::finding).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].code, found[0].level), (code, level));
    let all = format!("{} / {:?}", found[0].text, found[0].fix);
    for word in words {
        assert!(all.contains(word), "no {word:?} in {all}");
    }
}

fn none(change: impl Fn(&mut Machine)) {
    let mut machine = good();
    change(&mut machine);
    let checks = judge_machine(&machine, V010);
    let found: Vec<_> = checks.iter().filter_map(Check::finding).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_good_machine_has_no_findings() {
    none(|_| {});
}

#[test]
fn programs() {
    one("pg_dump", Level::Error, &["no pg_dump on PATH", "postgresql-client-16"], |m| m.pg_dump = Program::Missing);
    one("pg_dump", Level::Error, &["15.2", "major 16"], |m| m.pg_dump = version(15));
    one("pg_dump", Level::Error, &["17.2"], |m| m.pg_dump = version(17));
    one("pg_dump", Level::Error, &["crashed"], |m| m.pg_dump = Program::Broken("crashed".into()));
    one("pg_dump", Level::Note, &["skip_dependency_verification"], |m| {
        m.pg_dump = version(15);
        m.skip_dependency_verification = true;
    });
    one("psql", Level::Error, &["no psql"], |m| m.psql = Program::Missing);
    one("psql", Level::Error, &["crashed"], |m| m.psql = Program::Broken("crashed".into()));
    one("psql", Level::Note, &["15.2"], |m| m.psql = version(15));
    one("psql", Level::Error, &["state sync"], |m| {
        m.psql = version(15);
        m.state_sync = true;
    });
}

#[test]
fn the_kwild_that_is_named() {
    let named = |answer: Result<(&str, Option<Family>, bool), &str>| {
        let answer = answer.map(|(text, family, truf)| (text.to_owned(), family, truf)).map_err(str::to_owned);
        move |m: &mut Machine| m.kwild = Some(Kwild { path: "/k".into(), answer: answer.clone() })
    };
    none(named(Ok(("0.10.1", Some(Family::V010), false))));
    one("kwild", Level::Error, &["v0.9", "of v0.10"], named(Ok(("0.9.4", Some(Family::V09), false))));
    one("kwild", Level::Warning, &["0.8.1"], named(Ok(("0.8.1", None, false))));
    one("kwild", Level::Error, &["not executable"], named(Err("not executable")));
    let mut machine = good();
    named(Ok(("0.10.1", Some(Family::V010), false)))(&mut machine);
    let checks = judge_machine(&machine, Expected { truf: Some(true), ..V010 });
    assert!(checks[0].finding().is_some_and(|f| f.text.contains("TRUF")), "{checks:?}");
}

#[test]
fn start_files_of_psql() {
    let rc = |text: &str| {
        let text = text.to_owned();
        move |m: &mut Machine| m.psqlrc = vec![PsqlStart { path: "/h/.psqlrc".into(), text: text.clone() }]
    };
    for bad in [
        "\\set ON_ERROR_STOP on",
        "\\set ON_ERROR_STOP",
        "  \\set on_error_stop 1",
        "\\set AUTOCOMMIT off",
        "set search_path = x;",
        "SET client_encoding='LATIN1'",
        "\\c other",
        "BEGIN;",
        "\\q",
        "\\encoding LATIN1",
        "set session role x;",
    ] {
        one("psqlrc", Level::Error, &["mv /h/.psqlrc"], rc(&format!("-- mine\n\\pset null x\n{bad}\n")));
    }
    for doubtful in ["\\i other", "select 1;", "\\set ON_ERROR_ROLLBACK interactive"] {
        one("psqlrc", Level::Warning, &[], rc(doubtful));
    }
    none(rc("-- \\set ON_ERROR_STOP on\n\\set ON_ERROR_STOP off\n\\set PROMPT1 x\n\\timing\n\\x auto\n\n"));
}

#[test]
fn variables_of_psql() {
    let set = |name: &str, value: &str| {
        let variable = EnvironmentVariable { name: name.into(), value: value.into() };
        move |m: &mut Machine| m.environment = vec![variable.clone()]
    };
    one(
        "environment",
        Level::Error,
        &["LATIN1", "unset PGCLIENTENCODING", "wrong text"],
        set("PGCLIENTENCODING", "LATIN1"),
    );
    none(set("PGCLIENTENCODING", "utf-8"));
    one("environment", Level::Error, &["search_path"], set("PGOPTIONS", "-c search_path=x"));
    one("environment", Level::Warning, &[], set("PGOPTIONS", "-c geqo=off"));
    one("environment", Level::Error, &["config.toml"], set("PGHOSTADDR", "10.0.0.1"));
    one("environment", Level::Warning, &[], set("PGSERVICE", "x"));
    none(set("PGUSER", "x"));
}

#[test]
fn disk() {
    one(
        "disk-database",
        Level::Error,
        &["1.0 GiB are free", "2.0 GiB for the tables and 1.5 GiB", "about 3.5 GiB"],
        |m| {
            m.space.data = Some(("/data".into(), 1 << 30));
        },
    );
    one("disk-database", Level::Note, &["SayTextSize"], |m| m.space.text = None);
    one("disk-database", Level::Note, &["cannot be seen", "about 3.5 GiB"], |m| m.space.data = None);
    one("disk-root", Level::Warning, &["5 B"], |m| m.space.root = Some(("/r".into(), 5)));
    none(|m| m.space.root = None);
    assert_eq!(database_bytes(100, None), (200, 150));
    assert_eq!(database_bytes(u64::MAX, Some(u64::MAX)).0, u64::MAX);
}

#[test]
fn ports() {
    one("ports", Level::Error, &["0.0.0.0:8484", "rpc.listen", "sport = :8484"], |m| {
        m.ports[0].state = PortState::Taken
    });
    one("ports", Level::Warning, &["0.0.0.0:8484"], |m| {
        m.ports[0].state = PortState::Taken;
        m.ports_are_known = false;
    });
    one("ports", Level::Error, &["ss -lxp"], |m| m.ports[1].state = PortState::Taken);
    one("ports", Level::Error, &["denied"], |m| m.ports[0].state = PortState::Refused("denied".into()));
    one("ports", Level::Error, &["both want"], |m| m.ports.push(port("p2p.listen", "127.0.0.1:8484", PortState::Free)));
    let mut machine = good();
    machine.ports[0].state = PortState::Taken;
    let checks = judge_machine(&machine, Expected { started: true, ..V010 });
    assert!(checks.iter().filter_map(Check::finding).all(|f| f.level == Level::Note));
}

#[test]
fn open_files() {
    one("open-files", Level::Warning, &["1024", "LimitNOFILE"], |m| m.open_files = Some((256, 1024)));
    none(|m| m.open_files = None);
    none(|m| m.open_files = Some((1024, u64::MAX)));
}
