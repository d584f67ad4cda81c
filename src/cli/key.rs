//! `key gen` and `key info`: node keys of both families, with the words of Kwil's own commands.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use kwil_formats::formats::{
    Family,
    key::{KeyType, PrivateKey, PublicKey},
};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Serialize, Serializer, ser::SerializeMap};
use zeroize::Zeroizing;

use super::{
    Session,
    bind::{BindArgs, BindingArgs, PeerArgs},
    values::Secret,
};
use crate::{
    base::{Error, Result, durable},
    setup::{self, read_key_file},
};

/// Node keys
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a new node key
    Gen(GenArgs),
    /// Shows a private key in every form, and who its node is
    Info(InfoArgs),
    /// Prints the peer id that a directory's node has in the swarm
    Peer(PeerArgs),
    /// Signs, where the validator's key is, that a node of the swarm is this validator's
    Bind(BindArgs),
    /// Shows what a binding says
    Binding(BindingArgs),
}

impl KeyCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            KeyCommand::Gen(args) => args.run(session),
            KeyCommand::Info(args) => args.run(session),
            KeyCommand::Peer(args) => args.run(session),
            KeyCommand::Bind(args) => args.run(session),
            KeyCommand::Binding(args) => args.run(session),
        }
    }
}

/// What `key gen` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    regenesis key gen ed25519 -o lead.key           a key to sign manifests with\n  \
    regenesis key gen --family v0.9 -o private_key  a node key of the v0.9 family")]
pub(crate) struct GenArgs {
    /// ed25519 or secp256k1 [default: ed25519 for v0.9, secp256k1 for v0.10]
    #[arg(value_name = "TYPE")]
    kind: Option<KeyType>,
    /// Whose key file and words: v0.9 or v0.10
    #[arg(long, default_value = "v0.10", value_name = "FAMILY")]
    family: Family,
    /// Only the private key's hex
    #[arg(short = 'R', long)]
    raw: bool,
    /// Writes the key file (mode 0600) instead of showing the key
    #[arg(short = 'o', long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Replaces an existing key file
    #[arg(long, requires = "key_file")]
    force: bool,
}

impl GenArgs {
    fn run(self, session: &Session) -> Result<()> {
        let kind = self.kind.unwrap_or(match self.family {
            Family::V09 => KeyType::Ed25519,
            Family::V010 => KeyType::Secp256k1,
        });
        let key = PrivateKey::generate(kind, &mut OsRng.unwrap_err());
        // Also where nothing is written: a v0.9 key of another type is of no use.
        let file = key.to_file(self.family)?;
        if let Some(path) = self.key_file {
            if !self.force && std::fs::symlink_metadata(&path).is_ok() {
                return Err(Error::refused(format!("{} exists: a key is not overwritten", path.display()))
                    .hint("choose another file; --force replaces the key, and the old one is gone"));
            }
            durable::write_atomically(&path, &file, 0o600)
                .map_err(|e| e.hint("choose a file in a directory that is there and that this user may write"))?;
            return session.output.result(&Line(format!("Private key written to {}", path.display())));
        }
        if self.raw {
            return session.output.result(&Hex(key.to_hex()));
        }
        session.output.result(&Shown { family: self.family, key, ids: None })
    }
}

/// What `key info` is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    regenesis key info --key-file ~/.kwild/nodekey.json\n  \
    regenesis key info --key-file ~/.kwild/private_key --family v0.10   what this key is called there")]
pub(crate) struct InfoArgs {
    /// The private key as HEX or HEX#TYPE, for all on this machine to see; better --key-file
    // A list, so that a second one is not named in an error.
    #[arg(value_name = "HEX", hide = true)]
    keys: Vec<Secret>,
    /// The key file, of either family
    #[arg(short = 'o', long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Whose words: v0.9 or v0.10 [default: as the key is written]
    #[arg(long, value_name = "FAMILY")]
    family: Option<Family>,
}

impl InfoArgs {
    fn run(self, session: &Session) -> Result<()> {
        if let Some(name) = self.keys.iter().find(|key| Path::new(key.0.as_str()).is_file()) {
            let name = setup::shell_path(Path::new(name.0.as_str()));
            return Err(Error::usage(format!("{name} is a file, not a key"))
                .hint(format!("show the key in it with --key-file {name}")));
        }
        if !self.keys.is_empty() {
            session.progress.warning(
                "a key on the command line can be read by everyone on this machine (ps) and stays in the shell's \
                 history; use --key-file",
            );
        }
        let argument = match self.keys.as_slice() {
            [] => None,
            [one] => Some(PrivateKey::parse_argument(&one.0).map_err(key_usage_error)?),
            more => {
                return Err(Error::usage(format!("{} keys are given", more.len())).hint("one key at a time"));
            }
        };
        let file = match self.key_file {
            Some(path) => Some(read_key_file(&path).map(|(key, form)| (key, form.family()))?),
            None => None,
        };
        let (key, family) = match (argument, file) {
            (None, None) => {
                return Err(Error::usage("no key is given").hint("name its file with --key-file"));
            }
            (Some(one), Some(other)) if one.0.public() != other.0.public() => {
                return Err(
                    Error::usage("the key given and the key in the file are not the same").hint("give one of the two")
                );
            }
            (Some(one), _) | (None, Some(one)) => one,
        };
        let family = self.family.unwrap_or(family);
        // A v0.9 key of another type is of no use.
        key.to_file(family)?;
        let ids = Some(Ids::of(&key.public(), family));
        session.output.result(&Shown { family, key, ids })
    }
}

/// The error of an argument that is no key: `Kind::Usage`, since the argument is wrong.
fn key_usage_error(error: kwil_formats::formats::key::KeyError) -> Error {
    let told = Error::from(error);
    let advice = told.advice().cloned().unwrap_or("name the key's file with --key-file".into());
    Error::usage(told.to_string()).hint(advice)
}

/// Names under which the key's node is known, beyond those that Kwil's own command shows.
struct Ids {
    validator_id: String,
    voter_id: String,
    peer_id: String,
}

impl Ids {
    fn of(key: &PublicKey, family: Family) -> Self {
        Ids { validator_id: key.to_string(), voter_id: key.voter_id(family), peer_id: key.peer_id() }
    }
}

/// A result that is one line of text.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(String);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A result that is the bare private key, in hex.
struct Hex(Zeroizing<String>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A result that is a key in all the forms that the family's own command of Kwil shows.
struct Shown {
    family: Family,
    key: PrivateKey,
    /// Further names, which follow Kwil's own lines; `None` leaves them out.
    ids: Option<Ids>,
}

impl Shown {
    /// The result's rows in Kwil's order: the label in text, the key in JSON, and the value.
    fn rows(&self) -> Vec<(&'static str, &'static str, Zeroizing<String>)> {
        let public = self.key.public();
        let node_id = public.node_id(self.family);
        let mut rows: Vec<(&'static str, &'static str, String)> = Vec::new();
        let private = self.key.to_hex();
        match self.family {
            Family::V09 => {
                let address = hex::encode_upper(public.comet_address());
                rows.push(("Private key (hex)", "private_key_hex", private.to_string()));
                rows.push((
                    "Private key (base64)",
                    "private_key_base64",
                    STANDARD.encode(self.key.expose_bytes().as_slice()),
                ));
                rows.push(("Public key (base64)", "public_key_base64", STANDARD.encode(public.bytes())));
                let comet = format!("PubKeyEd25519{{{}}}", public.to_hex().to_uppercase());
                rows.push(("Public key (cometized hex)", "public_key_cometized_hex", comet));
                rows.push(("Public key (plain hex)", "public_key_plain_hex", public.to_hex()));
                rows.push(("Address (string)", "address", address));
                rows.push(("Node ID", "node_id", node_id));
            }
            Family::V010 => {
                rows.push(("Key type", "key_type", public.key_type().to_string()));
                rows.push(("Private key (hex)", "private_key_text", private.to_string()));
                rows.push(("Public key (plain hex)", "public_key_hex", public.to_hex()));
                rows.push(("Node ID", "node_id", node_id));
                if let Some(address) = public.user_address() {
                    rows.push(("Equivalent User Address", "user_address", address));
                }
            }
        }
        if let Some(ids) = &self.ids {
            rows.push(("Validator ID", "validator_id", ids.validator_id.clone()));
            rows.push(("Voter ID", "voter_id", ids.voter_id.clone()));
            rows.push(("Kwil Peer ID", "peer_id", ids.peer_id.clone()));
        }
        rows.into_iter().map(|(label, key, value)| (label, key, Zeroizing::new(value))).collect()
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.rows();
        let mut map = serializer.serialize_map(Some(rows.len()))?;
        for (_, key, value) in &rows {
            map.serialize_entry(key, value.as_str())?;
        }
        map.end()
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, _, value) in self.rows() {
            writeln!(f, "{label}: {}", *value)?;
        }
        Ok(())
    }
}
