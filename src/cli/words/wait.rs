//! What `wait` tells at its end.

use std::fmt;

use crate::{
    app::meet::Waited,
    base::text::{self, count},
};

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = count((self.ready.len() + self.missing.len()) as u64, "validator");
        writeln!(f, "network      {}", text::escape(&self.chain_id))?;
        writeln!(f, "manifest     {}", self.manifest_id)?;
        let out = if self.every_chunk_out { "each is with two members" } else { "not all are with two members" };
        writeln!(f, "chunks       {out}")?;
        let quorum = if self.quorum { "enough to make blocks" } else { "not enough to make blocks" };
        writeln!(f, "ready        {} of {all}: {quorum}", self.ready.len())?;
        for validator in &self.missing {
            writeln!(f, "  not ready  {} with power {}", validator.key, validator.power)?;
        }
        if let Some(path) = &self.certificate {
            writeln!(f, "certificate  {}", path.display())?;
        }
        Ok(())
    }
}
