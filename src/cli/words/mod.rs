//! Everything that a person reads of results, advice and findings. The rooms below give facts; here they become words, and
//! here alone a flag or a command of this program is named.

mod attest;
mod clean;
mod digest;
mod mends;
mod next;
mod testnet;
mod wait;

pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod drill;
pub(crate) mod finding;
pub(crate) mod media;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod root;
pub(crate) mod service;
pub(crate) mod sheet;
pub(crate) mod snapshot;
pub(crate) mod status;

pub(crate) use digest::summary as digest_summary;
pub(crate) use mends::mend;

use crate::base::{Advice, Notice};

/// What a person may do next, as one clause.
pub(crate) fn advice(advice: &Advice) -> String {
    advice.words(next::words_of)
}

/// What was seen, and what may be done about it on a line of its own.
pub(crate) fn notice(notice: &Notice) -> String {
    match &notice.next {
        Some(next) => format!("{}\n  next: {}", notice.text, advice(next)),
        None => notice.text.clone(),
    }
}
