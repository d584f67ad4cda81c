//! What the lead posts to the validators: when, with which words, who must say what, which commands, and the way back.

use std::{
    fmt::{self, Write as _},
    time::{Duration, SystemTime},
};

use kwil_formats::formats::{Family, Validator};
use serde::Serialize;

use super::drill::duration;
use crate::{app::drill::Prediction, base::text, cli::guide::in_family, manifest::Attestations};

/// Old validators that are listed.
const LISTED_MAX: usize = 64;
/// What is added to the prediction before it is decided whether to go back, at least.
const MARGIN: Duration = Duration::from_secs(30 * 60);

/// Who has to say that the signed state is theirs.
#[derive(Debug)]
pub(crate) struct Attesters {
    pub(crate) rule: Attestations,
    /// The old network's; empty where they are not known.
    pub(crate) validators: Vec<Validator>,
}

/// What is known of a migration beforehand.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) family: Family,
    pub(crate) old_chain_id: Option<String>,
    pub(crate) new_chain_id: Option<String>,
    pub(crate) height: Option<i64>,
    /// The ticket's six words, once there is a ticket.
    pub(crate) phrase: Option<String>,
    /// None before it is known what must be attested.
    pub(crate) attesters: Option<Attesters>,
    pub(crate) expires_unix_seconds: Option<u64>,
    /// When the old network is halted.
    pub(crate) halt: Option<SystemTime>,
    /// From the halt to the ticket.
    pub(crate) prepare: Duration,
    pub(crate) prediction: Prediction,
}

/// The plan as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    plan: String,
    halt: Option<String>,
    ticket: String,
    everyone_has_it: String,
    decide: String,
    fetch_s: f64,
    bound_s: f64,
    phrase: Option<String>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plan)
    }
}

impl Plan {
    /// The time so long after the halt.
    fn at(&self, after: Duration) -> String {
        // Whole minutes are what people keep to.
        let minutes = after.as_secs().div_ceil(60);
        match self.halt.and_then(|halt| halt.checked_add(Duration::from_secs(minutes * 60))) {
            Some(time) => {
                let text = humantime::format_rfc3339_seconds(time).to_string();
                format!("{} {} UTC", &text[..10], &text[11..16])
            }
            None if minutes == 0 => "the halt".to_owned(),
            None => format!("halt + {} h {:02} min", minutes / 60, minutes % 60),
        }
    }

    fn fetch(&self) -> Duration {
        Duration::try_from_secs_f64(self.prediction.finish_s).unwrap_or(Duration::MAX / 4)
    }

    /// Twice the time that was predicted, and never less than a margin.
    fn decide(&self) -> Duration {
        self.prepare.saturating_add(self.fetch().saturating_mul(2).max(self.fetch().saturating_add(MARGIN)))
    }

    /// The text, and what of it programs may want.
    pub(crate) fn told(&self) -> Told {
        let plan =
            [self.head(), self.times(), self.words(), self.attesters(), self.commands(), self.way_back()].join("\n");
        Told {
            plan,
            halt: self.halt.map(|_| self.at(Duration::ZERO)),
            ticket: self.at(self.prepare),
            everyone_has_it: self.at(self.prepare.saturating_add(self.fetch())),
            decide: self.at(self.decide()),
            fetch_s: self.prediction.finish_s,
            bound_s: self.prediction.bound_s,
            phrase: self.phrase.clone(),
        }
    }

    fn head(&self) -> String {
        let name = |id: &Option<String>, other: &str| id.as_deref().map_or_else(|| other.to_owned(), text::escape);
        let (old, new) = (name(&self.old_chain_id, "the old network"), name(&self.new_chain_id, "the new one"));
        let height = self.height.map_or_else(String::new, |height| format!(", whose last block is {height}"));
        format!("Migration of {old} to {new} (Kwil {}){height}\n", self.family)
    }

    fn times(&self) -> String {
        let p = &self.prediction;
        let nodes = text::count(p.peers.len() as u64, "node");
        let (fetch, bound) = (duration(p.finish_s), duration(p.bound_s));
        let rows = [
            (self.at(Duration::ZERO), "every validator stops kwild of the old network, all at one height".to_owned()),
            (self.at(self.prepare), "the ticket is there; whoever has none by then asks the lead".to_owned()),
            (
                self.at(self.prepare.saturating_add(self.fetch())),
                format!(
                    "everyone has everything: {} to {nodes} take {fetch} by a simulation of the lines that were declared, and no swarm \
                     is done before {bound}",
                    text::bytes(p.size_bytes)
                ),
            ),
            (self.at(self.decide()), "not enough validators are ready: we go back, as told below".to_owned()),
        ];
        let width = rows.iter().map(|(at, _)| at.len()).max().unwrap_or(0);
        let mut text = "When\n".to_owned();
        for (at, what) in rows {
            let _ = writeln!(text, "  {at:width$}  {what}");
        }
        if let Some(end) = self.expires_unix_seconds {
            let _ = writeln!(text, "  The manifest is good until {}.", text::time(end));
        }
        text
    }

    fn words(&self) -> String {
        let phrase = match &self.phrase {
            Some(phrase) => format!("  Its six words: {phrase}\n"),
            None => {
                "  Its six words: (the lead reads them out, and posts them here, once there is a ticket)\n".to_owned()
            }
        };
        format!(
            "The ticket\n  Each validator gets it from the lead directly, never in a group: whoever has it can fetch the snapshot.\n{phrase}  \
             Whose ticket shows other words has another one, and stops: step 1 of the validators.\n"
        )
    }

    fn attesters(&self) -> String {
        let Some(attesters) = &self.attesters else {
            let rule = match self.family {
                Family::V09 => "more than two thirds of the power",
                Family::V010 => "the leader and more than half of the power",
            };
            return format!(
                "Who must attest\n  Unless the lead signs another rule, what the old network itself needed: {rule}. Keep the old databases.\n"
            );
        };
        if attesters.rule == Attestations::None {
            return "Who must attest\n  Nobody: everyone believes the lead.\n".to_owned();
        }
        let mut text =
            format!("Who must attest\n  {}. They keep their old databases, and join with them.\n", attesters.rule);
        for validator in attesters.validators.iter().take(LISTED_MAX) {
            let _ = writeln!(text, "  - {}  power {}", validator.key, validator.power);
        }
        let more = attesters.validators.len().saturating_sub(LISTED_MAX);
        if more > 0 {
            let _ = writeln!(text, "  - and {more} more");
        }
        text
    }

    fn commands(&self) -> String {
        in_family(include_str!("../guide/plan.txt"), self.family)
    }

    fn way_back(&self) -> String {
        in_family(include_str!("../guide/back.txt"), self.family)
    }
}
