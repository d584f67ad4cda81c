//! The one error that leaves a room: what is wrong, what to do next, and the exit code it means.
//! Pure rooms have small enums of their own and turn into this at their edge.

use std::fmt;

use super::Advice;

/// What went wrong, as scripts see it: one exit code each (`cli.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IO, database or network failed; nothing half-made stands under a final name. Exit 1.
    Failed,
    /// The flags or arguments are wrong. Exit 2.
    Usage,
    /// Something has not the hash, signature, format or chain it must have. Exit 3.
    Verify,
    /// A safety rule forbids what was asked for. Exit 4.
    Refused,
    /// A timeout passed; the work can be resumed. Exit 5.
    GaveUp,
    /// The signal of this number ended the work, which can be resumed. Exit 128 + number.
    Interrupted(u8),
}

/// The number of the signal that Ctrl-C sends.
const SIGINT: u8 = 2;

impl Kind {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Verify => 3,
            Kind::Refused => 4,
            Kind::GaveUp => 5,
            Kind::Interrupted(signal) => 128 + signal,
        }
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure told to a person: `what` is one clause, `advice` what may be done next, `source` the cause.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    what: String,
    advice: Option<Advice>,
    source: Option<Source>,
}

/// A result whose error is written for a person to read.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind and text, with neither advice nor cause.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, what: what.into(), advice: None, source: None }))
    }

    /// A [`Kind::Failed`] error: IO, a database or the network failed.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Kind::Failed, what)
    }

    /// A [`Kind::Usage`] error: the flags or arguments are wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what)
    }

    /// A [`Kind::Verify`] error: something has not the hash, signature, format or chain it must have.
    pub fn verify(what: impl Into<String>) -> Self {
        Self::new(Kind::Verify, what)
    }

    /// A [`Kind::Refused`] error: a safety rule forbids what was asked for.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(Kind::Refused, what)
    }

    /// A [`Kind::GaveUp`] error: a timeout passed, and the work can be resumed.
    pub fn gave_up(what: impl Into<String>) -> Self {
        Self::new(Kind::GaveUp, what)
    }

    /// A [`Kind::Interrupted`] error; `when` names the point of the work, as "while …" or "before …". It stands for
    /// Ctrl-C: the caller who watches the signals puts the true number in its place.
    pub fn interrupted(when: impl fmt::Display) -> Self {
        Self::new(Kind::Interrupted(SIGINT), format!("interrupted {when}"))
    }

    /// Says what the operator does next, in place of what was advised so far.
    #[must_use]
    pub fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds to what was advised so far.
    #[must_use]
    pub fn or_hint(mut self, more: impl Into<Advice>) -> Self {
        self.0.advice = Some(match self.0.advice.take() {
            Some(advice) => advice.and(more),
            None => more.into(),
        });
        self
    }

    /// Adds the lower error that caused this one.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind of the failure, which gives the exit code.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What the operator does next; `None` where nothing is advised.
    pub fn advice(&self) -> Option<&Advice> {
        self.0.advice.as_ref()
    }

    /// What is wrong and all its causes in turn, on one line joined by `: `, without the advice.
    pub fn chain(&self) -> String {
        let mut text = self.0.what.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            // Some libraries repeat their cause in their own text.
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

/// Says what was being done when a lower error came up.
pub trait Context<T> {
    /// Turns any error into a [`Kind::Failed`] one with that cause.
    fn or_failed<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
    /// Turns any error into a [`Kind::Verify`] one with that cause.
    fn or_verify<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Source>> Context<T> for std::result::Result<T, E> {
    fn or_failed<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::failed(what()).because(e))
    }

    fn or_verify<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::verify(what()).because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_each_cause_once() {
        let io = std::io::Error::other("disk on fire");
        let inner = Error::failed("cannot write a.txt").because(io);
        let outer = Error::failed("cannot store chunk 3").because(inner).hint("free some space");
        assert_eq!(outer.chain(), "cannot store chunk 3: cannot write a.txt: disk on fire");
        assert_eq!(outer.advice(), Some(&Advice::from("free some space")));
    }

    #[test]
    fn exit_codes_are_those_of_the_table() {
        let codes: Vec<u8> =
            [Kind::Failed, Kind::Usage, Kind::Verify, Kind::Refused, Kind::GaveUp, Kind::Interrupted(2)]
                .into_iter()
                .map(Kind::exit_code)
                .collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 130]);
    }
}
