//! What a state's text tells that digests do not: the pending resolutions and their votes, which kwild changes by rules;
//! how many transactions there have been.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memchr;
use sha2::{Digest as _, Sha256};

use crate::{
    base::limits::SQL_STATEMENT_SIZE_BYTES_MAX,
    dump::{
        digest::DigestError,
        sql::{Follows, Sink, Splitter, Statement},
        token::{CopyHeader, Name, Token, Tokens},
    },
};

/// Rows of resolutions and of votes that are held; a network with more is judged by its digests alone.
const VOTING_ROWS_MAX: usize = 200_000;
const END: &[u8] = b"\\.\n";

/// A pending resolution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resolution {
    /// Its id, and the id of its type, as the text has them.
    pub id: Box<[u8]>,
    /// See `id`.
    pub kind: Box<[u8]>,
    /// A height in v0.9, a second in v0.10.
    pub expiration: i64,
    /// Over everything else of the row.
    pub rest: [u8; 32],
}

/// A vote: resolution and voter.
pub type Vote = (Box<[u8]>, Box<[u8]>);

/// What one text tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateFacts {
    /// Pending resolutions; none: too many to hold, or of an unknown form.
    pub resolutions: Option<BTreeSet<Resolution>>,
    /// Their votes.
    pub votes: Option<BTreeSet<Vote>>,
    /// The sum of all accounts' nonces: each transaction adds one.
    pub nonces: Option<u128>,
    /// What the closing UPDATE takes off every expiration.
    pub lowered_by: Option<i64>,
}

/// Collects [`StateFacts`] from a text that streams by.
#[derive(Debug)]
pub struct FactsReader {
    splitter: Splitter,
    core: Core,
}

#[derive(Debug, Default)]
struct Core {
    facts: StateFacts,
    open: Option<Open>,
    /// A row that was cut.
    cut: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Open {
    Other,
    Resolutions { id: usize, kind: usize, expiration: usize, columns: usize },
    Votes { resolution: usize, voter: usize, columns: usize },
    Accounts { nonce: usize, columns: usize },
}

impl Default for FactsReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FactsReader {
    /// A reader that waits for the text's first byte.
    pub fn new() -> Self {
        let facts = StateFacts {
            resolutions: Some(BTreeSet::new()),
            votes: Some(BTreeSet::new()),
            nonces: Some(0),
            ..StateFacts::default()
        };
        FactsReader { splitter: Splitter::new(), core: Core { facts, ..Core::default() } }
    }

    /// Takes any piece of the text.
    ///
    /// # Errors
    /// When it cannot be cut into statements.
    pub fn push(&mut self, text: &[u8]) -> Result<(), DigestError> {
        self.splitter.push(text, &mut self.core, &mut Vec::new())
    }

    /// The text is over.
    pub fn finish(self) -> StateFacts {
        self.core.facts
    }
}

impl Sink for Core {
    type Error = DigestError;

    fn blank(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), DigestError> {
        Ok(())
    }

    fn command(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), DigestError> {
        Ok(())
    }

    fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, DigestError> {
        let text = String::from_utf8_lossy(statement.text);
        let tokens: Vec<Token<'_>> = Tokens::new(&text).map_while(Result::ok).collect();
        if let Some(header) = CopyHeader::read(&tokens) {
            self.open = Some(open_table(&header));
            return Ok(Follows::CopyData);
        }
        if tokens.first().is_some_and(|t| t.is("UPDATE")) {
            self.facts.lowered_by = lowered_by(&tokens);
        }
        Ok(Follows::Statement)
    }

    fn data(&mut self, line: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, DigestError> {
        let plain = matches!(self.open, None | Some(Open::Other));
        let mut at = 0;
        while let Some(newline) = memchr(b'\n', &data[at..]) {
            let piece = &data[at..=at + newline];
            at += piece.len();
            let cut = std::mem::take(&mut self.cut);
            let joined: Vec<u8>;
            let row = if cut.is_empty() {
                piece
            } else {
                joined = [&cut[..], piece].concat();
                &joined
            };
            if row == END {
                self.open = None;
                return Ok(Some(at));
            }
            if !plain {
                self.row(&row[..row.len() - 1]);
            }
        }
        let rest = &data[at..];
        // Of rows that nobody asks for only as much as tells the end.
        let wanted = if plain { rest.len().min((END.len() + 1).saturating_sub(self.cut.len())) } else { rest.len() };
        if self.cut.len() + wanted > SQL_STATEMENT_SIZE_BYTES_MAX {
            let reason = "a row of a table of kwild's own is longer than 16 MiB".to_owned();
            return Err(DigestError::Text { line, reason });
        }
        self.cut.extend_from_slice(&rest[..wanted]);
        Ok(None)
    }
}

impl Core {
    fn row(&mut self, row: &[u8]) {
        let fields: Vec<&[u8]> = row.split(|b| *b == b'\t').collect();
        let StateFacts { resolutions, votes, nonces, .. } = &mut self.facts;
        match self.open {
            None | Some(Open::Other) => {}
            Some(Open::Resolutions { id, kind, expiration, columns }) => {
                let read = (fields.len() == columns).then(|| {
                    let mut rest = Sha256::new();
                    for (_, field) in fields.iter().enumerate().filter(|(place, _)| *place != expiration) {
                        rest.update(field);
                        rest.update(b"\t");
                    }
                    Some(Resolution {
                        id: fields[id].into(),
                        kind: fields[kind].into(),
                        expiration: integer_field(fields[expiration])?,
                        rest: rest.finalize().into(),
                    })
                });
                hold_row(resolutions, read.flatten());
            }
            Some(Open::Votes { resolution, voter, columns }) => {
                hold_row(votes, (fields.len() == columns).then(|| (fields[resolution].into(), fields[voter].into())));
            }
            Some(Open::Accounts { nonce, columns }) => {
                let value = (fields.len() == columns).then(|| integer_field(fields[nonce])).flatten();
                let value = value.and_then(|nonce| u128::try_from(nonce).ok());
                *nonces = (*nonces).zip(value).map(|(sum, nonce)| sum.saturating_add(nonce));
            }
        }
    }
}

/// Adds a row; what cannot be read or held makes all of them unknown.
fn hold_row<T: Ord>(rows: &mut Option<BTreeSet<T>>, row: Option<T>) {
    match (rows.as_mut(), row) {
        (Some(held), Some(row)) if held.len() < VOTING_ROWS_MAX => {
            held.insert(row);
        }
        _ => *rows = None,
    }
}

fn integer_field(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn open_table(header: &CopyHeader) -> Open {
    let place = |name: &str| header.columns.iter().position(|column| column == name);
    let columns = header.columns.len();
    let Name { schema, object } = &header.table;
    let known = match (schema.as_str(), object.as_str()) {
        ("kwild_voting", "resolutions") => place("id")
            .zip(place("type"))
            .zip(place("expiration"))
            .map(|((id, kind), expiration)| Open::Resolutions { id, kind, expiration, columns }),
        ("kwild_voting", "votes") => place("resolution_id")
            .zip(place("voter_id"))
            .map(|(resolution, voter)| Open::Votes { resolution, voter, columns }),
        ("kwild_accts", "accounts") => place("nonce").map(|nonce| Open::Accounts { nonce, columns }),
        _ => None,
    };
    known.unwrap_or(Open::Other)
}

/// `UPDATE … SET expiration = expiration-N`
fn lowered_by(tokens: &[Token<'_>]) -> Option<i64> {
    tokens.iter().rev().find_map(|token| match token {
        Token::Number(n) => n.parse().ok(),
        _ => None,
    })
}

/// The rows of a set by their id, for those that are the same but for what was changed.
pub(super) fn by_id(resolutions: &BTreeSet<Resolution>) -> BTreeMap<&[u8], &Resolution> {
    resolutions.iter().map(|resolution| (&*resolution.id, resolution)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "CREATE TABLE kwild_accts.accounts (a int);\nCREATE UNIQUE INDEX i ON a.t USING btree (b);\n\
        COPY kwild_accts.accounts (identifier, balance, nonce) FROM stdin;\n\\\\x01\t5\t3\n\\\\x02\t7\t4\n\\.\n\
        COPY kwild_voting.resolutions (id, body, type, vote_body_proposer, expiration) FROM stdin;\n\
        \\\\x0a\tb\t\\\\x74\t\\N\t500\n\\.\nCOPY a.t (b) FROM stdin;\nxxxxxxxxxxxxxxxxxxxxxxxx\n\\\\.\n\\.\n\
        COPY kwild_voting.votes (resolution_id, voter_id) FROM stdin;\n\\\\x0a\t\\\\x0c\n\\.\n\
        ALTER TABLE ONLY a.t\n    ADD CONSTRAINT c PRIMARY KEY (b);\n\
        UPDATE kwild_voting.resolutions SET expiration = expiration-76;\n";

    fn read(pieces: usize) -> StateFacts {
        let mut reader = FactsReader::new();
        for piece in TEXT.as_bytes().chunks(pieces) {
            reader.push(piece).unwrap();
        }
        reader.finish()
    }

    #[test]
    fn facts_are_the_same_however_the_text_is_cut() {
        let whole = read(10_000);
        assert_eq!(whole.nonces, Some(7));
        assert_eq!(whole.lowered_by, Some(76));
        assert_eq!(whole.votes.as_ref().map(BTreeSet::len), Some(1));
        let resolution = whole.resolutions.as_ref().unwrap().first().unwrap();
        assert_eq!(
            (&*resolution.id, &*resolution.kind, resolution.expiration),
            (&b"\\\\x0a"[..], &b"\\\\x74"[..], 500)
        );
        for pieces in 1..60 {
            assert_eq!(read(pieces), whole, "pieces of {pieces}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_not_zero() {
        let mut reader = FactsReader::new();
        reader.push(b"COPY kwild_accts.accounts (identifier, nonce) FROM stdin;\n1\tx\n\\.\n").unwrap();
        assert_eq!(reader.finish().nonces, None);
    }
}
