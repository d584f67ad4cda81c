//! The Postgres server and the node's database.

mod facts;
#[cfg(test)]
mod tests;

pub use facts::{Access, Database, OtherDatabase, Role, Schema, Server, Setting};

use super::{
    super::quote::{identifier, literal},
    Check, Expected, Remedy, alter_system, error, note, warning,
};
use crate::{
    base::{
        Advice, Next,
        text::{bytes, count, escape, first_few},
    },
    formats::Family,
    judge::collation::{NewDatabase, compare},
};

/// The major version that kwild demands.
const MAJOR: u32 = 16;
/// TRUF's own bound on `max_prepared_transactions`.
const TRUF_PREPARED_MIN: i64 = 200;

/// What a setting must be.
enum Want {
    Is(&'static str),
    AtLeast(i64),
    ZeroOrAtLeast(i64),
}

/// Every setting that kwild looks at, and a value that is good for it.
const SETTINGS: [(&str, Want, &str); 13] = [
    ("synchronous_commit", Want::Is("on"), "on"),
    ("fsync", Want::Is("on"), "on"),
    ("max_connections", Want::AtLeast(50), "128"),
    ("wal_level", Want::Is("logical"), "logical"),
    ("max_wal_senders", Want::AtLeast(10), "10"),
    ("max_replication_slots", Want::AtLeast(10), "10"),
    ("max_prepared_transactions", Want::AtLeast(2), "2"),
    ("wal_sender_timeout", Want::ZeroOrAtLeast(3_600_000), "0"),
    ("array_nulls", Want::Is("on"), "on"),
    ("standard_conforming_strings", Want::Is("on"), "on"),
    ("transform_null_equals", Want::Is("off"), "off"),
    ("backslash_quote", Want::Is("safe_encoding"), "safe_encoding"),
    ("lo_compat_privileges", Want::Is("off"), "off"),
];

/// What follows; `wanted` is the node's database by its settings, and `place` says where its server is.
pub fn judge_server(access: &Access, expected: Expected, wanted: &NewDatabase<'_>, place: &str) -> Vec<Check> {
    let NewDatabase { user, dbname, like, .. } = *wanted;
    let server = match access {
        Access::Asked(server) => server,
        Access::Refused(why) => {
            return vec![
                error("server", format!("{why}. Nothing about the server could be checked; kwild would end at once"))
                    .at(place.to_owned())
                    .fix(format!(
                        "start the server, or correct host, port, role and password: kwild connects as {user:?} to the \
                         database {dbname:?} at {place} (psql with the same values must come in)"
                    ))
                    .into(),
            ];
        }
    };
    let mut checks = judge_content(server, expected, wanted);
    checks.extend(judge_standby(server, place));
    checks.push(judge_version(server, place));
    checks.extend(judge_settings(server, expected, dbname, user));
    checks.push(judge_role(server, user));
    checks.extend(database(server, wanted));
    if let (Some(old), Database::There { collation: Some(new), .. }) = (like, &server.database) {
        let found = compare(old, new, dbname);
        if found.is_empty() {
            checks.push(Check::good("collation", format!("text is ordered as in the old network: {}", new.words())));
        }
        // kwild runs on it all the same.
        checks.extend(found.into_iter().map(|finding| Check::from(finding).silent()));
    }
    checks.push(extensions(server));
    checks.extend(prepared(server, expected, dbname));
    checks
}

/// A server that follows another one takes no writes.
fn judge_standby(server: &Server, place: &str) -> Option<Check> {
    let text = format!(
        "the server at {place} is a standby (it follows another server and is read-only): kwild would end when it begins to \
         write"
    );
    let fix = "give the host and port of the primary server, or of one of the node's own";
    server.standby.then(|| error("standby", text).at(place.to_owned()).fix(fix).into())
}

/// The server's version.
fn judge_version(server: &Server, place: &str) -> Check {
    let (major, minor) = (server.version / 10_000, server.version % 10_000);
    let shown = escape(&server.version_text);
    if major == MAJOR && minor >= 1 {
        return Check::good("server-version", format!("PostgreSQL {shown} at {place}"));
    }
    error(
        "server-version",
        format!(
            "the server at {place} is PostgreSQL {shown}, and kwild demands {MAJOR}.1 or a later {MAJOR}.x: it would \
             load the whole snapshot and then end"
        ),
    )
    .fix(format!(
        "install PostgreSQL {MAJOR} and give its port in config.toml (the port of a second server is often 5433)"
    ))
    .into()
}

/// The settings: one line when all are good.
fn judge_settings(server: &Server, expected: Expected, dbname: &str, user: &str) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, want, good) in SETTINGS {
        let Some(setting) = server.settings.get(name) else {
            checks.push(note("server-setting", format!("{name} cannot be seen by this role")).at(name).into());
            continue;
        };
        let number = setting.value.parse::<i64>().ok();
        let prepared = name == "max_prepared_transactions";
        let truf_least = |want: &Want| match want {
            Want::AtLeast(_) if prepared && expected.truf == Some(true) => Want::AtLeast(TRUF_PREPARED_MIN),
            Want::AtLeast(least) => Want::AtLeast(*least),
            Want::ZeroOrAtLeast(least) => Want::ZeroOrAtLeast(*least),
            Want::Is(text) => Want::Is(text),
        };
        let want = truf_least(&want);
        let fits = match want {
            Want::Is(text) => setting.value == text,
            Want::AtLeast(least) => number.is_some_and(|n| n >= least),
            Want::ZeroOrAtLeast(least) => number.is_some_and(|n| n == 0 || n >= least),
        };
        let maybe_truf = expected.truf.is_none() && expected.family != Some(Family::V09);
        let good = if prepared && (expected.truf == Some(true) || maybe_truf) { "200" } else { good };
        if fits {
            if prepared && maybe_truf && number.is_some_and(|n| n < TRUF_PREPARED_MIN) {
                let text = format!(
                    "{name} is {}: enough for Kwil's own kwild, but TRUF's demands {TRUF_PREPARED_MIN}",
                    escape(&setting.value)
                );
                checks.push(
                    warning("server-setting", text)
                        .at(name)
                        .fix(
                            Advice::from(format!(
                                "for TRUF's kwild: {} and restart the server",
                                alter_system(name, good)
                            ))
                            .and(Next::SayKwild),
                        )
                        .into(),
                );
            }
            continue;
        }
        checks.push(unfit_setting(setting, name, &want, good, dbname, user));
    }
    checks.extend(INHERITED.iter().filter_map(|inherited| inherited.check(server, dbname, user)));
    if checks.is_empty() {
        checks.push(Check::good("server-setting", format!("all {} settings that kwild looks at", SETTINGS.len())));
    }
    checks
}

/// The error about a setting that kwild refuses, and what puts it right where it was set.
fn unfit_setting(setting: &Setting, name: &str, want: &Want, good: &str, dbname: &str, user: &str) -> Check {
    let wanted = match want {
        Want::Is(text) => (*text).to_owned(),
        Want::AtLeast(least) => format!("at least {least}"),
        Want::ZeroOrAtLeast(least) => format!("0 or at least {least} ms"),
    };
    let (seen, source) = (escape(&setting.value), escape(&setting.source));
    if setting.pending {
        let text = format!(
            "{name} is {seen}, and kwild demands {wanted}; the server's files were changed since, but it was not \
             restarted: kwild would load the snapshot and then end"
        );
        return error("server-setting", text).at(name).fix("restart the server, then check again").into();
    }
    let text = format!(
        "{name} is {seen} (from: {source}), and kwild demands {wanted}: it would load the snapshot and then end"
    );
    // What is set for a database or role counts more than the server's files.
    let nearer = reset_statement(setting, name, dbname, user);
    let after = if setting.restart { "restart the server" } else { "SELECT pg_reload_conf();" };
    let found = match &nearer {
        Some(sql) => error("server-setting", text).at(name).fix(sql.clone()),
        None if setting.source == "command line" => error("server-setting", text)
            .at(name)
            .fix(format!("the server was started with -c {name}=…: start it with {name}={good}")),
        None => error("server-setting", text).at(name).fix(format!("{} then: {after}", alter_system(name, good))),
    };
    let remedy = match nearer {
        Some(sql) => Remedy::Sql(sql),
        // ALTER SYSTEM counts less.
        None if setting.source == "command line" => Remedy::Shell(format!("# start the server with -c {name}={good}")),
        None => Remedy::Setting { name: name.to_owned(), value: good.to_owned(), restart: setting.restart },
    };
    Check::from(found).remedy(remedy)
}

/// The statement that takes a setting of a database or role away again.
fn reset_statement(setting: &Setting, name: &str, dbname: &str, user: &str) -> Option<String> {
    match setting.source.as_str() {
        "database" => Some(format!("ALTER DATABASE {} RESET {name};", identifier(dbname))),
        "user" => Some(format!("ALTER ROLE {} RESET {name};", identifier(user))),
        "database user" => {
            Some(format!("ALTER ROLE {} IN DATABASE {} RESET {name};", identifier(user), identifier(dbname)))
        }
        _ => None,
    }
}

/// A setting that kwild does not look at. The guard puts it right for the restore, but nobody does for kwild itself.
struct Inherited {
    name: &'static str,
    good: &'static str,
    /// What comes of another value.
    harm: &'static str,
}

const INHERITED: [Inherited; 2] = [
    Inherited {
        name: "session_replication_role",
        good: "origin",
        harm: "keys are not enforced and nothing is deleted with what it belongs to, so this node's state would part from the \
               others', without a word",
    },
    Inherited {
        name: "default_transaction_read_only",
        good: "off",
        harm: "it cannot write, and ends after the snapshot was restored",
    },
];

impl Inherited {
    fn check(&self, server: &Server, dbname: &str, user: &str) -> Option<Check> {
        let setting = server.settings.get(self.name).filter(|setting| setting.value != self.good)?;
        let text = format!(
            "{} is {} (from: {}), and kwild's own connections have it, too: {}",
            self.name,
            escape(&setting.value),
            escape(&setting.source),
            self.harm
        );
        let sql = reset_statement(setting, self.name, dbname, user)
            .unwrap_or_else(|| format!("{} SELECT pg_reload_conf();", alter_system(self.name, self.good)));
        Some(
            Check::from(error("server-setting", text).at(self.name).fix(sql.clone())).remedy(Remedy::Sql(sql)).silent(),
        )
    }
}

/// The role's rights.
fn judge_role(server: &Server, user: &str) -> Check {
    let missing = match (server.role.superuser, server.role.replication) {
        (true, true) => return Check::good("role", format!("{} is superuser and may replicate", escape(user))),
        (true, false) => "REPLICATION",
        (false, true) => "SUPERUSER",
        (false, false) => "SUPERUSER REPLICATION",
    };
    let sql = format!("ALTER ROLE {} {missing};", identifier(user));
    let text = format!(
        "the role {} lacks {missing}, which kwild demands (both SUPERUSER and REPLICATION): it would load the snapshot \
         and then end",
        escape(user)
    );
    Check::from(error("role", text).fix(sql.clone())).remedy(Remedy::Sql(sql))
}

/// What is in the database already.
fn judge_content(server: &Server, expected: Expected, wanted: &NewDatabase<'_>) -> Vec<Check> {
    let create = wanted.statement();
    let shown = escape(wanted.dbname);
    let Database::There { size_bytes, schemas, slots, sessions, .. } = &server.database else {
        let text = format!("there is no database {shown} yet, and kwild does not make it: it would end at once");
        return vec![Check::from(error("database", text).fix(wanted.createdb())).remedy(Remedy::Sql(create))];
    };
    let mut checks: Vec<Check> = judge_use(slots, *sessions, expected, &shown).into_iter().collect();
    let names = |list: &[&Schema]| first_few(list.iter().map(|schema| &schema.name), 5);
    let state = schemas.iter().find(|schema| schema.name == "kwild_voting");
    let (own, foreign): (Vec<&Schema>, Vec<&Schema>) =
        schemas.iter().partition(|schema| schema.name.starts_with("kwild_") || schema.name.starts_with("ds_"));
    let size = bytes(*size_bytes);
    match state {
        Some(_) if expected.started => checks.push(
            note(
                "database-state",
                format!(
                    "the database {shown} ({size}) and the root both hold a node's state: kwild goes on where it \
                     stopped and loads no snapshot"
                ),
            )
            .into(),
        ),
        Some(schema) => {
            let held =
                if schema.relations == 0 { "an empty schema is enough for that" } else { "it holds a node's state" };
            let text = format!(
                "the database {shown} ({size}) already has a schema kwild_voting ({held}): kwild would ignore the \
                 snapshot and start on what is there, without a word"
            );
            checks.push(replace_database("database-state", text, wanted));
        }
        None if foreign.is_empty() && is_left_by_a_failed_start(&own) => checks.push(
            note(
                "database-content",
                format!(
                    "the database {shown} ({size}) holds nothing but the sentry that a kwild left whose restore failed: a \
                     snapshot with the guard loads beside it, and the next start begins anew"
                ),
            )
            .into(),
        ),
        None if !own.is_empty() => {
            let text = format!(
                "the database {shown} ({size}) holds parts of a node ({}) and no kwild_voting, which a snapshot makes last: \
                 a restore ended half-way, and every later one would fail at the first of these that it meets",
                names(&own)
            );
            checks.push(replace_database("database-content", text, wanted));
        }
        None if !foreign.is_empty() => checks.push(
            warning(
                "database-content",
                format!(
                    "the database {shown} ({size}) is not empty (schema {}): where the snapshot has a schema of the \
                     same name, its rows would be lost, unseen",
                    names(&foreign)
                ),
            )
            .fix(format!("use a database of the node's own: {create}"))
            .into(),
        ),
        None => checks.push(Check::good("database-content", format!("the database {shown} is empty"))),
    }
    checks
}

/// The error about a database on which no snapshot can be restored, and the two ways out of it.
fn replace_database(code: &'static str, text: String, wanted: &NewDatabase<'_>) -> Check {
    let (drop, create) = (format!("DROP DATABASE {};", identifier(wanted.dbname)), wanted.statement());
    let fix = format!("use a new database, or empty this one if nobody needs it: {drop} {create}");
    Check::from(error(code, text).fix(fix)).remedy(Remedy::Sql(create_other(wanted))).silent()
}

/// Who else works on the database; `shown` is its name.
fn judge_use(slots: &[String], sessions: u64, expected: Expected, shown: &str) -> Option<Check> {
    if let Some(slot) = slots.first() {
        let text = format!("a kwild is working on the database {shown} now (replication slot {})", escape(slot));
        let fix = "give this node a database of its own, or stop that kwild if it is this node's";
        return Some(if expected.started {
            note("database-in-use", text).into()
        } else {
            error("database-in-use", text).fix(fix).into()
        });
    }
    (sessions > 0).then(|| {
        let text = format!("{} on the database {shown} beside this one", count(sessions, "connection"));
        warning("database-in-use", text).fix("end them: nothing may write there while kwild loads").into()
    })
}

/// What a kwild makes for itself after a restore of which psql kept nothing: its sentry, a table or also a sequence.
fn is_left_by_a_failed_start(own: &[&Schema]) -> bool {
    const RELATIONS_MAX: u64 = 3;
    matches!(own, [schema] if schema.name == "kwild_internal" && schema.relations <= RELATIONS_MAX)
}

/// Nothing that `--fix` prints destroys anything: a new database beside the old one.
fn create_other(wanted: &NewDatabase<'_>) -> String {
    let other = format!("{}_new", wanted.dbname);
    let other = NewDatabase { dbname: &other, ..*wanted };
    format!("{} -- then set the database's name in config.toml", other.statement())
}

/// How the database, or the one to be made, is encoded.
fn database(server: &Server, wanted: &NewDatabase<'_>) -> Vec<Check> {
    match &server.database {
        Database::Missing { template_encoding } if template_encoding != "UTF8" => vec![
            note(
                "database-encoding",
                format!(
                    "new databases of this server are {} by default; kwild demands UTF8",
                    escape(template_encoding)
                ),
            )
            .fix(wanted.createdb())
            .into(),
        ],
        Database::Missing { .. } => Vec::new(),
        Database::There { encoding, .. } if encoding == "UTF8" => {
            vec![Check::good("database-encoding", "text is UTF8")]
        }
        Database::There { encoding, .. } => {
            let sql = create_other(wanted);
            let text = format!(
                "the database {} is encoded in {}, and kwild demands UTF8: text would be changed or refused while the \
                 snapshot is loaded, and then kwild would end",
                escape(wanted.dbname),
                escape(encoding)
            );
            vec![Check::from(error("database-encoding", text).fix(sql.clone())).remedy(Remedy::Sql(sql))]
        }
    }
}

/// What kwild creates in its database.
fn extensions(server: &Server) -> Check {
    let mut missing: Vec<&str> = ["uuid-ossp", "pgcrypto"]
        .into_iter()
        .filter(|wanted| !server.extensions.iter().any(|there| there == wanted))
        .collect();
    if !server.icu {
        missing.push("ICU collations");
    }
    if missing.is_empty() {
        return Check::good("extensions", "uuid-ossp, pgcrypto and ICU collations can be had");
    }
    let fix = if server.icu {
        "install the server's contrib package (Debian: postgresql-contrib, part of postgresql-16)"
    } else {
        "use a PostgreSQL 16 that was built with ICU, as Debian's and the kwildb/postgres images are"
    };
    error(
        "extensions",
        format!("the server has no {}, which kwild creates at start: it would end", missing.join(", no ")),
    )
    .fix(fix)
    .into()
}

/// Transactions that somebody left open, and other nodes on the same server.
fn prepared(server: &Server, expected: Expected, dbname: &str) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some((database, gid)) = server.prepared.first().filter(|_| !expected.started) {
        let own = database == dbname;
        let running = server.others.iter().any(|other| other.name == *database && other.slots > 0);
        let sql = format!("ROLLBACK PREPARED {}; -- in the database {}", literal(gid), identifier(database));
        let text = format!(
            "{} on this server, in {} ({}): a replication slot waits for it, so kwild would wait for ever before its \
             first block",
            count(server.prepared.len() as u64, "prepared transaction"),
            escape(database),
            escape(gid)
        );
        // A node that runs prepares one for every block and ends it at once.
        checks.push(if running {
            note("prepared-transactions", format!("a block of the node in {} is being made", escape(database))).into()
        } else {
            let finding =
                if own { error("prepared-transactions", text) } else { warning("prepared-transactions", text) };
            finding
                .fix(format!(
                    "start the kwild that left it once more and stop it cleanly; or, if that node is gone: {sql}"
                ))
                .into()
        });
    }
    let nodes: Vec<&OtherDatabase> =
        server.others.iter().filter(|other| other.slots > 0 || other.restores > 0 || other.same_owner).collect();
    let waits: Vec<&OtherDatabase> =
        nodes.iter().copied().filter(|other| other.restores > 0 || other.transactions > 0).collect();
    let names =
        |list: &[&OtherDatabase]| list.iter().take(5).map(|other| escape(&other.name)).collect::<Vec<_>>().join(", ");
    let advice = "start one node, wait for \"ABCI application is ready\" in its log, stop it, do the next, then start all \
                  together; or give each node a server of its own";
    if expected.family != Some(Family::V010) && !nodes.is_empty() {
        let text = format!(
            "other nodes seem to use this server (database {}){}: with v0.9, nodes of a new network that load their \
             snapshots at once on one server can wait for each other for ever",
            names(&nodes),
            if waits.is_empty() { String::new() } else { format!(", and {} is at work right now", names(&waits)) }
        );
        let finding = if waits.is_empty() && expected.family.is_none() {
            note("other-nodes", text)
        } else {
            warning("other-nodes", text)
        };
        checks.push(finding.fix(advice).into());
    } else if !nodes.is_empty() {
        checks.push(
            note(
                "other-nodes",
                format!(
                    "other nodes seem to use this server (database {}); {} in use",
                    names(&nodes),
                    count(server.connections, "connection")
                ),
            )
            .into(),
        );
    }
    checks
}
