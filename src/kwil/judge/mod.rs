//! Judgements about facts that others found: whether a node can start ([`readiness`]), what a restore would lose
//! ([`rehearsal`]), whether a genesis and a snapshot belong together ([`lint`]), whether two databases order text alike
//! ([`collation`]), and whether a node holds what was signed ([`confirm`]).
//! What they advise is quoted as the shell and SQL take it ([`quote`]).

pub mod collation;
pub mod confirm;
pub mod lint;
pub mod quote;
pub mod readiness;
pub mod rehearsal;
