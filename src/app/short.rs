//! Names that fit a line: validators as people tell them apart.

use kwil_formats::formats::key::PublicKey;

/// Characters of a key that tell it from others.
const KEY_CHARS: usize = 8;

/// A validator's key, shortened.
pub(super) fn key(key: &PublicKey) -> String {
    key.to_string().chars().take(KEY_CHARS).collect()
}
