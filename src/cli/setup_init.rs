//! `setup init`: a verified root from a genesis, a snapshot and a key; both families' flags in both spellings.

use std::path::PathBuf;

use clap::Args;
use kwil_formats::formats::{
    Family,
    config::{self, CONFIG_FILE_NAME, CarryOver},
};
use zeroize::Zeroizing;

use super::{Session, config_flags::ConfigFlags, genesis_flags::GenesisFlags, values::home};
use crate::{
    app::{self, peers, setup::Described},
    base::{Context, Error, Result},
    setup::{self, GenesisSource, InitOptions, KeySource, NodeConfig, SnapshotSource},
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
    /// [default: v0.9 ./.testnet, v0.10 KWILD_ROOT or ~/.kwild]
    #[arg(short = 'r', long = "root-dir", visible_alias = "root", value_name = "DIR")]
    root: Option<PathBuf>,
    /// As --root-dir (v0.9's old spelling)
    #[arg(short = 'o', long, value_name = "DIR", hide = true, conflicts_with = "root")]
    output_dir: Option<PathBuf>,
    /// The genesis that every node of the new network has [default: a new one, for a network that this node begins]
    #[arg(short = 'g', long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The snapshot that the genesis pins, gzip or plain SQL
    #[arg(short = 's', long, alias = "app.genesis-state", value_name = "FILE")]
    genesis_state: Option<PathBuf>,
    /// The node's key file [default: the key in the root, else a new one]
    #[arg(short = 'k', long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// v0.9 or v0.10: refuses a genesis of the other one [default: as genesis, key or flags tell, else v0.10]
    #[arg(long, value_name = "FAMILY")]
    family: Option<Family>,
    /// The manifest that genesis and snapshot must be those of, every hash and the state's digest
    #[arg(long, value_name = "FILE", requires = "genesis", requires = "genesis_state")]
    manifest: Option<PathBuf>,
    /// The old node's root: its settings are carried over into the new config.toml
    #[arg(long, value_name = "DIR")]
    from_root: Option<PathBuf>,
    /// Also dial nodes that the old root or the manifest names and that are no validators in the genesis
    #[arg(long)]
    all_peers: bool,
    /// Writes the configuration of TRUF's fork of v0.10 [default: if genesis, old root or a flag is TRUF's]
    #[arg(long)]
    truf: bool,
    #[command(flatten)]
    new: GenesisFlags,
    #[command(flatten)]
    config: ConfigFlags,
}

impl InitArgs {
    pub(super) async fn run(self, session: &Session) -> Result<()> {
        let warn = |what: &str| session.progress.warning(what);
        if self.output_dir.is_some() {
            warn("--output-dir is the old spelling of --root-dir");
        }
        if let (Some(_), Some(flag)) = (&self.genesis, self.new.first()) {
            return Err(Error::usage(format!("{flag} changes nothing beside --genesis")).hint(
                "leave it out, or leave --genesis out for a new network; a genesis is changed with `genesis set`",
            ));
        }
        if self.config.secrets().next().is_some() {
            warn("a password on the command line can be seen by every user of this machine");
        }
        let old = self.from_root.as_deref().map(OldConfig::read).transpose()?;
        let given_root = self.root.clone().or(self.output_dir.clone());
        let source = match &self.genesis {
            Some(path) => {
                let (bytes, genesis) = setup::read_genesis(path)?;
                Some((genesis.family(), GenesisSource::Bytes(bytes)))
            }
            None => None,
        };
        let family = match &source {
            Some((family, _)) => *family,
            None => self.family_of_new(given_root.as_deref(), old.as_ref())?,
        };
        let root = given_root.map_or_else(|| default_root(family), Ok)?;
        let key = match &self.key_file {
            Some(path) => KeySource::File(path.clone()),
            None if setup::key_in_root(&root) => KeySource::InRoot,
            None => KeySource::New,
        };
        let genesis = match source {
            Some((_, source)) => source,
            None => GenesisSource::New(self.new.new_genesis(family)?),
        };
        let flags = self.config.values(family)?;
        let old = old.map(|old| old.carry_over(family, &flags)).transpose()?;
        if self.truf && family == Family::V09 {
            return Err(Error::usage("--truf is for v0.10, of which TRUF's kwild is a fork").hint("leave it out"));
        }
        let manifest = self.manifest.as_deref().map(Described::read).transpose()?;
        let named = manifest.as_ref().filter(|manifest| manifest.family() == family);
        let peers = match named {
            Some(manifest) => peers::that_resolve(family, manifest.node_addresses(), &session.progress).await,
            None => Vec::new(),
        };
        let options = InitOptions {
            root,
            genesis,
            snapshot: self.genesis_state.map(SnapshotSource::File),
            key,
            config: NodeConfig { flags, truf: self.truf, old, peers, all_peers: self.all_peers },
            family: self.family,
            progress: session.progress.clone(),
            cancel: session.cancel.clone(),
        };
        let made = tokio::task::spawn_blocking(move || app::setup::init_described(&options, manifest.as_ref()))
            .await
            .or_failed(|| "setup init ended")??;
        session.output.result(&made)
    }

    /// The family of a network that begins with this node, by the first that tells it: the flag, the key, flags of one
    /// family, the old root; else v0.10.
    fn family_of_new(&self, root: Option<&std::path::Path>, old: Option<&OldConfig>) -> Result<Family> {
        let of_key = || match (&self.key_file, root) {
            (Some(path), _) => setup::family_of_key(path, &KeySource::File(path.clone())),
            (None, Some(root)) => setup::family_of_key(root, &KeySource::InRoot),
            (None, None) => None,
        };
        let of_old = || old.map(|old| config::family_of(&old.text)).transpose();
        Ok(match self.family.or_else(of_key).or_else(|| self.config.family()) {
            Some(family) => family,
            None => of_old()?.unwrap_or(Family::V010),
        })
    }
}

/// The root that Kwil's own command of the family makes where none is named.
fn default_root(family: Family) -> Result<PathBuf> {
    match family {
        Family::V09 => Ok(PathBuf::from(".testnet")),
        Family::V010 => {
            let named = std::env::var_os("KWILD_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
            named.or_else(|| home().map(|home| home.join(".kwild"))).ok_or_else(|| {
                Error::usage("no root is named, and there is no home directory").hint("name it with --root-dir")
            })
        }
    }
}

/// An old node's config.toml, and the root that it lies in.
pub(crate) struct OldConfig {
    root: PathBuf,
    text: Zeroizing<String>,
}

impl OldConfig {
    /// Reads the config.toml in an old node's root.
    pub(crate) fn read(root: &std::path::Path) -> Result<Self> {
        let text = setup::read_config(&root.join(CONFIG_FILE_NAME))
            .map_err(|e| e.hint("--from-root names the root directory of the old node"))?;
        let root = std::path::absolute(root).or_failed(|| "cannot find the current directory")?;
        Ok(OldConfig { root, text })
    }

    /// Its database.
    pub(crate) fn database(&self) -> Result<config::DatabaseSettings> {
        Ok(config::database_settings(&self.text)?)
    }

    /// The settings of the old node that go over into a config.toml of this family; those that flags set do not.
    pub(crate) fn carry_over(&self, family: Family, flags: &[(String, String)]) -> Result<CarryOver> {
        config::carry_over(&self.text, &self.root, family, flags).map_err(|e| {
            let told = Error::from(e);
            let path = self.root.join(CONFIG_FILE_NAME);
            Error::new(told.kind(), format!("{}: {told}", path.display()))
                .hint(told.advice().cloned().unwrap_or("give the old node's root".into()))
        })
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

    #[test]
    fn kwils_spellings_of_the_main_flags() {
        for line in [
            ["init", "--root-dir", "d", "--genesis", "g", "--genesis-state", "s", "--key-file", "k"],
            ["init", "--root", "d", "-g", "g", "-s", "s", "-k", "k"],
            ["init", "-r", "d", "-g", "g", "--app.genesis-state", "s", "-k", "k"],
        ] {
            let args = Line::try_parse_from(line).unwrap().args;
            assert_eq!(args.root, Some("d".into()));
            assert_eq!(args.genesis_state, Some("s".into()));
            assert_eq!(args.key_file, Some("k".into()));
        }
        assert!(Line::try_parse_from(["init", "-r", "a", "-o", "b"]).is_err());
        assert!(Line::try_parse_from(["init", "-r", "a", "--manifest", "b"]).is_err());
    }
}
