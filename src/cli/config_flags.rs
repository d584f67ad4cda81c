//! Kwil's configuration flags of both families, written `--section.key-with-dashes`: in go arguments, out come keys of
//! config.toml with their values.

use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use kwil_formats::formats::{
    Family,
    config::{self, Key, Kind},
};

use crate::base::{Error, Result};

/// The configuration flags that were given, of either family.
#[derive(Clone, Default)]
pub(crate) struct ConfigFlags {
    /// The name of each flag that was given, and its value's text.
    given: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for ConfigFlags {
    /// Shows the flags' names only, because a value may be a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.given.iter().map(|(name, _)| name)).finish()
    }
}

/// A configuration flag, its help, and the keys of each family that it sets.
struct Flag {
    name: String,
    help: String,
    keys: Vec<(Family, &'static Key)>,
}

impl Flag {
    fn is(&self, kinds: &[Kind]) -> bool {
        self.keys.iter().any(|(_, key)| kinds.contains(&key.kind))
    }
}

/// Configuration flags that Kwil's v0.9 also takes as one letter.
const SHORT: [(&str, char); 2] = [("log.level", 'l'), ("chain.p2p.private-mode", 'p')];

/// Every configuration flag of both families; a flag that both have stands here once.
static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let mut flags: Vec<Flag> = Vec::new();
    for family in [Family::V09, Family::V010] {
        for key in config::keys(family) {
            let name = key.flag();
            // The snapshot has a flag of its own.
            if name.ends_with("genesis-state") {
                continue;
            }
            match flags.iter_mut().find(|flag| flag.name == name) {
                Some(flag) => flag.keys.push((family, key)),
                None => flags.push(Flag { name, help: String::new(), keys: vec![(family, key)] }),
            }
        }
    }
    for flag in &mut flags {
        let told = |(family, key): &(Family, &Key)| {
            let fork = if key.truf_only { ", TRUF only" } else { "" };
            format!("{family}{fork}: {}", key.name)
        };
        flag.help = flag.keys.iter().map(told).collect::<Vec<_>>().join(", ");
    }
    flags
});

impl ConfigFlags {
    /// The family's keys of config.toml that the flags set, with their values.
    ///
    /// # Errors
    /// `Kind::Usage` when a flag that was given is one of the other family only.
    pub(crate) fn values(&self, family: Family) -> Result<Vec<(String, String)>> {
        let mut values: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.given {
            let flag = FLAGS.iter().find(|flag| flag.name == *name);
            let key = flag.and_then(|flag| flag.keys.iter().find(|(of, _)| *of == family));
            let Some((_, key)) = key else {
                return Err(Error::usage(format!("--{name} is no flag of {family}, which the genesis is of"))
                    .hint(format!("leave it out, or use {family}'s own flag (setup init --help)")));
            };
            values.push((key.name.clone(), value.clone()));
        }
        Ok(values)
    }

    /// The family that all given flags are of; `None` where they do not tell.
    pub(crate) fn family(&self) -> Option<Family> {
        let only = |name: &str| {
            let flag = FLAGS.iter().find(|flag| flag.name == name)?;
            match flag.keys.as_slice() {
                [(family, _)] => Some(*family),
                _ => None,
            }
        };
        self.given.iter().find_map(|(name, _)| only(name))
    }

    /// Names of the given flags whose value everybody on this machine can see and nobody should.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &'static str> {
        self.given.iter().map(|(name, _)| *name).filter(|name| name.ends_with("pass"))
    }
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let mut arg = Arg::new(flag.name.as_str())
                .long(flag.name.as_str())
                .help(flag.help.as_str())
                .help_heading("Configuration")
                .value_name("VALUE")
                .action(ArgAction::Append)
                .allow_hyphen_values(!flag.is(&[Kind::Switch]))
                .hide_short_help(true);
            if let Some((_, short)) = SHORT.iter().find(|(name, _)| *name == flag.name) {
                arg = arg.short(*short);
            }
            command.arg(if flag.is(&[Kind::Switch]) {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = ConfigFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for flag in FLAGS.iter() {
            // Repeated lists are one list, as in Kwil's flags; of anything else the last one counts.
            let given: Vec<&String> = matches.get_many(&flag.name).into_iter().flatten().collect();
            let Some(last) = given.last() else { continue };
            let value = if flag.is(&[Kind::List, Kind::Map]) {
                given.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(",")
            } else {
                (*last).clone()
            };
            self.given.push((&flag.name, value));
        }
        Ok(())
    }
}

/// [`ConfigFlags`] of a command whose one-letter flags mean something else.
#[derive(Debug, Clone, Default)]
pub(crate) struct LongConfigFlags(pub(crate) ConfigFlags);

impl Args for LongConfigFlags {
    fn augment_args(command: Command) -> Command {
        SHORT.iter().fold(ConfigFlags::augment_args(command), |command, (name, _)| {
            command.mut_arg(*name, |arg| arg.short(None))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LongConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        ConfigFlags::from_arg_matches(matches).map(LongConfigFlags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: ConfigFlags,
    }

    fn flags(given: &[&str]) -> ConfigFlags {
        Line::try_parse_from(["init"].iter().chain(given)).unwrap().flags
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn both_families_flags_reach_their_keys() {
        let given = flags(&[
            "--app.pg-db-host",
            "h",
            "--chain.p2p.persistent-peers=a@b:1,c@d:2",
            "--chain.p2p.pex=false",
            "-p",
        ]);
        let mut values = given.values(Family::V09).unwrap();
        values.sort();
        assert_eq!(
            values,
            [
                pair("app.pg_db_host", "h"),
                pair("chain.p2p.persistent_peers", "a@b:1,c@d:2"),
                pair("chain.p2p.pex", "false"),
                pair("chain.p2p.private_mode", "true")
            ]
        );
        assert_eq!(given.family(), Some(Family::V09));
        let error = given.values(Family::V010).unwrap_err();
        assert!(error.to_string().contains("--app.pg-db-host"), "{error}");
        let given = flags(&[
            "--p2p.bootnodes",
            "x",
            "--p2p.bootnodes=y",
            "--mempool.maxtxbytes",
            "7",
            "--p2p.private",
            "--erc20-bridge.rpc",
            "a=b",
            "--erc20-bridge.rpc=c=d",
            "--block-sync.idle-timeout=1s",
        ]);
        let values = given.values(Family::V010).unwrap();
        for wanted in [
            pair("p2p.bootnodes", "x,y"),
            pair("mempool.MaxTxBytes", "7"),
            pair("p2p.private", "true"),
            pair("erc20_bridge.rpc", "a=b,c=d"),
            pair("block_sync.idle_timeout", "1s"),
        ] {
            assert!(values.contains(&wanted), "{values:?}");
        }
        assert_eq!(given.family(), Some(Family::V010));
        let both = flags(&["-l", "debug"]);
        assert_eq!(both.values(Family::V09).unwrap(), [pair("log.level", "debug")]);
        assert_eq!(both.values(Family::V010).unwrap(), [pair("log.level", "debug")]);
        assert_eq!(both.family(), None);
    }

    #[test]
    fn passwords_are_known_and_not_shown() {
        let given = flags(&["--db.pass", "hunter2", "--app.admin-pass=hunter2", "--db.host=h"]);
        assert!(!format!("{given:?}").contains("hunter2"));
        assert_eq!(given.secrets().collect::<Vec<_>>(), ["app.admin-pass", "db.pass"]);
    }

    #[test]
    fn an_unknown_flag_is_answered_with_the_nearest() {
        for (wrong, near) in
            [("--db.prot", "--db.port"), ("--chain.p2p.persistent-peer", "--chain.p2p.persistent-peers")]
        {
            let error = Line::try_parse_from(["init", wrong, "x"]).unwrap_err().to_string();
            assert!(error.contains(near), "{error}");
        }
    }
}
