//! Judging a new node's state against what was signed: which tables must be as they were, which kwild itself rewrites when
//! it starts, and what nobody can tell once transactions have been made.
//!
//! What real kwild was seen to change between a snapshot and the database of a node that has started on it:
//!
//! | what | family | how it is told apart |
//! |---|---|---|
//! | chain, parameters, sentry, events, peers, migrations | both | no snapshot holds them |
//! | ids of built-in actions and of the owner's role | v0.10 | digests put names in their place |
//! | voters | both | from the genesis; compared with it |
//! | join, removal and migration proposals, with their votes | both | dropped by their types after a restore |
//! | every other proposal's expiration | both | lowered by the number in the snapshot's last line |
//! | proposals that expired since, with their votes | both | by that expiration |
//! | accounts that the genesis credits | both | no more rows than it names |
//! | the owner | v0.10 | is the genesis' |
//! | resolution types, versions, kwild's own extensions | both | a newer kwild adds and raises, never takes away |
//! | constraint `votes_voter_id_fkey` | both | in no digest of a schema |
//!
//! Everything else is changed by transactions alone, and each transaction adds one to an account's nonce. So as long as the
//! sum of the nonces is what was signed, **every** other difference is damage. Later, a table to which rows were only added
//! is as it should be; of one that lacks signed rows no digest can tell a transaction from damage, and that is said.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    base::{Blake3Hash, text},
    dump::digest::SchemaPart,
    formats::{Family, Validator},
};

mod facts;

pub use facts::{FactsReader, Resolution, StateFacts, Vote};

/// Ids of the resolution types that kwild deletes after a restore: migration, changeset_migration, validator_join,
/// validator_remove.
const DROPPED_TYPES: [&str; 4] = [
    "74f810cc5c1758858cc4c628fc342822",
    "aac35b85297856e8b279474475d902c8",
    "a05a316cc7f7557dab180c69acdaecdd",
    "2ce0f30017fd500b8c68a72a20fed7bd",
];
/// Namespaces of kwild's own extensions, which a newer kwild upgrades.
const BUILT_IN: [&str; 2] = ["kwil_erc20_meta", "kwil_ordered_sync"];
/// Schemas of kwild's own functions and views.
const KWILS_OWN: [&str; 2] = ["info", "public"];
const RESOLUTIONS: &str = "kwild_voting.resolutions";
const VOTES: &str = "kwild_voting.votes";
const ACCOUNTS: &str = "kwild_accts.accounts";

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableState<'a> {
    /// `schema.table`
    pub name: &'a str,
    /// The table's columns, in the order of its COPY.
    pub columns: &'a [String],
    /// The number of the table's rows.
    pub rows: u64,
    /// Over their sorted hashes.
    pub digest: Blake3Hash,
}

/// What was signed.
#[derive(Debug, Clone)]
pub struct SignedState<'a> {
    /// Which formats.
    pub family: Family,
    /// Tables of the snapshot.
    pub tables: Vec<TableState<'a>>,
    /// What its text tells; none without the file.
    pub facts: Option<&'a StateFacts>,
    /// The parts of its schema, sorted; none without the file, or where they are too many to hold.
    pub schema: Option<&'a [SchemaPart]>,
    /// Validators of the new genesis, as `hex#type` and power; none where only the old ones are known.
    pub validators: Option<BTreeSet<Validator>>,
    /// Accounts that the genesis credits.
    pub allocs: u64,
    /// v0.10: owner in the genesis; none without a genesis.
    pub owner: Option<&'a str>,
}

/// What the new node's database holds.
#[derive(Debug, Clone)]
pub struct FoundState<'a> {
    /// Its tables.
    pub tables: Vec<TableState<'a>>,
    /// What its text tells.
    pub facts: &'a StateFacts,
    /// The parts of its schema, sorted; none where they are too many to hold.
    pub schema: Option<&'a [SchemaPart]>,
    /// Its voters.
    pub validators: BTreeSet<Validator>,
    /// Last block.
    pub height: i64,
    /// v0.10: who owns it.
    pub owner: Option<&'a str>,
    /// Now, for what expires by the clock.
    pub unix_seconds: i64,
}

/// What a part of the state was found to be; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Row for row what was signed.
    Equal,
    /// kwild itself changed it, as every node's does.
    Kwild,
    /// Every signed row is there; transactions added others.
    Grown,
    /// It differs, and transactions have been made: they or damage.
    Unclear,
    /// It is not what was signed, and no transaction did that.
    Damage,
}

/// The verdict on a table, or on what is none: `validators`, `definitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `schema.table`, or what else.
    pub name: String,
    /// What it was found to be.
    pub verdict: Verdict,
    /// Rows that were signed; none: the table was not.
    pub signed_rows: Option<u64>,
    /// Rows in the database; none: the table is missing.
    pub rows: Option<u64>,
    /// Signed rows that are not there, where that can be known.
    pub missing: Option<u64>,
    /// Rows there that were not signed, where that can be known.
    pub added: Option<u64>,
    /// Why, in words; empty where it is equal.
    pub text: String,
}

/// The whole judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Nothing of the signed network is there: the chain began empty.
    pub not_restored: bool,
    /// Transactions since the genesis; none: that cannot be known.
    pub transactions: Option<u64>,
    /// Every table, sorted by name, then what is none.
    pub parts: Vec<Part>,
}

impl Judgement {
    /// The worst of all parts.
    pub fn verdict(&self) -> Verdict {
        self.parts.iter().map(|part| part.verdict).max().unwrap_or(Verdict::Equal)
    }
}

/// Rows that are missing and rows that were added, where both sides' rows are known.
pub type RowDifferences = Option<(u64, u64)>;

/// Judges. `differences` counts rows of a table that are missing and that were added, where the rows' hashes are known.
///
/// # Errors
/// Those of `differences`.
pub fn judge<E>(
    signed: &SignedState<'_>,
    found: &FoundState<'_>,
    differences: &mut dyn FnMut(&str) -> Result<RowDifferences, E>,
) -> Result<Judgement, E> {
    let there: BTreeMap<&str, TableState<'_>> = found.tables.iter().map(|t| (t.name, *t)).collect();
    let then: BTreeMap<&str, TableState<'_>> = signed.tables.iter().map(|t| (t.name, *t)).collect();
    let judge = Judge { signed, found, transactions: transactions(signed, found, &then, &there) };
    let mut parts = Vec::new();
    let names: BTreeSet<&str> = then.keys().chain(there.keys()).copied().collect();
    for name in names {
        let (before, after) = (then.get(name), there.get(name));
        let same = before.is_some_and(|a| after.is_some_and(|b| a.columns == b.columns && a.digest == b.digest));
        let counted = match (before, after) {
            _ if same => Some((0, 0)),
            (Some(a), Some(b)) if a.columns == b.columns => differences(name)?,
            _ => None,
        };
        let (verdict, text) = judge.table(name, before, after, same, counted);
        parts.push(Part {
            name: name.to_owned(),
            verdict,
            signed_rows: before.map(|t| t.rows),
            rows: after.map(|t| t.rows),
            missing: counted.map(|(missing, _)| missing),
            added: counted.map(|(_, added)| added),
            text,
        });
    }
    parts.extend(judge.validators());
    parts.extend(judge.definitions());
    Ok(Judgement { not_restored: not_restored(&then, &there), transactions: judge.transactions, parts })
}

/// Users' tables were signed and not one of them is there.
fn not_restored(then: &BTreeMap<&str, TableState<'_>>, there: &BTreeMap<&str, TableState<'_>>) -> bool {
    let mut users = then.keys().filter(|name| is_users(name)).peekable();
    users.peek().is_some() && users.all(|name| !there.contains_key(name))
}

fn is_users(table: &str) -> bool {
    let schema = table.split('.').next().unwrap_or_default();
    !schema.starts_with("kwild_") && !KWILS_OWN.contains(&schema) && !BUILT_IN.contains(&schema)
}

fn is_built_in(table: &str) -> bool {
    BUILT_IN.contains(&table.split('.').next().unwrap_or_default())
}

/// How many transactions there have been: one more nonce each. Accounts that are as signed had none.
fn transactions(
    signed: &SignedState<'_>,
    found: &FoundState<'_>,
    then: &BTreeMap<&str, TableState<'_>>,
    there: &BTreeMap<&str, TableState<'_>>,
) -> Option<u64> {
    match (then.get(ACCOUNTS), there.get(ACCOUNTS)) {
        (Some(before), Some(after)) if before.digest == after.digest => return Some(0),
        _ => {}
    }
    let (before, after) = (signed.facts?.nonces?, found.facts.nonces?);
    // Fewer nonces than were signed: no transaction does that.
    Some(u64::try_from(after.saturating_sub(before)).unwrap_or(u64::MAX))
}

struct Judge<'a> {
    signed: &'a SignedState<'a>,
    found: &'a FoundState<'a>,
    transactions: Option<u64>,
}

type Said = (Verdict, String);

impl Judge<'_> {
    fn table(
        &self,
        name: &str,
        before: Option<&TableState<'_>>,
        after: Option<&TableState<'_>>,
        same: bool,
        counted: Option<(u64, u64)>,
    ) -> Said {
        match name {
            RESOLUTIONS if before.is_some() && after.is_some() => return self.resolutions(same, counted),
            VOTES if before.is_some() && after.is_some() => return self.votes(same, before, after),
            _ if same => return (Verdict::Equal, String::new()),
            _ => {}
        }
        let own = |text: &str| (Verdict::Kwild, text.to_owned());
        let (Some(before), Some(after)) = (before, after) else {
            return match (before, after) {
                (Some(_), _) => self.changed("the table is missing"),
                _ if is_built_in(name) => own("a table of kwild's own extension, which a newer kwild adds"),
                _ => self.changed("the table was not signed"),
            };
        };
        let only_added = counted.map_or(after.rows >= before.rows, |(missing, _)| missing == 0);
        let (mine, theirs) = counted.unwrap_or((0, 0));
        if name.ends_with("._kwil_version") && before.rows == after.rows {
            return own("a newer kwild raised the version of its tables");
        }
        if name == "kwild_voting.resolution_types" && only_added {
            return own("a newer kwild knows more types of proposals");
        }
        if is_built_in(name) && (before.columns != after.columns || name.ends_with(".meta")) {
            return own("a newer kwild upgraded its own extension");
        }
        if name == "kwild_engine.user_roles" && mine <= 1 && theirs <= 1 && after.rows <= before.rows + 1 {
            // kwild hands the database over when the chain begins.
            let handed = self.found.owner.is_some() && self.signed.owner == self.found.owner;
            if handed && counted.is_some() {
                return own("the owner is the genesis'");
            }
        }
        if name == ACCOUNTS && self.transactions == Some(0) && counted.is_some() {
            let credited = self.signed.allocs;
            if credited > 0 && mine <= credited && theirs <= credited && after.rows >= before.rows {
                return own("the genesis credits accounts");
            }
        }
        // A transaction changes its sender's row, and the receiver's of a transfer.
        let most = self.transactions.unwrap_or(0).saturating_mul(2).saturating_add(self.signed.allocs);
        if name == ACCOUNTS && most > self.signed.allocs && mine <= most && after.rows >= before.rows {
            return (Verdict::Grown, format!("{} changed it", transactions_text(self.transactions)));
        }
        if before.columns != after.columns {
            return self.changed("other columns");
        }
        if counted.is_some_and(|(missing, _)| missing == 0) && self.transactions != Some(0) {
            return (Verdict::Grown, "every signed row is there; transactions added others".to_owned());
        }
        match counted {
            Some((missing, added)) => self.changed(&format!(
                "{} missing, {} not signed",
                count_are(missing, "signed row"),
                count_are(added, "row")
            )),
            None if before.rows == after.rows => self.changed(&format!("other contents in {} rows", after.rows)),
            None => self.changed(&format!("{}, {} signed", text::count(after.rows, "row"), before.rows)),
        }
    }

    /// A difference that only a transaction could have made.
    fn changed(&self, text: &str) -> Said {
        match self.transactions {
            Some(0) => (Verdict::Damage, format!("{text}; no transaction has been made")),
            Some(n) => (Verdict::Unclear, format!("{text}; {} may have done that", transactions_text(Some(n)))),
            None => (Verdict::Unclear, format!("{text}; transactions may have done that")),
        }
    }

    /// The proposals that a restore leaves, as it leaves them.
    fn survivors(&self) -> Option<BTreeSet<Resolution>> {
        let facts = self.signed.facts?;
        let lowered = facts.lowered_by.unwrap_or(0);
        let kept = facts.resolutions.as_ref()?.iter().filter(|r| !is_dropped(r));
        Some(kept.map(|r| Resolution { expiration: r.expiration.saturating_sub(lowered), ..r.clone() }).collect())
    }

    fn has_expired(&self, resolution: &Resolution) -> bool {
        resolution.expiration
            <= match self.signed.family {
                Family::V09 => self.found.height,
                Family::V010 => self.found.unix_seconds,
            }
    }

    fn resolutions(&self, same: bool, counted: Option<(u64, u64)>) -> Said {
        let (Some(expected), Some(rows)) = (self.survivors(), &self.found.facts.resolutions) else {
            return match counted {
                _ if same => (Verdict::Equal, String::new()),
                _ => (
                    Verdict::Kwild,
                    "kwild drops and shortens proposals; which, only the snapshot file can tell".to_owned(),
                ),
            };
        };
        if expected == *rows {
            return match same {
                true => (Verdict::Equal, String::new()),
                false => (
                    Verdict::Kwild,
                    "kwild dropped joins, removals and migrations, and lowered the expiration of the others".to_owned(),
                ),
            };
        }
        let signed = self.signed.facts.and_then(|facts| facts.resolutions.as_ref());
        let old: BTreeSet<&[u8]> = signed.into_iter().flatten().filter(|r| is_dropped(r)).map(|r| &*r.id).collect();
        if rows.iter().any(|r| old.contains(&*r.id)) {
            return (
                Verdict::Damage,
                "proposals of the old network that kwild drops are still there: this is the old node's database, or it \
                 was filled by hand and not by kwild's own restore"
                    .to_owned(),
            );
        }
        let (before, after) = (facts::by_id(&expected), facts::by_id(rows));
        let changed = before.iter().filter(|(id, r)| after.get(*id).is_some_and(|other| other != *r)).count() as u64;
        let gone = before.iter().filter(|(id, _)| !after.contains_key(*id));
        let (expired, lost): (Vec<_>, Vec<_>) = gone.partition(|(_, r)| self.has_expired(r));
        let new = after.keys().filter(|id| !before.contains_key(*id)).count() as u64;
        if changed > 0 {
            return self.changed(&format!("{} changed", text::count(changed, "proposal")));
        }
        if !lost.is_empty() {
            return self.changed(&format!("{} gone before the time", text::count(lost.len() as u64, "proposal")));
        }
        if new > 0 {
            return match self.transactions {
                Some(0) => self.changed(&format!("{} not signed", count_are(new, "proposal"))),
                _ => (Verdict::Grown, "transactions made new proposals".to_owned()),
            };
        }
        (Verdict::Kwild, format!("{} expired", text::count(expired.len() as u64, "proposal")))
    }

    fn votes(&self, same: bool, before: Option<&TableState<'_>>, after: Option<&TableState<'_>>) -> Said {
        if same {
            return (Verdict::Equal, String::new());
        }
        let known = (self.survivors(), self.signed.facts.and_then(|f| f.votes.as_ref()), &self.found.facts.votes);
        let (Some(expected), Some(signed), Some(rows)) = known else {
            let fewer = before.is_some_and(|b| after.is_some_and(|a| a.rows < b.rows));
            return match fewer {
                true => {
                    (Verdict::Kwild, "votes go with their proposals; which, only the snapshot file can tell".to_owned())
                }
                false => self.changed("other votes"),
            };
        };
        // A vote goes with its proposal, whether kwild dropped it or it expired.
        let pending: BTreeSet<&[u8]> = self.found.facts.resolutions.iter().flatten().map(|r| &*r.id).collect();
        let survived: BTreeSet<&[u8]> = expected.iter().map(|r| &*r.id).filter(|id| pending.contains(id)).collect();
        let wanted: BTreeSet<&Vote> = signed.iter().filter(|(id, _)| survived.contains(&**id)).collect();
        let lost = wanted.iter().filter(|vote| !rows.contains(**vote)).count() as u64;
        let new = rows.iter().filter(|vote| !wanted.contains(vote)).count() as u64;
        match (lost, new) {
            (0, 0) => (Verdict::Kwild, "the votes on proposals that kwild dropped are gone with them".to_owned()),
            (0, _) if self.transactions != Some(0) => (Verdict::Grown, "transactions brought new votes".to_owned()),
            (lost, new) => {
                self.changed(&format!("{} missing, {} not signed", count_are(lost, "vote"), count_are(new, "vote")))
            }
        }
    }

    fn validators(&self) -> Option<Part> {
        let signed = self.signed.validators.as_ref()?;
        let found = &self.found.validators;
        let missing = signed.difference(found).count() as u64;
        let added = found.difference(signed).count() as u64;
        let (verdict, text) = match (missing, added) {
            (0, 0) => (Verdict::Equal, String::new()),
            _ => self.changed(&format!(
                "{} not there, {} not in the genesis",
                count_are(missing, "validator of the genesis"),
                count_are(added, "validator")
            )),
        };
        let (signed_rows, rows) = (Some(signed.len() as u64), Some(found.len() as u64));
        let (missing, added) = (Some(missing), Some(added));
        Some(Part { name: "validators".to_owned(), verdict, signed_rows, rows, missing, added, text })
    }

    /// Tables, indexes, constraints, functions, views: each by its name and by the tree of the statement that makes it.
    fn definitions(&self) -> Option<Part> {
        const NAMED_MAX: usize = 5;
        let (signed, found) = (self.signed.schema?, self.found.schema?);
        let unequal = |these: &[SchemaPart], those: &[SchemaPart]| -> BTreeSet<String> {
            these.iter().filter(|part| those.binary_search(part).is_err()).map(|part| part.name.clone()).collect()
        };
        let (before, after) = (unequal(signed, found), unequal(found, signed));
        let of_users = |names: &[&String]| -> Vec<String> {
            names.iter().filter(|name| is_users(schema_of(name))).map(|name| name.to_string()).collect()
        };
        let missing: Vec<&String> = before.difference(&after).collect();
        let added: Vec<&String> = after.difference(&before).collect();
        // What of its own a newer kwild adds or changes is its business; what is missing of it is not.
        let of_built_in = |name: &&&String| is_built_in(schema_of(name));
        let gone: Vec<String> = missing.iter().filter(|name| !of_built_in(name)).map(|name| name.to_string()).collect();
        let other = of_users(&before.intersection(&after).collect::<Vec<_>>());
        // What transactions only added is as rows that they added.
        let only_added = gone.is_empty() && other.is_empty() && self.transactions != Some(0);
        let differs: Vec<String> = [("missing", gone), ("not as signed", other), ("not signed", of_users(&added))]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", text::first_few(names, NAMED_MAX)))
            .collect();
        let differs = differs.join("; ");
        let (verdict, text) = match differs.is_empty() {
            true => (Verdict::Equal, String::new()),
            false if only_added => (Verdict::Grown, format!("{differs}; transactions may have added that")),
            false => self.changed(&differs),
        };
        Some(Part {
            name: "definitions".to_owned(),
            verdict,
            signed_rows: Some(signed.len() as u64),
            rows: Some(found.len() as u64),
            missing: Some(missing.len() as u64),
            added: Some(added.len() as u64),
            text,
        })
    }
}

/// The schema that a part of a schema stands in, by the part's name: `index i of shop.t`, `function shop.f(text)`.
fn schema_of(part: &str) -> &str {
    let place = match part.rsplit_once(" of ") {
        Some((_, table)) => table,
        None => part.split_once(' ').map_or(part, |(_, name)| name),
    };
    place.split('.').next().unwrap_or_default()
}

fn is_dropped(resolution: &Resolution) -> bool {
    // As COPY writes bytea: a doubled backslash, x, hex.
    resolution.kind.strip_prefix(b"\\\\x").is_some_and(|hex| DROPPED_TYPES.iter().any(|id| id.as_bytes() == hex))
}

fn count_are(n: u64, noun: &str) -> String {
    // The plural stands behind the first word: "2 validators of the genesis".
    let (first, rest) = noun.split_once(" of ").map_or((noun, ""), |(first, rest)| (first, rest));
    let of = if rest.is_empty() { String::new() } else { format!(" of {rest}") };
    format!("{}{of} {}", text::count(n, first), if n == 1 { "is" } else { "are" })
}

fn transactions_text(n: Option<u64>) -> String {
    text::count(n.unwrap_or(0), "transaction")
}

#[cfg(test)]
mod tests;
