//! What a person does next. A room that cannot go on gives a [`Next`]: a fact without a command's or a flag's name, which
//! the command line puts into words. Plain words stand for themselves where no command is named.

use std::borrow::Cow;

use super::Next;

/// What a person may do next, in the order in which it is told; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Words(Cow<'static, str>),
    Next(Next),
}

impl Advice {
    /// This advice, and then what else may be done.
    #[must_use]
    pub fn and(mut self, more: impl Into<Advice>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    /// The advice as one clause, its parts joined by `; `. `tell` puts a step into words.
    pub fn words(&self, tell: impl Fn(&Next) -> Cow<'static, str>) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Words(words) => words.clone(),
            Part::Next(step) => tell(step),
        });
        parts.collect::<Vec<_>>().join("; ")
    }

    /// Whether this step is among what is advised.
    pub fn names(&self, step: &Next) -> bool {
        self.steps().any(|named| named == step)
    }

    /// The steps that are advised, without what is only words.
    pub fn steps(&self) -> impl Iterator<Item = &Next> {
        self.0.iter().filter_map(|part| match part {
            Part::Words(_) => None,
            Part::Next(step) => Some(step),
        })
    }
}

impl From<&'static str> for Advice {
    fn from(words: &'static str) -> Self {
        Advice(vec![Part::Words(words.into())])
    }
}

impl From<String> for Advice {
    fn from(words: String) -> Self {
        Advice(vec![Part::Words(words.into())])
    }
}

impl From<Next> for Advice {
    fn from(step: Next) -> Self {
        Advice(vec![Part::Next(step)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_in_turn() {
        let advice = Advice::from("look at the log").and(Next::OneHost).and("ask somebody");
        let words = advice.words(|step| match step {
            Next::OneHost => "name one host".into(),
            _ => "?".into(),
        });
        assert_eq!(words, "look at the log; name one host; ask somebody");
        assert!(advice.names(&Next::OneHost) && !advice.names(&Next::UseOwner));
    }
}
