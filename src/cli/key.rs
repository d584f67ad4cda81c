//! `key gen`: node keys of both families, with the words of Kwil's own command.

use std::{fmt, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Serialize, Serializer, ser::SerializeMap};
use zeroize::Zeroizing;

use super::Session;
use crate::{
    base::{Error, Result, durable},
    kwil::{
        Family,
        key::{KeyType, PrivateKey},
    },
};

/// Node keys
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a new node key
    Gen(GenArgs),
}

impl KeyCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self {
            KeyCommand::Gen(args) => args.run(session),
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
            durable::write_atomically(&path, &file, 0o600)?;
            return session.output.result(&Line(format!("Private key written to {}", path.display())));
        }
        if self.raw {
            return session.output.result(&Hex(key.to_hex()));
        }
        session.output.result(&Shown { family: self.family, key })
    }
}

/// One line of text.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(String);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bare private key.
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

/// A key in all the forms that Kwil's command of the family shows.
struct Shown {
    family: Family,
    key: PrivateKey,
}

impl Shown {
    /// (label in text, key in JSON, value), in Kwil's order.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of a recording between two of its lines.
    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        let from = text.find(start).unwrap() + start.len();
        &text[from..from + text[from..].find(end).unwrap()]
    }

    #[test]
    fn v09_shows_what_kwil_admin_shows() {
        let recording = include_str!("../../tests/data/v0.9/keys/vector1.txt");
        let private = recording.lines().next().unwrap().rsplit(' ').next().unwrap();
        let (key, _) = PrivateKey::parse_file(private.as_bytes()).unwrap();
        let shown = Shown { family: Family::V09, key };
        assert_eq!(shown.to_string(), between(recording, "key info <hex>\n", "exit 0"));
        let json: serde_json::Value =
            serde_json::from_str(between(recording, "--output json <hex>\n", "exit 0")).unwrap();
        assert_eq!(serde_json::to_string(&shown).unwrap(), json["result"].to_string());
    }

    #[test]
    fn v010_shows_what_kwild_shows() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/v0.10/keys/cases.json")).unwrap();
        let mut seen = 0;
        for case in cases.as_array().unwrap() {
            let stdout = case["stdout"].as_str().unwrap();
            let Some(kind) = stdout.strip_prefix("Key type: ") else { continue };
            let kind: KeyType = kind.lines().next().unwrap().parse().unwrap();
            let bytes = hex::decode(between(stdout, "Private key (hex): ", "\n")).unwrap();
            let shown = Shown { family: Family::V010, key: PrivateKey::from_bytes(kind, &bytes).unwrap() };
            assert_eq!(shown.to_string(), stdout);
            seen += 1;
        }
        assert!(seen > 10);
    }
}
