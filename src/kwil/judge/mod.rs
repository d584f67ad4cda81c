//! Judgements about facts that others found: whether a node can start ([`readiness`]), what a restore would lose
//! ([`rehearsal`]), whether a genesis and a snapshot belong together ([`lint`]), and whether a node holds what was signed
//! ([`confirm`]).

pub mod confirm;
pub mod lint;
pub mod readiness;
pub mod rehearsal;
