//! Where two states differ, by name.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Serialize};

use super::{Digest, TableDigest, ValidatorPower};
use crate::{
    base::{Blake3Hash, Error, Result, files::read_bounded, limits::DIGEST_FILE_SIZE_BYTES_MAX, text},
    manifest::StateDigest,
};

/// What a digest is compared with: the result of an earlier `snapshot digest --output json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Other {
    state_digest: Blake3Hash,
    schema_digest: Blake3Hash,
    server_major: Option<u32>,
    dump_major: Option<u32>,
    height: Option<i64>,
    /// `None`: not told, as in a manifest, which has them elsewhere.
    validators: Option<Vec<ValidatorPower>>,
    tables: Vec<TableDigest>,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Nothing that was compared differs.
    pub equal: bool,
    /// What differs, in words, one part each.
    pub differs: Vec<String>,
    /// Whether the schemas are `equal`, `different`, or were `not compared`, and why.
    pub schema: String,
    /// What is worth knowing and no difference.
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
            Error::verify(format!("{} holds no state digest", path.display()))
                .because(e)
                .hint("give a file made by `regenesis snapshot digest --output json`")
        })
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
            server_major: Some(digest.server_major).filter(|major| *major > 0),
            dump_major: Some(digest.dump_major).filter(|major| *major > 0),
            height: None,
            validators: None,
            tables: digest.tables.iter().map(table).collect(),
        }
    }
}

impl Digest {
    /// Names what differs. `here` and `there` are words for the two states.
    pub fn compare(&self, other: &Other, here: &str, there: &str) -> Comparison {
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
        if let Some(validators) = &other.validators {
            for (ours, theirs, place) in [(&self.validators, validators, here), (validators, &self.validators, there)] {
                for validator in ours.iter().filter(|v| !theirs.contains(v)) {
                    let ValidatorPower { key, power } = validator;
                    differs.push(format!("validator {} with power {power} is only in {place}", text::escape(key)));
                }
            }
        }
        if self.state_digest != other.state_digest && differs.is_empty() {
            let what = if other.validators.is_none() {
                "the validators"
            } else {
                "the digest itself: it is not that of its tables"
            };
            differs.push(format!("{what} ({} in {here}, {} in {there})", self.state_digest, other.state_digest));
        }
        let versions = |server: Option<u32>, dump: Option<u32>| Some((server?, dump?));
        let schema =
            match (versions(self.server_major, self.dump_major), versions(other.server_major, other.dump_major)) {
                (Some(ours), Some(theirs)) if ours == theirs => {
                    if self.schema_digest == other.schema_digest {
                        "equal".to_owned()
                    } else {
                        differs.push("the schema (tables, indexes, functions: the DDL)".to_owned());
                        "different".to_owned()
                    }
                }
                (Some(ours), Some(theirs)) => format!(
                    "not compared: PostgreSQL {} and pg_dump {} in {here}, {} and {} in {there}",
                    ours.0, ours.1, theirs.0, theirs.1
                ),
                _ => "not compared: the versions of PostgreSQL and pg_dump are not known".to_owned(),
            };
        let mut notes = Vec::new();
        if let (Some(ours), Some(theirs)) = (self.height, other.height)
            && ours != theirs
        {
            notes.push(format!("height {ours} in {here}, {theirs} in {there}: not part of the digest"));
        }
        Comparison { equal: differs.is_empty(), differs, schema, notes }
    }

    /// Refuses the state of a text that is not the one that was signed.
    ///
    /// # Errors
    /// `Kind::Verify`, which names the tables that differ.
    pub fn check(&self, signed: &StateDigest) -> Result<()> {
        let mut found = self.compare(&Other::from(signed), "the snapshot", "the manifest");
        // Of one text, whatever wrote it.
        if self.schema_digest != signed.schema_digest {
            found.differs.push("the schema".to_owned());
        }
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

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.equal {
            writeln!(f, "The two states are equal.")?;
        } else {
            writeln!(f, "The two states DIFFER:")?;
        }
        for part in &self.differs {
            writeln!(f, "  {part}")?;
        }
        writeln!(f, "  schema         {}", self.schema)?;
        for note in &self.notes {
            writeln!(f, "  note           {note}")?;
        }
        Ok(())
    }
}
