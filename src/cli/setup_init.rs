//! `setup init`: a verified root from a genesis, a snapshot and a key; both families' spellings.

use std::{path::PathBuf, sync::LazyLock};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::Session;
use crate::{
    app,
    base::{Context, Error, Result},
    kwil::{Family, config},
    setup::{self, GenesisSource, InitOptions, KeySource, SnapshotSource},
};

/// What `setup init` is told.
#[derive(Debug, Args)]
#[command(
    after_help = "Every configuration flag of Kwil's own command is taken, such as --app.pg-db-name or --db.dbname;\n\
    --help lists them all.\n\n\
    Example:\n  regenesis setup init -r ~/.kwild-new -g genesis.json -s snapshot.sql.gz -k nodekey.json --db.dbname kwild_new"
)]
pub(crate) struct InitArgs {
    /// The root to make; an existing one must be empty or hold only the node's key
    #[arg(short = 'r', long = "root-dir", visible_alias = "root", value_name = "DIR", value_parser = home_path)]
    root: PathBuf,
    /// The genesis that every node of the new network has
    #[arg(short = 'g', long, value_name = "FILE", value_parser = home_path)]
    genesis: PathBuf,
    /// The snapshot that the genesis pins, gzip or plain SQL
    #[arg(short = 's', long, value_name = "FILE", value_parser = home_path)]
    genesis_state: Option<PathBuf>,
    /// The node's key file [default: the key in the root, else a new one]
    #[arg(short = 'k', long, value_name = "FILE", value_parser = home_path)]
    key_file: Option<PathBuf>,
    /// Refuses a genesis of another family: v0.9 or v0.10
    #[arg(long, value_name = "FAMILY")]
    family: Option<Family>,
    #[command(flatten)]
    config: ConfigFlags,
}

impl InitArgs {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let (bytes, genesis) = setup::read_genesis(&self.genesis)?;
        let config = self.config.values(genesis.family())?;
        if config.iter().any(|(key, _)| key.ends_with("pass")) {
            session.progress.warning("a password on the command line can be seen by every user of this machine");
        }
        let key = match self.key_file {
            Some(path) => KeySource::File(path),
            None if setup::key_in_root(&self.root) => KeySource::InRoot,
            None => KeySource::New,
        };
        let options = InitOptions {
            root: self.root,
            genesis: GenesisSource::Bytes(bytes),
            snapshot: self.genesis_state.map(SnapshotSource::File),
            key,
            config,
            family: self.family,
            progress: session.progress.clone(),
            cancel: session.cancel.clone(),
        };
        let made = tokio::task::spawn_blocking(move || app::setup::init(&options))
            .await
            .or_failed(|| "setup init ended")??;
        session.output.result(&made)
    }
}

/// A path; `~/` is the home directory also behind `--flag=`, where the shell leaves it alone.
pub(crate) fn home_path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    let home = text.strip_prefix("~/").zip(std::env::home_dir());
    Ok(home.map_or_else(|| PathBuf::from(text), |(rest, home)| home.join(rest)))
}

/// Kwil's configuration flags, of both families: `--section.key-with-dashes`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigFlags {
    /// Flags as given, with their values.
    given: Vec<(&'static str, String)>,
}

/// A configuration flag and the keys it sets.
struct Flag {
    name: String,
    help: String,
    switch: bool,
    keys: Vec<(Family, String)>,
}

/// Every flag of both families, once each.
static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let mut flags: Vec<Flag> = Vec::new();
    for family in [Family::V09, Family::V010] {
        for (key, switch) in config::keys(family) {
            let name = key.to_lowercase().replace('_', "-");
            // The snapshot has a flag of its own.
            if name.ends_with("genesis-state") {
                continue;
            }
            match flags.iter_mut().find(|flag| flag.name == name) {
                Some(flag) => flag.keys.push((family, key)),
                None => flags.push(Flag { name, help: String::new(), switch, keys: vec![(family, key)] }),
            }
        }
    }
    for flag in &mut flags {
        let families: Vec<String> = flag.keys.iter().map(|(family, key)| format!("{family}: {key}")).collect();
        flag.help = families.join(", ");
    }
    flags
});

impl ConfigFlags {
    /// The keys of the family with their values.
    ///
    /// # Errors
    /// When a flag is the other family's.
    pub(crate) fn values(&self, family: Family) -> Result<Vec<(String, String)>> {
        let mut values: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.given {
            let flag = FLAGS.iter().find(|flag| flag.name == *name);
            let key = flag.and_then(|flag| flag.keys.iter().find(|(of, _)| *of == family));
            let Some((_, key)) = key else {
                return Err(Error::usage(format!("--{name} is no flag of {family}, which the genesis is of"))
                    .hint(format!("leave it out, or use {family}'s own flag (setup init --help)")));
            };
            values.push((key.clone(), value.clone()));
        }
        Ok(values)
    }
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name.as_str())
                .long(flag.name.as_str())
                .help(flag.help.as_str())
                .help_heading("Configuration")
                .value_name("VALUE")
                .action(ArgAction::Append)
                .hide_short_help(true);
            command.arg(if flag.switch {
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
            let list = flag.keys.iter().any(|(family, key)| config::is_list(*family, key));
            let value = if list {
                given.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(",")
            } else {
                (*last).clone()
            };
            self.given.push((&flag.name, value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: InitArgs,
    }

    fn flags(given: &[&str]) -> ConfigFlags {
        let line = ["init", "-r", "d", "-g", "g"].iter().chain(given);
        Line::try_parse_from(line).unwrap().args.config
    }

    #[test]
    fn both_families_flags_reach_their_keys() {
        let given =
            flags(&["--app.pg-db-host", "h", "--chain.p2p.persistent-peers=a@b:1,c@d:2", "--chain.p2p.pex=false"]);
        let mut values = given.values(Family::V09).unwrap();
        values.sort();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            values,
            [
                pair("app.pg_db_host", "h"),
                pair("chain.p2p.persistent_peers", "a@b:1,c@d:2"),
                pair("chain.p2p.pex", "false")
            ]
        );
        let error = given.values(Family::V010).unwrap_err();
        assert!(error.to_string().contains("--app.pg-db-host"), "{error}");
        let values =
            flags(&["--p2p.bootnodes", "x", "--p2p.bootnodes=y", "--mempool.maxtxbytes", "7", "--p2p.private"])
                .values(Family::V010)
                .unwrap();
        for wanted in [pair("p2p.bootnodes", "x,y"), pair("mempool.MaxTxBytes", "7"), pair("p2p.private", "true")] {
            assert!(values.contains(&wanted), "{values:?}");
        }
        assert_eq!(flags(&["--log.level", "debug"]).values(Family::V09).unwrap(), [pair("log.level", "debug")]);
        assert_eq!(flags(&["--log.level", "debug"]).values(Family::V010).unwrap(), [pair("log.level", "debug")]);
    }

    #[test]
    fn kwils_spellings_of_the_main_flags() {
        for line in [
            ["init", "--root-dir", "d", "--genesis", "g", "--genesis-state", "s", "--key-file", "k"],
            ["init", "--root", "d", "-g", "g", "-s", "s", "-k", "k"],
        ] {
            let args = Line::try_parse_from(line).unwrap().args;
            assert_eq!(args.genesis_state, Some("s".into()));
            assert_eq!(args.key_file, Some("k".into()));
        }
    }
}
