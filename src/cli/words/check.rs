//! What `setup check` and `join --check` tell.

use std::fmt;

use serde::Serialize;

use super::{advice, finding::FindingResult};
use crate::app::check::MachineReport;

/// What a check found, with its fixes in words.
#[derive(Debug, Serialize)]
pub(crate) struct CheckResult<'a> {
    #[serde(flatten)]
    report: &'a MachineReport,
    findings: Vec<FindingResult>,
}

impl<'a> CheckResult<'a> {
    pub(crate) fn of(report: &'a MachineReport) -> Self {
        CheckResult { report, findings: FindingResult::all(&report.findings) }
    }
}

impl fmt::Display for CheckResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.report.checks {
            writeln!(f, "{:<8} {:<18} {}", line.level, line.code, line.text)?;
            match &line.next {
                Some(next) if line.level == "ok" => writeln!(f, "{:<27} see: {}", "", advice(next))?,
                Some(next) => writeln!(f, "{:<27} fix: {}", "", advice(next))?,
                None => {}
            }
        }
        if let Some(fixes) = &self.report.fixes {
            writeln!(f)?;
            if fixes.sql.is_empty() && fixes.shell.is_empty() {
                writeln!(f, "Nothing that a statement or a command alone puts right.")?;
            }
            if !fixes.sql.is_empty() {
                writeln!(f, "-- For a superuser, e.g. in psql -d postgres; nothing of it was run:")?;
                for sql in &fixes.sql {
                    writeln!(f, "{sql}")?;
                }
                if fixes.restart {
                    writeln!(f, "-- then restart the server")?;
                }
            }
            if !fixes.shell.is_empty() {
                writeln!(f, "# For a shell; nothing of it was run:")?;
                for line in &fixes.shell {
                    writeln!(f, "{line}")?;
                }
            }
        }
        if self.report.ok {
            write!(f, "{}", self.report.verdict())?;
        }
        Ok(())
    }
}
