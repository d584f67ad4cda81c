//! PURE: when everybody has everything, no sooner than when that can be, and on whom it hangs; judged from what one node has seen of the
//! lines. Rates are in bytes a second.

use serde::{Deserialize, Serialize};

use crate::base::text;

/// Names in one line.
const NAMES_SHOWN: usize = 4;
/// A node whose line needs so many times as long as the next slowest is the one that all wait for.
const LATE: f64 = 1.3;
/// Who gains less than this part of what others gain is held up by its own line.
const SLOW: f64 = 0.7;
/// A node that lacks something and has gained nothing for so long stands still.
pub(super) const STILL_SECONDS: u64 = 10;

/// When it ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimate {
    /// Until this node has everything, as it goes now; null where it has, or where that is not known.
    pub own_seconds: Option<u64>,
    /// Until everyone who is here has everything, as it goes now; null where they have, or where that is not known.
    pub everyone_seconds: Option<u64>,
    /// No sooner than this, on the best that the lines have shown; null where they have shown nothing.
    pub bound_seconds: Option<u64>,
    /// What it hangs on.
    pub limit: Limit,
}

/// What everything waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// What it is.
    pub by: By,
    /// Whose, by the names that people know them by.
    pub who: Vec<String>,
    /// The same in words.
    pub words: String,
}

/// See [`Limit`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Nothing is waited for.
    #[default]
    Nothing,
    /// Nobody is here.
    NoMember,
    /// The manifest has not come yet.
    NoManifest,
    /// What is missing is with nobody who is here.
    NobodyHasIt,
    /// This node's uplink: first copies have still to leave it.
    OwnUplink,
    /// This node's line.
    OwnLine,
    /// The uplink of who has what nobody else has.
    Uplink,
    /// Those who have it send nothing.
    Silence,
    /// The line of one node, which is slower than the others.
    Line,
    /// A node that lacks something and stands still.
    Still,
    /// All lines together.
    Lines,
    /// The check on this machine.
    Check,
    /// Co-signers who have not signed the manifest.
    Signature,
    /// Old validators that have said nothing yet.
    Attestation,
    /// Old validators that hold another state.
    Dissent,
    /// New validators whose started nodes do not hold what was signed.
    Alarm,
    /// New validators that are not ready.
    Readiness,
}

/// How a node's files grow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Growth {
    /// Bytes that it lacks.
    pub(super) left: u64,
    /// Bytes that it gains in a second, lately.
    pub(super) rate: f64,
    /// The most that it has gained in a second.
    pub(super) best: f64,
    /// Seconds since it last gained something, or was first seen.
    pub(super) still_seconds: u64,
}

impl Growth {
    fn seconds(&self) -> Option<f64> {
        (self.left > 0 && self.rate >= 1.0).then(|| self.left as f64 / self.rate)
    }

    fn is_still(&self) -> bool {
        self.left > 0 && self.still_seconds >= STILL_SECONDS
    }
}

/// What one node has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The manifest is known.
    pub(super) manifest: bool,
    /// This node neither fetches nor serves.
    pub(super) watches: bool,
    pub(super) own: Growth,
    /// Members that are here.
    pub(super) members: usize,
    /// Those of them that lack something, by name.
    pub(super) others: Vec<(String, Growth)>,
    /// Those of them that have everything.
    pub(super) seeds: Vec<String>,
    /// Bytes that one node has and no other.
    pub(super) single_bytes: u64,
    /// Of what this node lacks, the part that only those have that came with everything; 0 to 1.
    pub(super) behind_seeds: f64,
    /// Chunks that this node lacks and nobody has who is here.
    pub(super) nowhere: u32,
    /// Bytes that leave this node in a second, lately and at most.
    pub(super) out_rate: f64,
    pub(super) out_best: f64,
    /// The check of what was fetched goes on.
    pub(super) checks: bool,
    /// Co-signers who have not signed the manifest, where more must.
    pub(super) unsigned: Vec<String>,
    /// Old validators that have not spoken, where more must; and those that dissent, where the rule cannot be met any more.
    pub(super) silent: Vec<String>,
    pub(super) lost: Vec<String>,
    /// New validators whose started nodes do not hold what was signed.
    pub(super) differing: Vec<String>,
    /// New validators that are not ready.
    pub(super) not_ready: Vec<String>,
    pub(super) quorum: bool,
}

impl Seen {
    /// When it ends, and on whom that hangs.
    pub(super) fn estimate(&self) -> Estimate {
        let own_seconds = self.own.seconds();
        let all = self.others.iter().map(|(_, growth)| growth).chain((!self.watches).then_some(&self.own));
        let lacking: Vec<&Growth> = all.filter(|growth| growth.left > 0).collect();
        // Who has just come has no rate yet; who stands still ends nowhere.
        let known = lacking.iter().filter_map(|growth| growth.seconds()).reduce(f64::max);
        let everyone = known.filter(|_| !lacking.iter().any(|growth| growth.is_still()));
        let bound = self.bound(&lacking);
        let whole = |seconds: f64| seconds.ceil() as u64;
        Estimate {
            own_seconds: own_seconds.filter(|_| !self.watches && !self.own.is_still()).map(whole),
            everyone_seconds: everyone.map(whole),
            // What was seen is in both: as it goes now is never sooner than it can be.
            bound_seconds: bound.map(|bound| whole(everyone.map_or(bound, |seconds| seconds.min(bound)))),
            limit: self.limit(),
        }
    }

    /// `max(first copies / the uplink, what each lacks / its line, what all lack / all lines)`, with the best that was seen of each.
    fn bound(&self, lacking: &[&Growth]) -> Option<f64> {
        let over = |left: u64, rate: f64| (left > 0 && rate >= 1.0).then(|| left as f64 / rate);
        let left_of_all = lacking.iter().map(|growth| growth.left).sum();
        let best_of_all = lacking.iter().map(|growth| growth.best).sum();
        let first = if self.own.left == 0 && !self.watches { self.single_bytes } else { 0 };
        let each = lacking.iter().filter_map(|growth| over(growth.left, growth.best));
        each.chain(over(first, self.out_best)).chain(over(left_of_all, best_of_all)).reduce(f64::max)
    }

    fn limit(&self) -> Limit {
        let (by, who) = self.cause();
        let words = words(by, &who, self.quorum);
        Limit { by, who, words }
    }

    fn cause(&self) -> (By, Vec<String>) {
        if !self.lost.is_empty() {
            return (By::Dissent, self.lost.clone());
        }
        if !self.differing.is_empty() {
            return (By::Alarm, self.differing.clone());
        }
        // Where enough are ready, nobody waits for anybody to come.
        let alone = self.members == 0 && !(self.quorum && self.own.left == 0 && !self.watches);
        if alone && (!self.manifest || self.own.left > 0 || self.watches || self.single_bytes > 0) {
            return (By::NoMember, Vec::new());
        }
        if !self.manifest {
            return (By::NoManifest, Vec::new());
        }
        if self.own.left > 0 && !self.watches {
            return self.own_cause();
        }
        if let Some(cause) = self.others_cause() {
            return cause;
        }
        if self.checks {
            return (By::Check, Vec::new());
        }
        if !self.unsigned.is_empty() {
            return (By::Signature, self.unsigned.clone());
        }
        if !self.silent.is_empty() {
            return (By::Attestation, self.silent.clone());
        }
        if !self.not_ready.is_empty() {
            return (By::Readiness, self.not_ready.clone());
        }
        (By::Nothing, Vec::new())
    }

    /// Why this node does not have everything yet.
    fn own_cause(&self) -> (By, Vec<String>) {
        if self.nowhere > 0 && self.own.rate < 1.0 {
            return (By::NobodyHasIt, Vec::new());
        }
        if self.own.is_still() {
            return (By::Silence, self.seeds.clone());
        }
        let mut rates: Vec<f64> =
            self.others.iter().map(|(_, growth)| growth.rate).filter(|rate| *rate >= 1.0).collect();
        rates.sort_by(f64::total_cmp);
        let usual = rates.get(rates.len() / 2);
        if usual.is_some_and(|usual| self.own.rate < usual * SLOW) {
            return (By::OwnLine, Vec::new());
        }
        // Where nearly all that is missing has yet to leave those that came with it, nobody's own line is the matter.
        if self.behind_seeds >= 0.9 && !self.seeds.is_empty() {
            return (By::Uplink, self.seeds.clone());
        }
        (By::Lines, Vec::new())
    }

    /// Why others do not have everything yet.
    fn others_cause(&self) -> Option<(By, Vec<String>)> {
        let lacking = || self.others.iter().filter(|(_, growth)| growth.left > 0);
        lacking().next()?;
        let still: Vec<String> =
            lacking().filter(|(_, growth)| growth.is_still()).map(|(name, _)| name.clone()).collect();
        if !still.is_empty() {
            return Some((By::Still, still));
        }
        let mut ends: Vec<(f64, &String)> =
            lacking().filter_map(|(name, growth)| Some((growth.seconds()?, name))).collect();
        ends.sort_by(|a, b| b.0.total_cmp(&a.0));
        let last = ends.first().map_or(0.0, |(seconds, _)| *seconds);
        let first_copies = self.single_bytes as f64 / self.out_rate.max(1.0);
        if self.single_bytes > 0 && !self.watches && self.own.left == 0 && first_copies >= last * SLOW {
            return Some((By::OwnUplink, Vec::new()));
        }
        Some(match ends.as_slice() {
            [(_, name)] => (By::Line, vec![(*name).clone()]),
            [(slowest, name), (next, _), ..] if *slowest > next * LATE => (By::Line, vec![(*name).clone()]),
            _ => (By::Lines, Vec::new()),
        })
    }
}

fn words(by: By, who: &[String], quorum: bool) -> String {
    let names = text::first_few(who, NAMES_SHOWN);
    let theirs = |what: &str| format!("the {what} of {}", text::count(who.len() as u64, "old validator"));
    match by {
        By::Nothing => "nothing: everyone is ready".to_owned(),
        By::NoMember => "the others: nobody else is here yet".to_owned(),
        By::NoManifest => "the manifest, which no member has given yet".to_owned(),
        By::NobodyHasIt => "somebody who has what is missing: nobody here has it".to_owned(),
        By::OwnUplink => "this node's uplink: first copies have still to leave it".to_owned(),
        By::OwnLine => "this node's own line: others gain more".to_owned(),
        By::Uplink => format!("the uplink of {names}: what is missing is with nobody else"),
        By::Silence if names.is_empty() => "those who are here: nothing comes from them".to_owned(),
        By::Silence => format!("{names}: nothing comes from there"),
        By::Line => format!("the line of {names}"),
        By::Still => format!("{names}, who {} nothing at present", if who.len() == 1 { "gains" } else { "gain" }),
        By::Lines => "all lines together: none is idle".to_owned(),
        By::Check => "the check on this machine".to_owned(),
        By::Signature => {
            format!("the signature of {} under the manifest: {names}", text::count(who.len() as u64, "co-signer"))
        }
        By::Attestation => format!("{} about the old state: {names}", theirs("word")),
        By::Dissent => format!("{}, so that nobody may set a root up: {names}", theirs("DISSENT")),
        By::Alarm => format!("ALARM: what was signed is not what the started node of {names} holds"),
        By::Readiness if quorum => format!("nothing: enough are ready to make blocks; not yet: {names}"),
        By::Readiness => {
            let are = if who.len() == 1 { "is" } else { "are" };
            format!("{} that {are} not ready: {names}", text::count(who.len() as u64, "validator"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(left: u64, rate: f64) -> Growth {
        Growth { left, rate, best: rate, still_seconds: 0 }
    }

    fn named(all: &[(&str, Growth)]) -> Vec<(String, Growth)> {
        all.iter().map(|(name, growth)| ((*name).to_owned(), *growth)).collect()
    }

    /// A lead that has everything, and two that fetch.
    fn lead(single_bytes: u64, others: &[(&str, Growth)]) -> Seen {
        Seen {
            manifest: true,
            members: others.len(),
            others: named(others),
            single_bytes,
            out_rate: 100.0,
            out_best: 100.0,
            ..Seen::default()
        }
    }

    #[test]
    fn a_lead_whose_first_copies_are_still_to_go_out_waits_for_its_own_uplink() {
        let seen = lead(10_000, &[("a", growth(10_500, 105.0)), ("b", growth(10_400, 104.0))]);
        let estimate = seen.estimate();
        assert_eq!(estimate.limit.by, By::OwnUplink);
        assert_eq!(
            (estimate.everyone_seconds, estimate.bound_seconds, estimate.own_seconds),
            (Some(100), Some(100), None)
        );
    }

    #[test]
    fn one_that_is_much_later_than_the_others_is_named() {
        let seen = lead(0, &[("a", growth(1000, 100.0)), ("slow", growth(9000, 100.0)), ("b", growth(1200, 100.0))]);
        let estimate = seen.estimate();
        assert_eq!((estimate.limit.by, estimate.limit.words.as_str()), (By::Line, "the line of slow"));
        assert_eq!(estimate.everyone_seconds, Some(90));
        let even = lead(0, &[("a", growth(1000, 100.0)), ("b", growth(1200, 100.0))]);
        assert_eq!(even.estimate().limit.by, By::Lines);
    }

    #[test]
    fn one_that_stands_still_has_no_end_and_one_that_has_just_come_is_let_begin() {
        let still = Growth { left: 10, rate: 0.0, best: 50.0, still_seconds: STILL_SECONDS };
        let estimate = lead(0, &[("a", growth(1000, 100.0)), ("gone", still)]).estimate();
        assert_eq!((estimate.limit.by, estimate.everyone_seconds), (By::Still, None));
        assert_eq!(estimate.limit.words, "gone, who gains nothing at present");
        let new = Growth { left: 10, rate: 0.0, best: 0.0, still_seconds: 2 };
        let estimate = lead(0, &[("a", growth(1000, 100.0)), ("new", new)]).estimate();
        assert_eq!((estimate.limit.by, estimate.everyone_seconds), (By::Line, Some(10)));
    }

    #[test]
    fn a_fetcher_tells_its_own_line_from_the_leads_uplink() {
        let fetcher = |own: Growth, behind_seeds: f64| Seen {
            manifest: true,
            members: 3,
            own,
            behind_seeds,
            seeds: vec!["validator lead".to_owned()],
            others: named(&[("a", growth(900, 100.0)), ("b", growth(800, 90.0))]),
            ..Seen::default()
        };
        let estimate = fetcher(growth(1000, 95.0), 0.97).estimate();
        assert_eq!(estimate.limit.words, "the uplink of validator lead: what is missing is with nobody else");
        assert_eq!(estimate.own_seconds, Some(11));
        assert_eq!(fetcher(growth(1000, 20.0), 0.97).estimate().limit.by, By::OwnLine);
        assert_eq!(fetcher(growth(1000, 95.0), 0.2).estimate().limit.by, By::Lines);
        let still = Growth { left: 10, rate: 0.0, best: 5.0, still_seconds: 40 };
        let estimate = fetcher(still, 1.0).estimate();
        assert_eq!(
            (estimate.limit.words.as_str(), estimate.own_seconds),
            ("validator lead: nothing comes from there", None)
        );
        let nowhere = Seen { nowhere: 3, ..fetcher(still, 0.0) };
        assert_eq!(nowhere.estimate().limit.by, By::NobodyHasIt);
    }

    #[test]
    fn after_the_transfer_it_hangs_on_the_check_then_on_words_of_validators() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut seen =
            Seen { checks: true, silent: names(&["5235f2f8"]), not_ready: names(&["a", "b"]), ..lead(0, &[]) };
        seen.members = 2;
        assert_eq!(seen.estimate().limit.by, By::Check);
        seen.checks = false;
        assert_eq!(seen.estimate().limit.words, "the word of 1 old validator about the old state: 5235f2f8");
        seen.silent.clear();
        assert_eq!(seen.estimate().limit.words, "2 validators that are not ready: a, b");
        seen.quorum = true;
        assert_eq!(seen.estimate().limit.words, "nothing: enough are ready to make blocks; not yet: a, b");
        seen.not_ready.clear();
        assert_eq!(seen.estimate(), Estimate { limit: seen.limit(), ..Estimate::default() });
        assert_eq!(seen.estimate().limit.by, By::Nothing);
        seen.differing = names(&["other"]);
        assert_eq!(seen.estimate().limit.words, "ALARM: what was signed is not what the started node of other holds");
        // A dissent goes before everything.
        seen.lost = names(&["bad"]);
        assert_eq!(seen.estimate().limit.by, By::Dissent);
    }

    #[test]
    fn whoever_is_alone_is_told_so() {
        let alone = Seen { own: growth(5, 0.0), ..Seen::default() };
        assert_eq!(alone.estimate().limit.by, By::NoMember);
        assert_eq!(Seen { members: 1, ..alone }.estimate().limit.by, By::NoManifest);
        let complete = Seen { manifest: true, not_ready: vec!["a".to_owned()], ..Seen::default() };
        assert_eq!(
            complete.estimate().limit.by,
            By::Readiness,
            "everyone has it and has gone: validators are waited for"
        );
        let first = Seen { single_bytes: 9, ..complete };
        assert_eq!(first.estimate().limit.by, By::NoMember);
    }
}
