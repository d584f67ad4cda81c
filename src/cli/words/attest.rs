//! What `snapshot attest` found.

use std::fmt;

use crate::{app::attest::Attested, base::text};

/// Differences that are shown; the JSON has all of them.
const SHOWN: usize = 20;

impl fmt::Display for Attested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compared = &self.compared;
        let what = if compared.agrees { "AGREES with" } else { "is NOT" };
        writeln!(f, "The old node's database {what} what {} signed.", self.lead)?;
        writeln!(f, "  manifest  {}", self.manifest_id)?;
        writeln!(f, "  digest    {}", compared.state_digest)?;
        writeln!(f, "  height    {}, the manifest's is {}", compared.height, compared.manifest_height)?;
        for difference in compared.differs.iter().take(SHOWN) {
            writeln!(f, "  differs   {}", text::escape(difference))?;
        }
        if compared.differs.len() > SHOWN {
            writeln!(f, "  and {} more", compared.differs.len() - SHOWN)?;
        }
        match &self.genesis_changes {
            None => writeln!(f, "  genesis   not compared: none lies beside the manifest")?,
            Some(changes) if changes.is_empty() => writeln!(f, "  genesis   as the old network has it")?,
            Some(changes) => {
                for change in changes {
                    writeln!(f, "  accepted  {}", text::escape(&change.to_string()))?;
                }
            }
        }
        writeln!(f, "  signed by {}", self.signer)?;
        writeln!(f, "{}: {}", if compared.agrees { "attestation" } else { "dissent" }, self.attestation.display())?;
        write!(f, "give it to the lead, or pass it on yourself: --attestation {}", self.attestation.display())
    }
}
