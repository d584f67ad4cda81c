//! The two forms of a key file, and how v0.10's JSON is read without leaving copies of the secret.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use zeroize::Zeroize;

use crate::formats::Family;

/// The form of a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFileForm {
    /// v0.9's `private_key`: hex digits.
    HexText,
    /// v0.10's `nodekey.json`: a JSON object.
    Json,
}

impl KeyFileForm {
    /// The family whose nodes read this form.
    pub fn family(self) -> Family {
        match self {
            KeyFileForm::HexText => Family::V09,
            KeyFileForm::Json => Family::V010,
        }
    }
}

/// The fields of v0.10's `nodekey.json`, borrowed where possible, so that parsing makes no copy of the secret. Names of fields in
/// any case, as Go reads them; two of one name are refused, since nobody meant that.
pub(super) struct KeyJson<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) kind: Cow<'a, str>,
}

impl<'de> Deserialize<'de> for KeyJson<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeyJsonVisitor)
    }
}

struct KeyJsonVisitor;

/// A text that borrows where it can; serde's own `Cow` never does.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for KeyJsonVisitor {
    type Value = KeyJson<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with key and type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut file = KeyJson { key: Cow::Borrowed(""), kind: Cow::Borrowed("") };
        let mut found = (false, false);
        while let Some(Text(name)) = map.next_key()? {
            match name.to_ascii_lowercase().as_str() {
                "key" if found.0 => return Err(de::Error::duplicate_field("key")),
                "type" if found.1 => return Err(de::Error::duplicate_field("type")),
                "key" => (file.key, found.0) = (map.next_value::<Text<'_>>()?.0, true),
                "type" => (file.kind, found.1) = (map.next_value::<Text<'_>>()?.0, true),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        match found {
            (true, true) => Ok(file),
            (false, _) => Err(de::Error::missing_field("key")),
            (_, false) => Err(de::Error::missing_field("type")),
        }
    }
}

impl Drop for KeyJson<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(key) = &mut self.key {
            key.zeroize();
        }
    }
}
