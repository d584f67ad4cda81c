//! The machine: programs, environment, ports, disk, limits.

#[cfg(test)]
mod tests;

use super::{super::quote::shell_word, Check, Expected, Finding, Remedy, error, note, warning};
use crate::{
    base::{
        Next,
        text::{bytes, escape},
    },
    formats::{Family, config::Overruled},
};

/// The major version of `pg_dump` that kwild demands.
const MAJOR: u32 = 16;
/// Open files below which a node with peers, blocks and database runs short.
const OPEN_FILES_MIN: u64 = 4096;
/// Blocks, logs and some air.
const ROOT_FREE_BYTES_MIN: u64 = 1 << 30;

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// It is not on PATH.
    Missing,
    /// It does not say its version, for this reason.
    Broken(String),
    /// It says its version.
    Version {
        /// The version in the program's own words.
        text: String,
        /// The first number of the version.
        major: u32,
    },
}

/// A variable that psql reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value; never that of a password.
    pub value: String,
}

/// A file that psql runs first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsqlStart {
    /// Where it is.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Whether a node could listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortState {
    /// Nobody listens on the port.
    Free,
    /// Another program does.
    Taken,
    /// It could not, for this reason.
    Refused(String),
}

/// A place where the node will listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The key in config.toml, or the place's use.
    pub key: String,
    /// `host:port`, or the path of a unix socket.
    pub address: String,
    /// What was found.
    pub state: PortState,
}

/// The kwild that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kwild {
    /// Its path.
    pub path: String,
    /// Its version, family and whether it is TRUF's; or why it does not say.
    pub answer: Result<(String, Option<Family>, bool), String>,
}

/// How much the snapshot will take, and what is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredSpace {
    /// Bytes of the snapshot's text, and whether that is an estimate.
    pub text: Option<(u64, bool)>,
    /// `max_wal_size` in bytes.
    pub wal_max_bytes: Option<u64>,
    /// The server's data directory and what is free there; None: it is on another machine or cannot be seen.
    pub data: Option<(String, u64)>,
    /// The root and what is free there.
    pub root: Option<(String, u64)>,
}

/// What a look at the machine saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What loads the snapshot.
    pub psql: Program,
    /// What kwild asks for its version.
    pub pg_dump: Program,
    /// Its name or path.
    pub pg_dump_path: String,
    /// config.toml says not to ask.
    pub skip_dependency_verification: bool,
    /// The node looks for a snapshot at peers first, with psql 16.
    pub state_sync: bool,
    /// Variables of psql that are set.
    pub environment: Vec<EnvironmentVariable>,
    /// psql's start files.
    pub psqlrc: Vec<PsqlStart>,
    /// Where the node will listen.
    pub ports: Vec<Port>,
    /// The places are those of a config.toml.
    pub ports_are_known: bool,
    /// Open files: what this shell allows, and what it can be raised to.
    pub open_files: Option<(u64, u64)>,
    /// Disk.
    pub space: RequiredSpace,
    /// The kwild that was named.
    pub kwild: Option<Kwild>,
}

/// What follows.
pub fn judge_machine(machine: &Machine, expected: Expected) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(machine.kwild.as_ref().map(|kwild| judge_kwild(kwild, expected)));
    checks.push(judge_pg_dump(machine));
    checks.push(judge_psql(machine));
    checks.extend(judge_psqlrc(&machine.psqlrc));
    checks.extend(judge_environment(&machine.environment));
    checks.extend(judge_space(&machine.space));
    checks.extend(judge_ports(machine, expected));
    checks.extend(judge_open_files(machine.open_files));
    checks
}

fn judge_kwild(kwild: &Kwild, expected: Expected) -> Check {
    let path = escape(&kwild.path);
    let (version, family, truf) = match &kwild.answer {
        Ok(answer) => answer,
        Err(why) => {
            let text = format!("{path} does not say its version: {}", escape(why));
            return error("kwild", text).at(kwild.path.clone()).fix("give the path of a kwild that runs here").into();
        }
    };
    let fork = if *truf { ", TRUF's fork" } else { "" };
    match (family, expected.family) {
        (None, _) => warning("kwild", format!("{path} is version {}, of neither v0.9 nor v0.10", escape(version)))
            .at(kwild.path.clone())
            .fix("only these two families are known here: check genesis and settings by its own documentation")
            .into(),
        (Some(is), Some(wanted)) if *is != wanted => {
            let text = format!(
                "{path} is version {} ({is}{fork}), but the node is of {wanted}: it would end",
                escape(version)
            );
            error("kwild", text).at(kwild.path.clone()).fix(format!("use a kwild of {wanted}")).into()
        }
        (Some(is), _) if expected.truf == Some(true) && !truf && *is == Family::V010 => {
            let text = format!(
                "{path} is version {} of Kwil, but genesis or config.toml are of TRUF's fork: it would end on them",
                escape(version)
            );
            error("kwild", text).at(kwild.path.clone()).fix("use TRUF's kwild").into()
        }
        (Some(is), _) => Check::good("kwild", format!("{path} is version {} ({is}{fork})", escape(version))),
    }
}

fn judge_pg_dump(machine: &Machine) -> Check {
    let path = escape(&machine.pg_dump_path);
    let what = "kwild runs it at start and would end before it does anything";
    let install = format!(
        "install PostgreSQL {MAJOR}'s client programs (Debian: postgresql-client-{MAJOR}) and put them first on kwild's PATH"
    );
    let soften = |finding: Finding| -> Check {
        // config.toml says that it is not asked for.
        if machine.skip_dependency_verification {
            note(finding.code, format!("{} (skip_dependency_verification is set: kwild does not look)", finding.text))
                .into()
        } else {
            finding.into()
        }
    };
    match &machine.pg_dump {
        Program::Missing => soften(error("pg_dump", format!("there is no {path} on PATH; {what}")).fix(install)),
        Program::Broken(why) => {
            soften(error("pg_dump", format!("{path} does not say its version ({}); {what}", escape(why))).fix(install))
        }
        Program::Version { text, major } if *major != MAJOR => soften(
            error(
                "pg_dump",
                format!(
                    "{path} is {}, and kwild demands major {MAJOR}: it would end before it does anything",
                    escape(text)
                ),
            )
            .fix(install),
        ),
        Program::Version { text, .. } => Check::good("pg_dump", format!("{path} is {}", escape(text))),
    }
}

fn judge_psql(machine: &Machine) -> Check {
    let install = format!(
        "install PostgreSQL {MAJOR}'s client programs (Debian: postgresql-client-{MAJOR}) and put them first on kwild's PATH"
    );
    match &machine.psql {
        Program::Missing => error("psql", "there is no psql on PATH; kwild loads the snapshot with it and would end")
            .fix(install)
            .into(),
        Program::Broken(why) => {
            error("psql", format!("psql does not say its version ({}); kwild loads the snapshot with it", escape(why)))
                .fix(install)
                .into()
        }
        Program::Version { text, major } if *major != MAJOR && machine.state_sync => error(
            "psql",
            format!("psql is {}, and with state sync kwild demands major {MAJOR}: it would end", escape(text)),
        )
        .fix(install)
        .into(),
        Program::Version { text, major } if *major != MAJOR => note(
            "psql",
            format!("psql is {}; kwild takes any for the snapshot, {MAJOR} is what it is made for", escape(text)),
        )
        .fix(install)
        .into(),
        Program::Version { text, .. } => Check::good("psql", format!("psql is {}", escape(text))),
    }
}

/// What a line of a psqlrc does to a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    None,
    Perhaps,
    Certain,
}

fn harm_of_psqlrc_line(line: &str) -> Harm {
    let line = line.trim().to_ascii_lowercase();
    if line.is_empty() || line.starts_with("--") {
        return Harm::None;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let off = |value: Option<&&str>| matches!(value, Some(&"off" | &"0" | &"false" | &"no" | &"f" | &"n"));
    match words[0] {
        "\\set" => match words.get(1).copied().unwrap_or("") {
            "on_error_stop" if !off(words.get(2)) => Harm::Certain,
            "autocommit" if off(words.get(2)) => Harm::Certain,
            "on_error_rollback" | "singleline" | "singlestep" | "echo_hidden" => Harm::Perhaps,
            _ => Harm::None,
        },
        "\\pset" | "\\timing" | "\\x" | "\\unset" | "\\echo" | "\\a" | "\\t" | "\\h" | "\\?" | "\\setenv" => Harm::None,
        "\\q" | "\\quit" | "\\c" | "\\connect" | "\\encoding" | "\\o" | "begin" | "begin;" | "start" => Harm::Certain,
        "set" | "set_config" => {
            let target =
                words.iter().skip(1).find(|word| !matches!(**word, "session" | "local")).copied().unwrap_or("");
            match target.split(['=', ';']).next().unwrap_or("") {
                "application_name" | "statement_timeout" if words.last().is_some_and(|w| w.starts_with('0')) => {
                    Harm::None
                }
                "application_name" => Harm::None,
                _ => Harm::Certain,
            }
        }
        _ => Harm::Perhaps,
    }
}

fn judge_psqlrc(files: &[PsqlStart]) -> Vec<Check> {
    if files.is_empty() {
        return vec![Check::good("psqlrc", "no psqlrc of this user or this machine")];
    }
    files
        .iter()
        .map(|file| {
            let path = escape(&file.path);
            let worst = file.text.lines().map(|line| (harm_of_psqlrc_line(line), line)).max_by_key(|(harm, _)| *harm);
            let fix = format!(
                "move it away while kwild loads the snapshot: mv {0} {0}.away (or start kwild with PSQLRC=/dev/null)",
                shell_word(&file.path)
            );
            match worst {
                Some((Harm::Certain, line)) => {
                    let text = format!(
                        "psql runs {path} first, kwild's too, and it says {:?}: the restore would fail, or go wrong unseen",
                        escape(line.trim())
                    );
                    let shell = Remedy::Shell("export PSQLRC=/dev/null   # in kwild's environment".to_owned());
                    Check::from(error("psqlrc", text).at(file.path.clone()).fix(fix)).remedy(shell)
                }
                Some((Harm::Perhaps, line)) => {
                    let text = format!(
                        "psql runs {path} first, kwild's too, and it says {:?}: check that this cannot change a restore",
                        escape(line.trim())
                    );
                    warning("psqlrc", text).at(file.path.clone()).fix(fix).into()
                }
                _ => Check::good("psqlrc", format!("{path} changes nothing in a restore")),
            }
        })
        .collect()
}

/// Variables of kwild's own, which win over its config.toml.
pub fn judge_overruled(variables: &[Overruled]) -> Vec<Check> {
    let one = |Overruled { variable, key, problem }: &Overruled| {
        let fix = format!("unset {variable}");
        let finding = match problem {
            None => warning(
                "environment",
                format!("{variable} is set: kwild takes {key} from it, not from config.toml, and so does this check"),
            ),
            Some(why) => error(
                "environment",
                format!("{variable} is set, and kwild takes {key} from it, not from config.toml: {}", escape(why)),
            ),
        };
        let fix_text = format!("{fix} in kwild's environment, unless it is meant");
        Check::from(finding.at(variable.clone()).fix(fix_text)).remedy(Remedy::Shell(fix))
    };
    variables.iter().map(one).collect()
}

fn judge_environment(variables: &[EnvironmentVariable]) -> Vec<Check> {
    let mut checks = Vec::new();
    for EnvironmentVariable { name, value } in variables {
        let shown = escape(value);
        let lower = value.to_ascii_lowercase();
        let fix = format!("unset {name}");
        let found = match name.as_str() {
            "PGCLIENTENCODING" if matches!(lower.replace(['-', '_'], "").as_str(), "utf8" | "unicode") => continue,
            "PGCLIENTENCODING" => {
                Check::from(error(
                    "environment",
                    format!("{name} is {shown}: psql would store wrong text, the hash would still match, and the node would run on it"),
                ))
                .silent()
            }
            "PGOPTIONS" => {
                let names = ["search_path", "client_encoding", "read_only", "replication_role", "timeout", "role", "conforming", "row_security"];
                let text = format!("{name} is {shown}: psql takes it while it loads the snapshot, and rows may be lost unseen");
                if names.iter().any(|word| lower.contains(word)) {
                    Check::from(error("environment", text)).silent()
                } else {
                    warning("environment", text).into()
                }
            }
            "PGHOSTADDR" => error("environment", format!("{name} is {shown}: psql goes there, whatever host config.toml names")).into(),
            "PGSERVICE" | "PGSERVICEFILE" | "PGTARGETSESSIONATTRS" | "PGREQUIREAUTH" | "PGREQUIREPEER" | "PGSSLMODE" => {
                warning("environment", format!("{name} is {shown}: kwild's psql takes it and may reach another server, or none")).into()
            }
            _ => continue,
        };
        let Check::Found { finding, silent, .. } = found else { continue };
        let finding = finding.at(name.clone()).fix(format!("{fix} in kwild's environment"));
        checks.push(Check::Found { finding, remedies: vec![Remedy::Shell(fix)], silent });
    }
    if checks.is_empty() {
        checks.push(Check::good(
            "environment",
            "no PG… variable that changes a restore (of this shell; kwild's service may have others)",
        ));
    }
    checks
}

/// What the database and its log take for a snapshot's text: rows with their headers and indexes, and the log that is
/// kept until a checkpoint.
fn database_bytes(text_bytes: u64, wal_max_bytes: Option<u64>) -> (u64, u64) {
    let wal = text_bytes.saturating_add(text_bytes / 2);
    (text_bytes.saturating_mul(2), wal_max_bytes.map_or(wal, |max| wal.min(max.saturating_mul(2))))
}

fn judge_space(space: &RequiredSpace) -> Vec<Check> {
    let mut checks = Vec::new();
    match (&space.text, &space.data) {
        (Some((text, estimate)), Some((place, free))) => {
            let (tables, wal) = database_bytes(*text, space.wal_max_bytes);
            let needed = tables.saturating_add(wal);
            let sum = format!(
                "{} for the tables and {} for its log, for {}{} of SQL",
                bytes(tables),
                bytes(wal),
                if *estimate { "about " } else { "" },
                bytes(*text)
            );
            checks.push(if *free < needed {
                let text = format!(
                    "{} are free in {}, and the database will need about {} ({sum}): the server would stop in the middle, and kwild with it",
                    bytes(*free),
                    escape(place),
                    bytes(needed)
                );
                error("disk-database", text).at(place.clone()).fix("free space there, or move the server's data to a larger disk").into()
            } else {
                Check::good("disk-database", format!("{} are free in {}, about {} are needed ({sum})", bytes(*free), escape(place), bytes(needed)))
            });
        }
        (None, Some((place, free))) => checks.push(
            note(
                "disk-database",
                format!("{} are free in {}; how much is needed is not known", bytes(*free), escape(place)),
            )
            .fix(Next::SayTextSize)
            .into(),
        ),
        (text, None) => {
            let needed = text.map(|(text, _)| {
                let (tables, wal) = database_bytes(text, space.wal_max_bytes);
                format!("; the database will need about {}", bytes(tables.saturating_add(wal)))
            });
            let why = "the server's disk cannot be seen from here";
            checks.push(
                note("disk-database", format!("{why}{}", needed.unwrap_or_default()))
                    .fix("look with df on the server's machine")
                    .into(),
            );
        }
    }
    if let Some((place, free)) = &space.root {
        checks.push(if *free < ROOT_FREE_BYTES_MIN {
            let text = format!(
                "only {} are free in {}, where kwild keeps its blocks and its log",
                bytes(*free),
                escape(place)
            );
            warning("disk-root", text).at(place.clone()).fix("free space there, or put the root on another disk").into()
        } else {
            Check::good("disk-root", format!("{} are free in {}", bytes(*free), escape(place)))
        });
    }
    checks
}

/// The part behind the last colon.
fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

fn judge_ports(machine: &Machine, expected: Expected) -> Vec<Check> {
    let mut checks = Vec::new();
    for (index, port) in machine.ports.iter().enumerate() {
        let address = escape(&port.address);
        let same = |other: &Port| match (port_of(&port.address), port_of(&other.address)) {
            (Some(a), Some(b)) => a == b && a != 0,
            _ => port.address == other.address,
        };
        if let Some(other) = machine.ports[..index].iter().find(|other| same(other)) {
            let text =
                format!("{} and {} both want {address}: kwild could not listen on one of them", other.key, port.key);
            checks.push(
                error("ports", text)
                    .at(port.key.clone())
                    .fix(format!("give {} another port in config.toml", port.key))
                    .into(),
            );
            continue;
        }
        let look = match port_of(&port.address) {
            Some(number) => format!("see who it is: ss -ltnp 'sport = :{number}'"),
            None => format!("see who it is: ss -lxp | grep {}", shell_word(&port.address)),
        };
        let fix = format!("{look}; stop it, or change {} in config.toml", port.key);
        match &port.state {
            PortState::Free => {}
            PortState::Taken if expected.started => checks.push(
                note("ports", format!("{address} ({}) is taken, perhaps by this very node", port.key))
                    .at(port.key.clone())
                    .fix(fix)
                    .into(),
            ),
            PortState::Taken => {
                let text = format!(
                    "another program listens on {address} ({}): kwild would end after it has loaded the snapshot",
                    port.key
                );
                let finding = if machine.ports_are_known { error("ports", text) } else { warning("ports", text) };
                checks.push(finding.at(port.key.clone()).fix(fix).into());
            }
            PortState::Refused(why) => {
                let text = format!("this user cannot listen on {address} ({}): {}", port.key, escape(why));
                checks.push(
                    error("ports", text)
                        .at(port.key.clone())
                        .fix(format!("correct {} in config.toml", port.key))
                        .into(),
                );
            }
        }
    }
    if checks.is_empty() {
        let list: Vec<String> = machine.ports.iter().map(|port| escape(&port.address)).collect();
        checks.push(Check::good("ports", format!("free: {}", list.join(", "))));
    }
    checks
}

fn judge_open_files(limits: Option<(u64, u64)>) -> Option<Check> {
    let (soft, hard) = limits?;
    let shown = |n: u64| if n == u64::MAX { "unlimited".to_owned() } else { n.to_string() };
    // Go raises the soft limit to the hard one when it starts.
    Some(if hard < OPEN_FILES_MIN {
        let text = format!(
            "this user may open {} files; kwild with its peers, blocks and database may run out of them",
            shown(hard)
        );
        warning("open-files", text)
            .fix(format!("raise it: LimitNOFILE=65536 in kwild's service, or ulimit -Hn {OPEN_FILES_MIN} as root"))
            .into()
    } else {
        Check::good("open-files", format!("{} open files, up to {}", shown(soft), shown(hard)))
    })
}
