//! A finding of a check as JSON shows it, with its fix in words.

use serde::Serialize;

use super::advice;
use crate::base::{Finding, Level};

/// One thing that a check saw, ready to be printed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FindingResult {
    pub(crate) level: Level,
    pub(crate) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

impl FindingResult {
    pub(crate) fn of(finding: &Finding) -> Self {
        FindingResult {
            level: finding.level,
            code: finding.code,
            path: finding.path.clone(),
            text: finding.text.clone(),
            fix: finding.fix.as_ref().map(advice),
        }
    }

    pub(crate) fn all(findings: &[Finding]) -> Vec<Self> {
        findings.iter().map(FindingResult::of).collect()
    }
}
