//! What `snapshot digest` tells of a state and of two.

use std::fmt;

use crate::{
    base::text,
    snapshot::digest::{Comparison, Digest},
};

/// Writes everything but the tables in words.
pub(crate) fn summary(digest: &Digest, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let major = |major: Option<u32>| major.map_or_else(|| "not known".to_owned(), |m| m.to_string());
    writeln!(f, "state digest   {}", digest.state_digest)?;
    writeln!(f, "schema digest  {}", digest.schema_digest)?;
    writeln!(f, "  server       PostgreSQL {}, pg_dump {}", major(digest.server_major), major(digest.dump_major))?;
    writeln!(f, "  family       {}", digest.family)?;
    match digest.height {
        Some(height) => writeln!(f, "  height       {height} (not part of the digest)")?,
        None => writeln!(f, "  height       not known")?,
    }
    writeln!(f, "  validators   {}", digest.validators.len())?;
    let rows = digest.tables.iter().map(|t| t.rows).sum();
    writeln!(f, "  data         {} in {}", text::count(rows, "row"), text::count(digest.tables.len() as u64, "table"))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        summary(self, f)?;
        for table in &self.tables {
            writeln!(f, "    {:>12}  {}  {}", table.rows, table.digest.short(), text::escape(&table.name))?;
        }
        Ok(())
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
        if !self.edited.is_empty() {
            writeln!(f, "The genesis was edited: its validators are not those of the state, and are not compared")?;
            writeln!(f, "(--validators does).")?;
        }
        for part in &self.edited {
            writeln!(f, "  {part}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note           {note}")?;
        }
        Ok(())
    }
}
