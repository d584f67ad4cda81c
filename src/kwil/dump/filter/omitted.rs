//! Tells which statements of a dump a guarded text leaves out, and why.

use std::fmt;

use super::super::token::{Token, qualified_name};

/// What is left out of a guarded text, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Omitted {
    /// `GRANT`, `REVOKE`, `ALTER DEFAULT PRIVILEGES`: they name roles of one machine, and fail where those are not.
    Privileges,
    /// Large objects: no Kwil network makes any.
    LargeObjects,
    /// `votes_voter_id_fkey` where there are votes: the voters they refer to stand in the genesis, so it always fails.
    VotesKey,
}

impl Omitted {
    /// Why a statement is left out, or `None` where it stays; `votes` is how many rows `kwild_voting.votes` had.
    pub(super) fn of(tokens: &[Token<'_>], votes: u64) -> Option<Self> {
        match tokens {
            [verb, ..] if verb.is("GRANT") || verb.is("REVOKE") => Some(Omitted::Privileges),
            [alter, default, ..] if alter.is("ALTER") && default.is("DEFAULT") => Some(Omitted::Privileges),
            // In a dump only large objects have transactions of their own.
            [verb, _] if verb.is("BEGIN") || verb.is("COMMIT") => Some(Omitted::LargeObjects),
            [alter, large, object, ..] if alter.is("ALTER") && large.is("LARGE") && object.is("OBJECT") => {
                Some(Omitted::LargeObjects)
            }
            [select, rest @ ..] if select.is("SELECT") => qualified_name(rest)
                .is_some_and(|name| {
                    name.schema == "pg_catalog" && (name.object.starts_with("lo_") || name.object == "lowrite")
                })
                .then_some(Omitted::LargeObjects),
            [alter, table, rest @ ..] if alter.is("ALTER") && table.is("TABLE") && votes > 0 => {
                let rest = rest.strip_prefix(&[Token::Word("ONLY")]).unwrap_or(rest);
                let is_votes = qualified_name(rest).is_some_and(|name| name.is("kwild_voting", "votes"));
                let is_key = rest.windows(2).any(|pair| pair[0].is("CONSTRAINT") && pair[1].is("votes_voter_id_fkey"));
                (is_votes && is_key).then_some(Omitted::VotesKey)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Omitted::Privileges => "grants, which name roles of one machine",
            Omitted::LargeObjects => "large objects, which no Kwil network makes",
            Omitted::VotesKey => "the key votes_voter_id_fkey, which no restore can make where there are votes",
        })
    }
}
