//! What a check saw: how much it matters, a word for scripts, a sentence for people, and what to do about it.

use std::fmt;

use serde::Serialize;

use super::Advice;

/// How much a finding matters; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// kwild would refuse it, or do what nobody wants.
    Error,
    /// Nothing refuses it, but an operator should look whether it is meant.
    Warning,
    /// Worth knowing; nothing is wrong.
    Note,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        })
    }
}

/// One thing that a check saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The name of this sort of finding, for scripts; it never changes its meaning.
    pub code: &'static str,
    /// Where it was seen: a JSON path such as `validators[2].power`, a setting or a file; `None` where it has no place.
    pub path: Option<String>,
    /// What was seen and what comes of it.
    pub text: String,
    /// What the operator does about it; `None` where nothing is advised.
    pub fix: Option<Advice>,
}

impl Finding {
    /// A finding of this level, code and text, with neither path nor fix.
    pub fn new(level: Level, code: &'static str, text: impl Into<String>) -> Self {
        Finding { level, code, path: None, text: text.into(), fix: None }
    }

    /// Adds the path: where it was seen.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Adds the fix: what the operator does about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<Advice>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
