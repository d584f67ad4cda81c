//! Names that fit a line: validators as people tell them apart.

use kwil_formats::formats::key::PublicKey;

/// A validator's key, shortened.
pub(super) fn key(key: &PublicKey) -> String {
    key.short()
}
