//! A statement's syntax tree, as PostgreSQL's own parser gives it (crate `pg_query`): node types and fields have the names
//! of the server's sources, written as the crate writes them (`SelectStmt`, `from_clause`).
//!
//! Only what differs from its default is in a tree, and no place in the text: equal trees mean equal statements.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::ser::Serialize;

use super::token::Name;
use crate::base::Blake3Hash;

mod build;
mod depth;

use build::Builder;
pub(super) use depth::Depth;

/// How many levels a tree may have; a node in another takes two. A sum of so many operands is deeper than anything that
/// people write.
const DEPTH_MAX: usize = 2000;
/// Bytes of stack that the parser, the decoder of its answer and our walk get. The decoder takes the most: some 8 KiB
/// for a node, which is some 30 MiB for the longest chain of tokens that `depth.rs` lets in and as much again for the
/// deepest brackets.
pub const STACK_BYTES: usize = 128 << 20;
/// A new stack is made where fewer than these bytes are left of the thread's own.
const STACK_LEFT_BYTES: usize = 96 << 20;
/// A value of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    Node(Node),
    List(Vec<Tree>),
    Text(String),
    /// An integer, an enumeration's number, or 1 for true.
    Number(i64),
    /// An empty place in a list: `SELECT DISTINCT` has a list of one.
    Nothing,
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The node's type, such as `SelectStmt`.
    pub(super) kind: &'static str,
    /// The fields that have not their default value, in the order of the server's sources.
    pub(super) fields: Vec<(&'static str, Tree)>,
}

/// What a text is parsed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reads the text as one SQL statement.
    Statement,
    /// As a text in a plpgsql body, in the mode whose number the body's parser gives with the text.
    Body(i32),
}

impl Tree {
    pub(super) fn as_node(&self) -> Option<&Node> {
        match self {
            Tree::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Tree] {
        match self {
            Tree::List(items) => items,
            _ => &[],
        }
    }

    fn feed(&self, hasher: &mut blake3::Hasher) {
        let mut sized = |tag: u8, size: usize| {
            hasher.update(&[tag]);
            hasher.update(&(size as u64).to_be_bytes());
        };
        match self {
            Tree::Node(node) => node.feed(hasher),
            Tree::List(items) => {
                sized(b'l', items.len());
                items.iter().for_each(|item| item.feed(hasher));
            }
            Tree::Text(text) => {
                sized(b't', text.len());
                hasher.update(text.as_bytes());
            }
            Tree::Number(number) => {
                hasher.update(b"n");
                hasher.update(&number.to_be_bytes());
            }
            Tree::Nothing => {
                hasher.update(b"0");
            }
        }
    }
}

impl Node {
    /// The value of a field; `None` where it is the default.
    pub(super) fn get(&self, field: &str) -> Option<&Tree> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// The text in a field, or an empty one.
    pub(super) fn text(&self, field: &str) -> &str {
        self.get(field).and_then(Tree::as_text).unwrap_or_default()
    }

    /// The number in a field, or 0.
    pub(super) fn number(&self, field: &str) -> i64 {
        match self.get(field) {
            Some(Tree::Number(number)) => *number,
            _ => 0,
        }
    }

    /// The list in a field, or an empty one.
    pub(super) fn list(&self, field: &str) -> &[Tree] {
        self.get(field).map(Tree::items).unwrap_or_default()
    }

    /// The node in a field; `None` where none is there.
    pub(super) fn node(&self, field: &str) -> Option<&Node> {
        self.get(field).and_then(Tree::as_node)
    }

    /// The nodes of a list in a field.
    pub(super) fn nodes<'a>(&'a self, field: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
        self.list(field).iter().filter_map(Tree::as_node)
    }

    /// The relation that a field names, with empty parts where it has none.
    pub(super) fn relation(&self, field: &str) -> Name {
        let of = |part| self.node(field).map(|relation| relation.text(part).to_owned()).unwrap_or_default();
        Name { schema: of("schemaname"), object: of("relname") }
    }

    /// The parts of a qualified name that a field holds as a list of strings; what is no string is a `*`.
    pub(super) fn names(&self, field: &str) -> Vec<&str> {
        names(self.list(field))
    }

    fn feed(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&[b'k', self.kind.len() as u8]);
        hasher.update(self.kind.as_bytes());
        hasher.update(&(self.fields.len() as u64).to_be_bytes());
        for (name, value) in &self.fields {
            hasher.update(&[name.len() as u8]);
            hasher.update(name.as_bytes());
            value.feed(hasher);
        }
    }

    /// The hash of the tree, which only equal trees share.
    pub(super) fn hash(&self) -> Blake3Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"regenesis/tree/v1\0");
        self.feed(&mut hasher);
        Blake3Hash::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// The parts of a qualified name that is a list of strings; what is no string is a `*`.
pub(super) fn names(list: &[Tree]) -> Vec<&str> {
    list.iter()
        .map(|item| item.as_node().filter(|node| node.kind == "String").map_or("*", |n| n.text("sval")))
        .collect()
}

/// Runs what parses on the thread's stack where that has room enough, else on a new one of [`STACK_BYTES`].
pub(super) fn on_large_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_LEFT_BYTES, STACK_BYTES, run)
}

/// Parses one statement. The caller has bounded the text's tokens.
///
/// # Errors
/// In the parser's words, or where the text is more than one statement or too deep.
pub(super) fn parse(text: &str, mode: Mode) -> Result<Node, String> {
    on_large_stack(|| {
        let options = match mode {
            Mode::Statement => 0,
            Mode::Body(mode) => mode,
        };
        let parsed = guarded(|| pg_query::parse(text, options))?;
        let [statement] = &*parsed.protobuf.stmts else {
            return Err("psql and the server take it for another number of statements".to_owned());
        };
        match statement.stmt.serialize(Builder::default()).map_err(|e| e.to_string())? {
            Some(Tree::Node(node)) => Ok(node),
            _ => Err("an empty statement".to_owned()),
        }
    })
}

/// Parses a function in plpgsql; gives the block structure in the library's own JSON.
pub(super) fn parse_body(text: &str) -> Result<serde_json::Value, String> {
    on_large_stack(|| guarded(|| pg_query::parse_plpgsql(text)))
}

/// The range in bytes of each token of a text, found by the server's own lexer.
///
/// # Errors
/// In the lexer's words, or where the tree of these tokens might be too deep or too large.
pub(super) fn tokens(text: &str, tokens_max: usize) -> Result<Vec<Range<usize>>, String> {
    let scanned = guarded(|| pg_query::scan(text))?;
    let place = |at: i32| usize::try_from(at).unwrap_or(0);
    let tokens: Vec<Range<usize>> = scanned.tokens.iter().map(|token| place(token.start)..place(token.end)).collect();
    let mut depth = Depth::new(tokens_max);
    tokens.iter().try_for_each(|token| depth.token(text.as_bytes().get(token.start).copied().unwrap_or(0)))?;
    Ok(tokens)
}

/// Calls the library and makes an error of a panic: its helpers take some trees for granted and panic at others.
fn guarded<T>(run: impl FnOnce() -> pg_query::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("PostgreSQL's parser could not read it".to_owned()),
    }
}
