//! Why a connection or a statement failed, and how that is told.

use super::super::{
    binary::Malformed,
    connect::{Failure, explain_refusal},
    settings::Settings,
    wire::{Refusal, WireError},
};
use crate::base::{Error, text::escape};

/// Why a connection or statement failed.
#[derive(Debug)]
pub(super) enum Lost {
    /// The server has no connection left.
    Limit(Failure),
    /// It could not be made.
    Open(Failure),
    /// It broke, in these words: a new one may do.
    Broken(String),
    /// The server refused the statement.
    Refused(Refusal),
    /// What came is not what the form says.
    Malformed(Malformed),
    /// A row that nobody can read back.
    TooLong(Error),
    /// It would never end.
    Endless(Error),
    /// Nobody reads any more.
    Unwanted,
}

impl From<WireError> for Lost {
    fn from(e: WireError) -> Self {
        match e {
            WireError::Broken(words) => Lost::Broken(words),
            WireError::Refused(refusal) => Lost::Refused(refusal),
        }
    }
}

impl Lost {
    pub(super) fn explain(self, settings: &Settings, what: &str) -> Error {
        let what = escape(what);
        match self {
            Lost::Limit(failure) | Lost::Open(failure) => failure.explain(settings),
            Lost::Refused(Refusal { code, words }) => {
                explain_refusal(Some(&code), words, &format!("read {what}"), settings)
            }
            Lost::Broken(words) => Error::failed(format!("lost the connection to Postgres while reading {what}"))
                .because(words)
                .hint("is the server still running? the snapshot can simply be made again"),
            Lost::Malformed(why) => Error::failed(format!("cannot read {what}"))
                .because(format!("the server sent {why}"))
                .hint("is this PostgreSQL's own server, 15 or newer?"),
            Lost::TooLong(e) | Lost::Endless(e) => e,
            Lost::Unwanted => Error::failed(format!("reading {what} was stopped")),
        }
    }
}
