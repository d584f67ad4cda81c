//! `guide`: the runbook of a part in a migration, step by step, with commands to copy.

use std::fmt;

use clap::{Args, ValueEnum};
use kwil_formats::formats::Family;
use serde::Serialize;

use super::Session;
use crate::{base::Result, setup::key_file_name};

/// Flags of `guide`.
#[derive(Debug, Args)]
pub(crate) struct GuideArgs {
    /// Whose part: lead, validator or relay; airgap for a migration on removable media
    #[arg(value_enum, hide_possible_values = true)]
    part: Part,
    /// Which family's names the commands have
    #[arg(long, value_enum, default_value_t = FamilyName::V010, hide_possible_values = true, value_name = "v0.9|v0.10")]
    family: FamilyName,
}

/// A part that somebody has in a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Lead,
    Validator,
    Relay,
    Airgap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FamilyName {
    #[value(name = "v0.9")]
    V09,
    #[value(name = "v0.10")]
    V010,
}

impl From<FamilyName> for Family {
    fn from(name: FamilyName) -> Self {
        match name {
            FamilyName::V09 => Family::V09,
            FamilyName::V010 => Family::V010,
        }
    }
}

impl GuideArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let family = Family::from(self.family);
        session.output.result(&Guide { guide: text_of(self.part, family) })
    }
}

#[derive(Debug, Serialize)]
struct Guide {
    guide: String,
}

impl fmt::Display for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.guide)
    }
}

fn text_of(part: Part, family: Family) -> String {
    let template = match part {
        Part::Lead => include_str!("guide/lead.txt"),
        Part::Validator => include_str!("guide/validator.txt"),
        Part::Relay => include_str!("guide/relay.txt"),
        Part::Airgap => include_str!("guide/airgap.txt"),
    };
    in_family(template, family)
}

/// A text with the names that things have in a family.
pub(crate) fn in_family(template: &str, family: Family) -> String {
    let (database, start) = match family {
        Family::V09 => ("--app.pg-db-name", "kwild --root-dir ~/.kwild-new"),
        Family::V010 => ("--db.dbname", "kwild start -r ~/.kwild-new"),
    };
    let values = [
        ("{family}", family.to_string()),
        ("{key}", key_file_name(family).to_owned()),
        ("{snapshot}", family.snapshot_file_name().to_owned()),
        ("{database}", database.to_owned()),
        ("{start}", start.to_owned()),
    ];
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::misspelt;

    #[test]
    fn every_command_of_every_guide_can_be_run() {
        for family in [Family::V09, Family::V010] {
            for (part, commands) in [(Part::Lead, 7), (Part::Validator, 5), (Part::Relay, 4), (Part::Airgap, 6)] {
                let text = text_of(part, family);
                assert_eq!(misspelt(&text), [""; 0], "{part:?} {family}");
                assert!(text.lines().filter(|line| line.starts_with("    regenesis ")).count() >= commands, "{text}");
                assert!(!text.contains(['{', '}']), "a name without its value: {text}");
            }
        }
    }
}
