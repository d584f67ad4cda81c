//! What `setup init` and `join` tell of a root that is ready.

use std::fmt;

use kwil_formats::formats::config::{Fate, Setting};
use serde::Serialize;

use super::{advice, next::words_of};
use crate::{app::join::Joined, base::text, setup::Initialised};

/// Settings that have Kwil's default are named up to this number; JSON has all of them.
const DEFAULTS_SHOWN: usize = 4;

impl fmt::Display for Initialised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "root ready: {}", self.root.display())?;
        writeln!(f, "  network     {} ({})", text::escape(&self.chain_id), self.family)?;
        if let Some(hash) = &self.state_hash {
            writeln!(f, "  state hash  {hash}")?;
        }
        writeln!(f, "  node id     {}", self.node_id)?;
        writeln!(f, "  files       {}", self.files.join(", "))?;
        match &self.validator {
            Some(seat) => writeln!(
                f,
                "This key is {} in the genesis, with power {} of {}.",
                if seat.leader { "the leader" } else { "a validator" },
                seat.power,
                seat.total_power
            ),
            None => writeln!(f, "This key is no validator in the genesis: the node will follow, but not vote."),
        }?;
        if self.new_genesis {
            writeln!(f, "The genesis is new: give this very file to every other node of the network.")?;
        }
        settings(&self.settings, f)?;
        writeln!(f, "Start it on an empty database with: {}", self.start_command())
    }
}

/// Writes an old node's settings in words: what went over, what did not and why, what is to be set by hand.
///
/// # Errors
/// When the text cannot be written.
pub(crate) fn settings(all: &[Setting], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (fate, title) in [
        (Fate::Carried, "Carried over from the old node:"),
        (Fate::Flag, "Set by flags instead:"),
        (Fate::Dropped, "Not carried over:"),
        (Fate::ByHand, "The old node is of the other family; set by hand what you still want:"),
    ] {
        let mut found = all.iter().filter(|setting| setting.fate == fate).peekable();
        if found.peek().is_some() {
            writeln!(f, "{title}")?;
        }
        for setting in found {
            write!(f, "  {}", setting.key)?;
            if let Some(value) = &setting.value {
                write!(f, " = {value}")?;
            }
            match (&setting.why, &setting.next) {
                (Some(why), Some(next)) => writeln!(f, "  ({why}; {})", words_of(next))?,
                (Some(why), None) => writeln!(f, "  ({why})")?,
                (None, _) => writeln!(f)?,
            }
        }
    }
    let defaults: Vec<&str> =
        all.iter().filter(|setting| setting.fate == Fate::Default).map(|setting| setting.key.as_str()).collect();
    if !defaults.is_empty() {
        writeln!(f, "Kwil's default, as before: {}", text::first_few(defaults, DEFAULTS_SHOWN))?;
    }
    Ok(())
}

/// What `join` tells at its end; its next steps in words.
#[derive(Debug, Serialize)]
pub(crate) struct JoinResult<'a> {
    #[serde(flatten)]
    joined: &'a Joined,
    next: Vec<String>,
}

impl<'a> JoinResult<'a> {
    pub(crate) fn of(joined: &'a Joined) -> Self {
        JoinResult { joined, next: joined.next.iter().map(advice).collect() }
    }
}

impl fmt::Display for JoinResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.joined.already_joined {
            writeln!(f, "root is complete and checked: {}", self.joined.root.display())?;
        } else {
            writeln!(
                f,
                "root ready: {} ({} in {:.1} s from {})",
                self.joined.root.display(),
                text::bytes(self.joined.bytes),
                self.joined.seconds,
                text::count(self.joined.sources as u64, "peer")
            )?;
        }
        if self.joined.resumed_bytes > 0 && !self.joined.already_joined {
            writeln!(f, "  not fetched again  {}", text::bytes(self.joined.resumed_bytes))?;
        }
        writeln!(f, "  network     {} ({})", text::escape(&self.joined.chain_id), self.joined.family)?;
        writeln!(f, "  state hash  {}", self.joined.state_hash)?;
        writeln!(f, "  node id     {}", self.joined.node_id)?;
        match self.joined.power {
            Some(power) if self.joined.leader => {
                writeln!(f, "  this key    leads the new network, with power {power}")?
            }
            Some(power) => writeln!(f, "  this key    is a validator in the genesis, with power {power}")?,
            None => writeln!(f, "  this key    is NO validator in the genesis: the node will follow, not vote")?,
        }
        writeln!(f, "  state       {}", self.joined.attestations)?;
        writeln!(f, "  peers       {}", self.joined.peers.words())?;
        if let Some(certificate) = &self.joined.certificate {
            writeln!(f, "  ready       enough validators to make blocks: {}", certificate.display())?;
        }
        writeln!(f, "  database    {}", self.joined.database)?;
        settings(&self.joined.settings, f)?;
        writeln!(f, "next:")?;
        for line in &self.next {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
