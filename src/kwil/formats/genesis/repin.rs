//! Takes a genesis file and gives the same with another state hash, everything else as it stands there.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Genesis, GenesisError};
use crate::base::Sha256Hash;

impl Genesis {
    /// The same file with another state hash: byte for byte where the old one stands in it once, in its usual form, else
    /// written anew.
    ///
    /// # Errors
    /// When the bytes are no genesis.
    pub fn repin(bytes: &[u8], hash: Sha256Hash) -> Result<Vec<u8>, GenesisError> {
        let genesis = Genesis::parse(bytes)?;
        let mut wanted = genesis.clone();
        wanted.set_state_hash(hash);
        let form = |hash: Sha256Hash| match genesis {
            Genesis::V09(_) => format!("\"{}\"", STANDARD.encode(hash.as_bytes())),
            Genesis::V010(_) => format!("\"{}\"", hex::encode(hash.as_bytes())),
        };
        let replaced = genesis.state_hash().and_then(|old| {
            let old = form(old);
            let mut places = memchr::memmem::find_iter(bytes, old.as_bytes());
            let at = places.next().filter(|_| places.next().is_none())?;
            Some([&bytes[..at], form(hash).as_bytes(), &bytes[at + old.len()..]].concat())
        });
        // What was replaced must have been the hash and nothing else.
        match replaced.filter(|replaced| Genesis::parse(replaced).is_ok_and(|genesis| genesis == wanted)) {
            Some(replaced) => Ok(replaced),
            None => Ok(wanted.to_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn recorded(path: &str) -> Vec<u8> {
        fs::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(path)).unwrap()
    }

    #[test]
    fn nothing_but_the_hash_changes() {
        let hash = Sha256Hash::from_bytes([0xa7; 32]);
        for path in ["v0.9/worlds/solo/kwil-admin/genesis.json", "v0.10/worlds/solo/kwild-snapshot/genesis.json"] {
            let bytes = recorded(path);
            // White space of somebody's stays, too.
            let odd = [b"\n ", bytes.as_slice(), b"\n\n"].concat();
            for bytes in [bytes, odd] {
                let repinned = Genesis::repin(&bytes, hash).unwrap();
                assert_eq!(repinned.len(), bytes.len());
                assert_eq!(Genesis::parse(&repinned).unwrap().state_hash(), Some(hash));
                assert!(repinned.iter().zip(&bytes).filter(|(a, b)| a != b).count() <= 64);
                let old = Genesis::parse(&bytes).unwrap().state_hash().unwrap();
                assert_eq!(Genesis::repin(&repinned, old).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn a_hash_in_another_form_is_written_anew() {
        let hash = Sha256Hash::from_bytes([0xa7; 32]);
        let bytes = recorded("v0.10/worlds/solo/kwild-snapshot/genesis.json");
        let old = hex::encode(Genesis::parse(&bytes).unwrap().state_hash().unwrap().as_bytes());
        let upper = String::from_utf8(bytes).unwrap().replace(&old, &old.to_uppercase());
        let repinned = Genesis::repin(upper.as_bytes(), hash).unwrap();
        let mut wanted = Genesis::parse(upper.as_bytes()).unwrap();
        wanted.set_state_hash(hash);
        assert_eq!(repinned, wanted.to_bytes());
    }
}
