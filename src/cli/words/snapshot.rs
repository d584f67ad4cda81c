//! What `snapshot create`, `snapshot guard` and `snapshot verify` tell of a snapshot.

use std::fmt;

use kwil_formats::formats::Validator;
use serde::Serialize;

use super::finding::FindingResult;
use crate::{
    base::text,
    snapshot::{Created, Guarded, Verified},
};

/// The most validators of the old network that are listed.
const VALIDATORS_SHOWN: usize = 20;

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Kwil's own line ends in a blank.
        writeln!(f, "Snapshot created successfully at height: {} ", self.height)?;
        for line in &self.logs {
            writeln!(f, "{line}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "  {} of text as {}: {} in {}, in {:.1} s",
            text::bytes(self.bytes),
            text::bytes(self.file_bytes),
            text::count(self.rows, "row"),
            text::count(self.tables, "table"),
            self.seconds
        )?;
        let old = match &self.old_chain_id {
            Some(old) => format!("\"{}\" becomes", text::escape(old)),
            None => "(the old one is not known)".to_owned(),
        };
        if let Some(digest) = &self.state_digest {
            writeln!(f, "  digest      {digest}")?;
        }
        writeln!(f, "  chain id    {old} \"{}\"", text::escape(&self.chain_id))?;
        writeln!(f, "  validators  {} carried over", self.validators)?;
        for Validator { key, power } in self.validator_powers.iter().take(VALIDATORS_SHOWN) {
            writeln!(f, "    {key}  power {power}")?;
        }
        if self.validator_powers.len() > VALIDATORS_SHOWN {
            writeln!(f, "    and {} more", self.validator_powers.len() - VALIDATORS_SHOWN)?;
        }
        match (self.parameters_carried_over, self.differs_from_template.is_empty()) {
            (true, true) => writeln!(f, "  parameters  carried over: the same as Kwil's template has")?,
            (true, false) => {
                writeln!(f, "  parameters  carried over from the old network, other than Kwil's template:")?
            }
            (false, true) => {
                writeln!(f, "  parameters  Kwil's defaults (--template), which are the old network's too")?
            }
            (false, false) => writeln!(f, "  parameters  Kwil's defaults (--template); the old network had:")?,
        }
        for difference in &self.differs_from_template {
            writeln!(f, "    {difference}")?;
        }
        if self.rescued_rows > 0 || !self.rescued_lines.is_empty() {
            writeln!(f, "  kept, where Kwil's own tool would have lost it:")?;
            for (table, rows) in &self.rescued_tables {
                writeln!(f, "    {} of {}", text::count(*rows, "row"), text::escape(table))?;
            }
            for (object, lines) in &self.rescued_lines {
                writeln!(f, "    {} in {}", text::count(*lines, "line"), text::escape(object))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.guarded {
            writeln!(f, "The snapshot had the guard already; it was copied as it is.")?;
        } else {
            writeln!(f, "The snapshot has the guard now: psql loads all of it or nothing.")?;
        }
        writeln!(f, "  snapshot    {}", self.snapshot.display())?;
        writeln!(f, "  genesis     {}", self.genesis.display())?;
        writeln!(f, "  state hash  {}", self.state_hash)?;
        writeln!(f, "  text        {} in {} bytes", text::bytes(self.bytes), self.bytes)?;
        writeln!(f, "  data        {} in {}", text::count(self.rows, "row"), text::count(self.tables, "table"))?;
        for left_out in &self.left_out {
            writeln!(f, "  {left_out}")?;
        }
        if !self.guarded {
            writeln!(f, "Every node of the new network must use this genesis: the state hash in it is another one.")?;
        }
        Ok(())
    }
}

/// What a verified snapshot is, with the findings in words.
#[derive(Debug, Serialize)]
pub(crate) struct VerifyResult<'a> {
    #[serde(flatten)]
    verified: &'a Verified,
    findings: Vec<FindingResult>,
}

impl<'a> VerifyResult<'a> {
    pub(crate) fn of(verified: &'a Verified) -> Self {
        VerifyResult { verified, findings: FindingResult::all(&verified.findings) }
    }
}

impl fmt::Display for VerifyResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verified = self.verified;
        writeln!(f, "The snapshot is what its genesis pins, and holds nothing but a Kwil dump's statements.")?;
        writeln!(f, "  family      {}", verified.family)?;
        writeln!(f, "  state hash  {}", verified.state_hash)?;
        if let Some(digest) = verified.state_digest {
            writeln!(f, "  digest      {digest}")?;
        }
        if let Some(height) = verified.height {
            writeln!(f, "  height      {height}")?;
        }
        writeln!(f, "  text        {} in {} bytes", text::bytes(verified.bytes), verified.bytes)?;
        writeln!(
            f,
            "  data        {} in {}",
            text::count(verified.rows, "row"),
            text::count(verified.tables, "table")
        )?;
        for (table, rows) in verified.table_rows.iter().flatten() {
            writeln!(f, "    {rows:>12}  {}", text::escape(table))?;
        }
        for finding in &self.findings {
            writeln!(f, "{}: {}", finding.level, finding.text)?;
        }
        Ok(())
    }
}
