//! Takes the tokens of a statement and bounds the depth of its tree, before there is one.

/// How many tokens may follow each other without a comma or semicolon between them, those around open brackets
/// included: each of them may be a level of the tree.
const CHAIN_TOKENS_MAX: usize = 4000;
/// How many brackets may be open at one place: each may be four levels of the tree.
const BRACKETS_DEPTH_MAX: usize = 500;

/// A bound on a tree's depth, from its tokens alone: before there is a tree, and before anything walks it.
#[derive(Debug)]
pub(in crate::dump) struct Depth {
    /// How many tokens came since the last comma: outside of all brackets, then in each open one.
    chains: Vec<usize>,
    sum: usize,
    tokens_left: usize,
}

impl Depth {
    /// A bound for a text of at most so many tokens.
    pub(in crate::dump) fn new(tokens_max: usize) -> Self {
        Depth { chains: vec![0], sum: 0, tokens_left: tokens_max }
    }

    /// Takes the next token by its first byte.
    ///
    /// # Errors
    /// When the tree might be deeper, or larger, than there is room for.
    pub(in crate::dump) fn token(&mut self, first: u8) -> Result<(), String> {
        self.tokens_left =
            self.tokens_left.checked_sub(1).ok_or("more tokens than any Kwil dump has in one statement")?;
        let open = self.chains.len() > 1;
        let chain = self.chains.last_mut().map(std::mem::take).unwrap_or(0);
        self.sum -= chain;
        // What the chain at this place is now; a bracket's end is a token of what stands around it.
        let now = match first {
            b')' | b']' if open => {
                self.chains.pop();
                let around = self.chains.last_mut().map(std::mem::take).unwrap_or(0);
                self.sum -= around;
                around + 1
            }
            b',' | b';' => 0,
            _ => chain + 1,
        };
        self.sum += now;
        if let Some(last) = self.chains.last_mut() {
            *last = now;
        }
        if matches!(first, b'(' | b'[') {
            self.chains.push(0);
        }
        if self.sum > CHAIN_TOKENS_MAX || self.chains.len() > BRACKETS_DEPTH_MAX {
            return Err("an expression that is nested too deeply".to_owned());
        }
        Ok(())
    }
}
