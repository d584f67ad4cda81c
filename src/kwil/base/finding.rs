//! What a check saw: how much it matters, a word for scripts, a sentence for people, and what to do about it.

use std::fmt;

use serde::Serialize;

/// How much a finding matters; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// kwild would refuse it, or do what nobody wants.
    Error,
    /// To be looked at.
    Warning,
    /// Good to know.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// A word for scripts; it never changes its meaning.
    pub code: &'static str,
    /// Where: a JSON path such as `validators[2].power`, a setting, a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was seen and what comes of it.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// A finding of this level.
    pub fn new(level: Level, code: &'static str, text: impl Into<String>) -> Self {
        Finding { level, code, path: None, text: text.into(), fix: None }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
