//! Why a connection or a statement failed, and the error that tells it.

use super::super::{
    binary::Malformed,
    connect::{Failure, explain_refusal},
    settings::Settings,
    wire::{Refusal, WireError},
};
use crate::base::{Error, text::escape};

/// Why a connection or a statement that brings rows failed.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection could not be made: the server, the database or the role has as many as it may.
    Limit(Failure),
    /// The connection could not be made, for any other reason.
    Open(Failure),
    /// The connection broke, in these words; a new one in the same cut can go on.
    Broken(String),
    /// The server refused the statement.
    Refused(Refusal),
    /// The bytes that came are not what binary COPY's format says; what is wrong with them.
    Malformed(Malformed),
    /// The text of a row is longer than `COPY_ROW_SIZE_BYTES_MAX`, so that nobody could load it again.
    TooLong(Error),
    /// The wait would never end: a session that holds what we wait for waits for us.
    Endless(Error),
    /// The reader has gone, so that nobody takes the rows.
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
    /// The error for an operator; `what` names the table that was being read.
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
