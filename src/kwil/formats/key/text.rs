//! Private keys as people hand them over: on a command line, and files that they take for key files.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{KeyError, KeyType, PrivateKey};
use crate::formats::Family;

impl PrivateKey {
    /// The key of `HEX` or `HEX#TYPE`, and the family whose command shows such a key. Without a type, 64 digits are
    /// secp256k1 (v0.10's command takes them so) and 128 are ed25519 (as v0.9's does).
    ///
    /// # Errors
    /// When it is no private key. Nothing of the text is in the error.
    pub fn parse_argument(text: &str) -> Result<(Self, Family), KeyError> {
        let text = text.trim();
        let (digits, kind) = match text.split_once('#') {
            Some((digits, kind)) => (digits, Some(kind.parse::<KeyType>()?)),
            None => (text, None),
        };
        if digits.starts_with("0x") || digits.starts_with("0X") {
            return Err(KeyError::ArgumentHex("leave the 0x in front out"));
        }
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(KeyError::ArgumentHex("these are not hex digits"));
        }
        let (kind, family) = match (kind, digits.len()) {
            (Some(kind), _) => (kind, Family::V010),
            (None, 64) => (KeyType::Secp256k1, Family::V010),
            (None, 128) => (KeyType::Ed25519, Family::V09),
            (None, length) => return Err(KeyError::ArgumentLength(length)),
        };
        let mut bytes = Zeroizing::new(vec![0; digits.len() / 2]);
        hex::decode_to_slice(digits, bytes.as_mut_slice())
            .map_err(|_| KeyError::ArgumentHex("there is an odd number of digits"))?;
        Ok((Self::from_bytes(kind, &bytes)?, family))
    }
}

/// What a text of no key file's form is taken for, or `None`; the text is trimmed and not all hex digits.
pub(super) fn look_alike(text: &[u8]) -> Option<&'static str> {
    let hex_with_blanks = || {
        let digits = text.iter().filter(|b| !b.is_ascii_whitespace());
        digits.clone().all(u8::is_ascii_hexdigit) && digits.count() >= 32
    };
    if text.starts_with(b"-----BEGIN") {
        Some("a PEM file")
    } else if text.starts_with(b"0x") || text.starts_with(b"0X") {
        Some("hex with 0x in front; Kwil writes it without")
    } else if text.starts_with(&[0x1f, 0x8b]) {
        Some("a gzip file")
    } else if text.starts_with(&[0xef, 0xbb, 0xbf])
        || text.starts_with(&[0xff, 0xfe])
        || text.starts_with(&[0xfe, 0xff])
    {
        Some("text with a byte order mark in front; save it as plain UTF-8 without one")
    } else if text.starts_with(b"PubKeyEd25519{") {
        Some("a public key")
    } else if text.contains(&b'#') {
        Some("a node id or public key")
    } else if hex_with_blanks() {
        Some("hex digits with blanks or line breaks between them")
    } else if text.starts_with(b"\"") || text.starts_with(b"[") {
        Some("JSON, but no object with \"key\" and \"type\"")
    } else if base64_size_bytes(text).is_some_and(|size| size >= 32) {
        Some("base64; Kwil writes keys as hex")
    } else if matches!(text.len(), 32 | 64) && !text.is_ascii() {
        Some("the bare bytes of a key; Kwil writes them as hex")
    } else {
        None
    }
}

/// What hex digits of another number than a key file's are taken for.
pub(super) fn hex_look_alike(digits: &[u8]) -> &'static str {
    match digits.len() {
        40 => ": this is a node id or an address, no private key",
        64 => ": this is a bare seed, a secp256k1 key, or a public key",
        66 if digits.starts_with(b"02") || digits.starts_with(b"03") => ": this is a secp256k1 public key",
        length if length < 128 => ": the file is cut, or something else",
        _ => ": there are too many",
    }
}

fn base64_size_bytes(text: &[u8]) -> Option<usize> {
    if text.len() > 200 {
        return None;
    }
    STANDARD.decode(text).ok().map(|bytes| Zeroizing::new(bytes).len())
}

/// What JSON of no key file's form is taken for.
pub(super) fn json_look_alike(text: &[u8]) -> &'static str {
    let has = |name: &str| text.windows(name.len()).any(|part| part == name.as_bytes());
    if has("\"priv_key\"") {
        "it looks like CometBFT's priv_validator_key.json or node_key.json"
    } else if has("\"chain_id\"") {
        "it looks like a genesis"
    } else if has("\"crypto\"") || has("\"ciphertext\"") {
        "it looks like an Ethereum keystore"
    } else {
        "a key is missing, twice there, or no string"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const PUBLIC: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";

    #[test]
    fn arguments_are_read_as_both_tools_read_them() {
        let both = format!("{SEED}{PUBLIC}");
        for (text, kind, family) in [
            (both.clone(), KeyType::Ed25519, Family::V09),
            (both.to_uppercase(), KeyType::Ed25519, Family::V09),
            (format!("{both}#ed25519"), KeyType::Ed25519, Family::V010),
            (SEED.to_owned(), KeyType::Secp256k1, Family::V010),
            (format!(" {SEED}#secp256k1\n"), KeyType::Secp256k1, Family::V010),
        ] {
            let (key, of) = PrivateKey::parse_argument(&text).unwrap();
            assert_eq!((key.key_type(), of), (kind, family), "{text}");
        }
        for (text, part) in [
            ("", "0 hex digits"),
            ("zz", "not hex digits"),
            ("abcd", "4 hex digits"),
            (&format!("0x{SEED}"), "0x"),
            (&format!("{SEED}#ed25519"), "32 bytes"),
            (&format!("{both}#secp256k1"), "64 bytes"),
            (&format!("{SEED}#rsa"), "unknown key type rsa"),
            (&format!("{SEED}a#secp256k1"), "odd number"),
            (&format!("{SEED}{SEED}"), "does not belong to its seed"),
            (&format!("{PUBLIC}00"), "66 hex digits"),
        ] {
            let error = PrivateKey::parse_argument(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("0001020304"), "{error}");
        }
    }

    /// Every form of a key that is none, whole, cut and padded: each is refused, most by name, and never quoted.
    #[test]
    fn files_that_are_taken_for_key_files_are_told_apart() {
        let both = format!("{SEED}{PUBLIC}");
        let bytes = hex::decode(&both).unwrap();
        let json = |key: &str, kind: &str| format!("{{\"key\":\"{key}\",\"type\":\"{kind}\"}}").into_bytes();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&bytes[..32]));
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("pem", pem.into_bytes(), "PEM"),
            ("base64 of both", STANDARD.encode(&bytes).into_bytes(), "base64"),
            ("base64 of the seed", STANDARD.encode(&bytes[..32]).into_bytes(), "base64"),
            ("0x", format!("0x{both}").into_bytes(), "0x in front"),
            ("seed", SEED.into(), "bare seed"),
            ("public", PUBLIC.into(), "public key"),
            ("secp public", format!("02{SEED}").into_bytes(), "secp256k1 public key"),
            ("node id", "56475aa75463474c0285df5dbf2bcab73da65135".into(), "node id"),
            ("typed", format!("{PUBLIC}#ed25519").into_bytes(), "node id or public key"),
            ("cometized", format!("PubKeyEd25519{{{PUBLIC}}}").into_bytes(), "a public key"),
            ("wrapped", format!("{SEED}\n{PUBLIC}").into_bytes(), "line breaks"),
            ("bom", [b"\xef\xbb\xbf".as_slice(), both.as_bytes()].concat(), "byte order mark"),
            ("raw", [[0xff].as_slice(), &bytes[1..]].concat(), "bare bytes"),
            ("string", format!("\"{both}\"").into_bytes(), "no object"),
            ("cut", both[..100].into(), "cut"),
            ("padded", format!("{both}00").into_bytes(), "too many"),
            ("zeros", format!("{SEED}{}", "0".repeat(64)).into_bytes(), "does not belong"),
            ("json seed", json(SEED, "ed25519"), "32 bytes"),
            ("json other type", json(&both, "secp256k1"), "64 bytes"),
            ("json public", json(&format!("02{SEED}"), "secp256k1"), "33 bytes"),
            ("json 0x", json(&format!("0x{SEED}"), "secp256k1"), "0x"),
            ("json cut", json(SEED, "secp256k1")[..90].to_vec(), "cut or no valid JSON"),
            ("json padded", [json(SEED, "secp256k1"), b"x".to_vec()].concat(), "cut or no valid JSON"),
            ("json no type", format!("{{\"key\":\"{SEED}\"}}").into_bytes(), "missing"),
            ("comet", format!("{{\"priv_key\":{{\"value\":\"{SEED}\"}}}}").into_bytes(), "priv_validator_key.json"),
            ("keystore", format!("{{\"crypto\":{{\"ciphertext\":\"{SEED}\"}}}}").into_bytes(), "Ethereum keystore"),
            ("genesis", b"{\"chain_id\":\"x\"}".to_vec(), "genesis"),
        ];
        for (name, text, part) in cases {
            let error = PrivateKey::parse_file(&text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(part), "{name}: {error}");
            assert!(!shown.contains("0001020304") && !shown.contains("AAECAwQF"), "{name}: {shown}");
            let advised = crate::base::Error::from(error);
            assert!(advised.advice().is_some(), "{name}");
            // Cut anywhere, or with anything behind: no panic, and never a key by chance.
            for end in 0..text.len() {
                let cut = PrivateKey::parse_file(&text[..end]);
                let whole = name == "padded" && end == 128 || name == "json padded" && end + 1 == text.len();
                assert!(cut.is_err() || whole, "{name} cut at {end}");
            }
        }
        // Blanks around are nothing; Kwil's tools read such files, too.
        assert!(PrivateKey::parse_file(format!("\n {both}\t\r\n").as_bytes()).is_ok());
        assert!(PrivateKey::parse_file(&[b" ".to_vec(), json(SEED, "secp256k1"), b"\n".to_vec()].concat()).is_ok());
    }
}
