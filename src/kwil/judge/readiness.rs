//! Is a machine ready for kwild? The facts that a look gives, and what follows from them. kwild itself finds most of
//! this out only after it has loaded the whole snapshot, and some of it never.

mod machine;
mod peers;
mod root;
mod server;

use serde::Serialize;

pub use machine::{
    EnvironmentVariable, Kwild, Machine, Port, PortState, Program, PsqlStart, RequiredSpace, judge_machine,
    judge_overruled,
};
pub use peers::{Peers, Reach, judge_peers};
pub use root::{Root, RootConfig, RootGenesis, RootKey, RootState, judge_root};
pub use server::{Access, Database, OtherDatabase, Role, Schema, Server, Setting, judge_server, server_behind};

use super::quote::literal;
use crate::{
    base::{Advice, Finding, Level},
    formats::Family,
};

/// What is known about the node that is to start, beside the facts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// The family, where anything says it.
    pub family: Option<Family>,
    /// Whether it is TRUF's fork; None: nothing says so.
    pub truf: Option<bool>,
    /// The root holds blocks already: this node was started before.
    pub started: bool,
}

/// What puts a finding right, for a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A server setting, for `ALTER SYSTEM`.
    Setting {
        /// Its name.
        name: String,
        /// The value it needs.
        value: String,
        /// Whether the server must be restarted for it.
        restart: bool,
    },
    /// A statement for a superuser in a database that is not the node's own.
    Sql(String),
    /// A shell command.
    Shell(String),
}

/// One check and what it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// What was looked at is as kwild needs it.
    Good {
        /// A word for scripts.
        code: &'static str,
        /// What was seen.
        text: String,
        /// What the operator may look at all the same.
        next: Option<Advice>,
    },
    /// Something to say.
    Found {
        /// What.
        finding: Finding,
        /// What puts it right.
        remedies: Vec<Remedy>,
        /// kwild starts all the same, wrong, and says nothing.
        silent: bool,
    },
}

impl Check {
    /// What is as kwild needs it.
    pub fn good(code: &'static str, text: impl Into<String>) -> Self {
        Check::Good { code, text: text.into(), next: None }
    }

    fn remedy(mut self, remedy: Remedy) -> Self {
        if let Check::Found { remedies, .. } = &mut self {
            remedies.push(remedy);
        }
        self
    }

    fn next(mut self, advice: impl Into<Advice>) -> Self {
        if let Check::Good { next, .. } = &mut self {
            *next = Some(advice.into());
        }
        self
    }

    fn silent(mut self) -> Self {
        if let Check::Found { silent, .. } = &mut self {
            *silent = true;
        }
        self
    }

    /// Its word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Check::Good { code, .. } => code,
            Check::Found { finding, .. } => finding.code,
        }
    }

    /// What the operator may do, of a finding or of what is good; `None` where nothing is advised.
    pub fn advice(&self) -> Option<&Advice> {
        match self {
            Check::Good { next, .. } => next.as_ref(),
            Check::Found { finding, .. } => finding.fix.as_ref(),
        }
    }

    /// The finding, if there is one.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Check::Good { .. } => None,
            Check::Found { finding, .. } => Some(finding),
        }
    }
}

impl From<Finding> for Check {
    fn from(finding: Finding) -> Self {
        Check::Found { finding, remedies: Vec::new(), silent: false }
    }
}

fn error(code: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(Level::Error, code, text)
}

fn warning(code: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(Level::Warning, code, text)
}

fn note(code: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(Level::Note, code, text)
}

/// Puts checks into the order in which they are told: first what kwild is silent about.
pub fn sort(checks: &mut [Check]) {
    checks.sort_by_key(|check| !matches!(check, Check::Found { silent: true, .. }));
}

/// What `--fix` prints; nothing of it is ever run here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Fixes {
    /// Statements for a superuser, in the database `postgres`.
    pub sql: Vec<String>,
    /// Whether the server must be restarted afterwards.
    pub restart: bool,
    /// Commands for a shell on this machine.
    pub shell: Vec<String>,
}

impl Fixes {
    /// Those of all checks.
    pub fn of(checks: &[Check]) -> Self {
        let mut fixes = Fixes::default();
        let mut settings = false;
        for check in checks {
            let Check::Found { remedies, .. } = check else { continue };
            for remedy in remedies {
                match remedy {
                    Remedy::Setting { name, value, restart } => {
                        settings = true;
                        fixes.restart |= restart;
                        fixes.sql.push(alter_system(name, value));
                    }
                    Remedy::Sql(text) => fixes.sql.push(text.clone()),
                    Remedy::Shell(text) => fixes.shell.push(text.clone()),
                }
            }
        }
        if settings && !fixes.restart {
            fixes.sql.push("SELECT pg_reload_conf();".to_owned());
        }
        fixes
    }
}

fn alter_system(name: &str, value: &str) -> String {
    format!("ALTER SYSTEM SET {name} = {};", literal(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_ones_come_first_and_the_rest_keeps_its_order() {
        let mut checks = vec![
            Check::good("a", ""),
            Check::from(error("b", "")),
            Check::from(error("c", "")).silent(),
            Check::from(note("d", "")),
        ];
        sort(&mut checks);
        assert_eq!(checks.iter().map(Check::code).collect::<Vec<_>>(), ["c", "a", "b", "d"]);
    }

    #[test]
    fn fixes_are_collected_and_quoted() {
        let setting = |restart| Remedy::Setting { name: "wal_level".into(), value: "lo'gical".into(), restart };
        let check = |remedy| Check::from(error("a", "")).remedy(remedy);
        let fixes = Fixes::of(&[check(setting(false)), check(Remedy::Shell("ls".into()))]);
        assert_eq!(fixes.sql, ["ALTER SYSTEM SET wal_level = 'lo''gical';", "SELECT pg_reload_conf();"]);
        assert_eq!((fixes.restart, fixes.shell), (false, vec!["ls".to_owned()]));
        assert!(Fixes::of(&[check(setting(true))]).restart);
    }
}
