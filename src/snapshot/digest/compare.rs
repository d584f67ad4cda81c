//! Where two states differ, by name: in go two digests, out come words for each table, validator and part of the schema
//! that is not the same in both.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kwil_formats::{dump::digest::SchemaPart, formats::Validator};
use serde::{Deserialize, Serialize};

use super::{Digest, TableDigest, ValidatorsOf};
use crate::{
    base::{Blake3Hash, Error, Next, Result, files::read_bounded, limits::DIGEST_FILE_SIZE_BYTES_MAX, text},
    manifest::{self, Manifest, StateDigest, statement::DifferingPart},
};

/// The digest that another one is compared with: the result of `snapshot digest --output json`, or a manifest's.
#[derive(Debug, Clone, Deserialize)]
pub struct Other {
    state_digest: Blake3Hash,
    schema_digest: Blake3Hash,
    height: Option<i64>,
    /// The validators; `None` where they are not told, as in a
    /// manifest's digest, since the manifest has them elsewhere.
    validators: Option<Vec<Validator>>,
    validators_of: ValidatorsOf,
    tables: Vec<TableDigest>,
    /// The parts of the schema; `None` where they are not told, as in a manifest.
    #[serde(default)]
    schema: Option<Vec<SchemaPart>>,
}

/// What a comparison of two digests found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// True when nothing that was compared differs.
    pub equal: bool,
    /// What differs, in words, one entry for each part.
    pub differs: Vec<String>,
    /// `equal` or `different`, by the schema digests.
    pub schema: String,
    /// What a genesis changed in the validators, in words, one entry for each; it is no difference of the states.
    pub edited: Vec<String>,
    /// What is worth knowing, but is no difference.
    pub notes: Vec<String>,
}

impl Other {
    /// Reads what `snapshot digest --output json` printed, with or without the object around the result.
    ///
    /// # Errors
    /// When the file cannot be read or is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, DIGEST_FILE_SIZE_BYTES_MAX, "digest")?;
        #[derive(Deserialize)]
        struct Wrapped {
            result: Other,
        }
        let other = serde_json::from_slice(&bytes)
            .or_else(|_| serde_json::from_slice(&bytes).map(|wrapped: Wrapped| wrapped.result));
        other.map_err(|e| {
            Error::verify(format!("{} holds no state digest", path.display())).because(e).hint(Next::DigestFile)
        })
    }
}

impl Other {
    /// What a manifest signs of the old network's state; `None` where it signs no digest.
    pub fn of_manifest(manifest: &Manifest) -> Option<Self> {
        let signed = manifest.state_digest.as_ref()?;
        let validators = Some(&manifest.old_validators).filter(|old| !old.is_empty()).cloned();
        Some(Other { height: Some(manifest.network.height), validators, ..Other::from(signed) })
    }
}

impl From<&StateDigest> for Other {
    fn from(digest: &StateDigest) -> Self {
        let table = |t: &crate::manifest::TableDigest| TableDigest {
            name: t.name.clone(),
            columns: t.columns.clone(),
            rows: t.rows,
            digest: t.digest,
        };
        Other {
            state_digest: digest.digest,
            schema_digest: digest.schema_digest,
            height: None,
            validators: None,
            validators_of: ValidatorsOf::Database,
            tables: digest.tables.iter().map(table).collect(),
            schema: None,
        }
    }
}

impl Digest {
    /// Compares two digests and names what differs. `here` and `there` are words for the two states. Validators that a
    /// genesis names for the new network are compared only with `all_validators`.
    pub fn compare(&self, other: &Other, all_validators: bool, here: &str, there: &str) -> Comparison {
        let mut differs = Vec::new();
        let tables: BTreeMap<&str, &TableDigest> = other.tables.iter().map(|t| (&*t.name, t)).collect();
        let own: BTreeMap<&str, &TableDigest> = self.tables.iter().map(|t| (&*t.name, t)).collect();
        for table in &self.tables {
            match tables.get(&*table.name) {
                None => differs.push(format!("{} is only in {here}", text::escape(&table.name))),
                Some(other) => differs.extend(table_difference(table, other, here, there)),
            }
        }
        for table in other.tables.iter().filter(|t| !own.contains_key(&*t.name)) {
            differs.push(format!("{} is only in {there}", text::escape(&table.name)));
        }
        let mut edited = Vec::new();
        if let Some(validators) = &other.validators {
            let of_genesis = [self.validators_of, other.validators_of].contains(&ValidatorsOf::Genesis);
            let told = if of_genesis && !all_validators { &mut edited } else { &mut differs };
            for (ours, theirs, place) in [(&self.validators, validators, here), (validators, &self.validators, there)] {
                for validator in ours.iter().filter(|v| !theirs.contains(v)) {
                    let Validator { key, power } = validator;
                    told.push(format!("validator {key} with power {power} is only in {place}"));
                }
            }
        }
        // Other validators make another digest; which state it is, the tables say.
        if self.state_digest != other.state_digest && differs.is_empty() && edited.is_empty() {
            let what = if other.validators.is_none() {
                "the validators"
            } else {
                "the digest itself: it is not that of its tables"
            };
            differs.push(format!("{what} ({} in {here}, {} in {there})", self.state_digest, other.state_digest));
        }
        let schema = if self.schema_digest == other.schema_digest { "equal" } else { "different" };
        if self.schema_digest != other.schema_digest {
            differs.extend(schema_differences(self.schema.as_deref(), other.schema.as_deref(), here, there));
        }
        let mut notes = Vec::new();
        if let (Some(ours), Some(theirs)) = (self.height, other.height)
            && ours != theirs
        {
            notes.push(format!("height {ours} in {here}, {theirs} in {there}: not part of the digest"));
        }
        Comparison { equal: differs.is_empty(), differs, schema: schema.to_owned(), edited, notes }
    }

    /// The parts in which this state differs from the one that a manifest signs, by name: tables, the validators, the
    /// definitions. `old_validators` are those that the manifest names; where it names none, they are not compared.
    pub fn differing_parts(&self, signed: &StateDigest, old_validators: &[Validator]) -> Vec<DifferingPart> {
        let own: BTreeMap<&str, &TableDigest> = self.tables.iter().map(|t| (&*t.name, t)).collect();
        let theirs: BTreeMap<&str, &manifest::TableDigest> = signed.tables.iter().map(|t| (&*t.name, t)).collect();
        let names: BTreeSet<&str> = own.keys().chain(theirs.keys()).copied().collect();
        let same = |name: &str| match (own.get(name), theirs.get(name)) {
            (Some(a), Some(b)) => (a.rows, a.digest, &a.columns) == (b.rows, b.digest, &b.columns),
            _ => false,
        };
        let rows = |name: &str| own.get(name).map_or(0, |table| table.rows);
        let mut parts: Vec<DifferingPart> =
            names.into_iter().filter(|name| !same(name)).map(|name| DifferingPart::new(name, rows(name))).collect();
        let count = self.validators.len() as u64;
        if !old_validators.is_empty() && self.validators != old_validators {
            parts.push(DifferingPart::new(DifferingPart::VALIDATORS, count));
        }
        if self.schema_digest != signed.schema_digest {
            parts.push(DifferingPart::new(DifferingPart::DEFINITIONS, 0));
        }
        if parts.is_empty() && self.state_digest != signed.digest {
            // Nothing else is left of what a digest is made of.
            parts.push(DifferingPart::new(DifferingPart::VALIDATORS, count));
        }
        parts
    }

    /// Names the parts of the schema that differ, none where the
    /// schemas are equal. `here` and `there` are words for the states.
    pub fn schema_differences(&self, other: &Digest, here: &str, there: &str) -> Vec<String> {
        if self.schema_digest == other.schema_digest {
            return Vec::new();
        }
        schema_differences(self.schema.as_deref(), other.schema.as_deref(), here, there)
    }

    /// Refuses the state of a snapshot's text that is not the one that was signed.
    ///
    /// # Errors
    /// `Kind::Verify`, which names the tables that differ.
    pub fn check(&self, signed: &StateDigest) -> Result<()> {
        let mut found = self.compare(&Other::from(signed), true, "the snapshot", "the manifest");
        if found.differs.is_empty() {
            return Ok(());
        }
        const NAMED: usize = 5;
        let more = found.differs.len().saturating_sub(NAMED);
        found.differs.truncate(NAMED);
        if more > 0 {
            found.differs.push(format!("and {more} more"));
        }
        Err(Error::verify(format!("the snapshot's state is not the manifest's: {}", found.differs.join("; ")))
            .hint("do not use it: what the old network's validators confirm is not what this file holds"))
    }
}

/// Names the parts of two schemas that differ, or the schema as a whole where the parts are not known.
fn schema_differences(
    ours: Option<&[SchemaPart]>,
    theirs: Option<&[SchemaPart]>,
    here: &str,
    there: &str,
) -> Vec<String> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return vec!["the schema (tables, indexes, functions: the DDL)".to_owned()];
    };
    let only = |these: &[SchemaPart], those: &[SchemaPart]| -> Vec<String> {
        these.iter().filter(|part| those.binary_search(part).is_err()).map(|part| text::escape(&part.name)).collect()
    };
    let (only_ours, only_theirs) = (only(ours, theirs), only(theirs, ours));
    let both = only_ours.iter().filter(|name| only_theirs.contains(name));
    let mut differs: Vec<String> = both.map(|name| format!("{name}: another definition")).collect();
    for (these, those, place) in [(&only_ours, &only_theirs, here), (&only_theirs, &only_ours, there)] {
        differs
            .extend(these.iter().filter(|name| !those.contains(name)).map(|name| format!("{name} is only in {place}")));
    }
    if differs.is_empty() {
        // A part that stands twice in one of them.
        differs.push("the schema (tables, indexes, functions: the DDL)".to_owned());
    }
    differs
}

fn table_difference(ours: &TableDigest, theirs: &TableDigest, here: &str, there: &str) -> Option<String> {
    let name = text::escape(&ours.name);
    if ours.columns != theirs.columns {
        Some(format!("{name}: other columns"))
    } else if ours.rows != theirs.rows {
        Some(format!("{name}: {} in {here}, {} in {there}", text::count(ours.rows, "row"), theirs.rows))
    } else if ours.digest != theirs.digest {
        Some(format!("{name}: other contents in {}", text::count(ours.rows, "row")))
    } else {
        None
    }
}
