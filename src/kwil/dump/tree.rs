//! A statement's syntax tree, as PostgreSQL's own parser gives it (crate `pg_query`): node types and fields have the names
//! of the server's sources, written as the crate writes them (`SelectStmt`, `from_clause`).
//!
//! Only what differs from its default is in a tree, and no place in the text: equal trees mean equal statements.

use std::{
    fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::ser::{self, Serialize};

use crate::base::Blake3Hash;

/// Levels of a tree; a node in another takes two. A sum of so many operands is deeper than anything that people write.
const DEPTH_MAX: usize = 2000;
/// Stack that the parser, the decoder of its answer and our walk get. The decoder takes the most: some 8 KiB for a node, which is
/// some 30 MiB for [`CHAIN_TOKENS_MAX`] and as much again for [`BRACKETS_DEPTH_MAX`].
pub const STACK_BYTES: usize = 128 << 20;
/// Where less than this is left, a new stack is made.
const STACK_LEFT_BYTES: usize = 96 << 20;
/// Tokens that may follow each other without a comma or semicolon between them, those around open brackets included: each of them
/// may be a level of the tree.
const CHAIN_TOKENS_MAX: usize = 4000;
/// Open brackets at one place; each may be four levels of the tree.
const BRACKETS_DEPTH_MAX: usize = 500;

/// A bound on a tree's depth, from its tokens alone: before there is a tree, and before anything walks it.
#[derive(Debug)]
pub(super) struct Depth {
    /// For each open bracket and outside of all, the tokens since the last comma.
    chains: Vec<usize>,
    sum: usize,
    tokens_left: usize,
}

impl Depth {
    /// For a text of at most so many tokens.
    pub(super) fn new(tokens_max: usize) -> Self {
        Depth { chains: vec![0], sum: 0, tokens_left: tokens_max }
    }

    /// Takes the next token by its first byte.
    ///
    /// # Errors
    /// When the tree might be deeper, or larger, than there is room for.
    pub(super) fn token(&mut self, first: u8) -> Result<(), String> {
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
    /// Its type.
    pub(super) kind: &'static str,
    /// Its fields that have not their default value, in the order of the server's sources.
    pub(super) fields: Vec<(&'static str, Tree)>,
}

/// How a text is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One statement.
    Statement,
    /// As the function body's parser wants it: a number that it gives with each text.
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
    /// The field, where it has not its default value.
    pub(super) fn get(&self, field: &str) -> Option<&Tree> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// The text of a field, or nothing.
    pub(super) fn text(&self, field: &str) -> &str {
        self.get(field).and_then(Tree::as_text).unwrap_or_default()
    }

    /// The number of a field, or 0.
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

    /// The node in a field.
    pub(super) fn node(&self, field: &str) -> Option<&Node> {
        self.get(field).and_then(Tree::as_node)
    }

    /// The nodes of a list in a field.
    pub(super) fn nodes<'a>(&'a self, field: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
        self.list(field).iter().filter_map(Tree::as_node)
    }

    /// The parts of a name, as lists of strings write one; what is no string is a `*`.
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

    /// The same for equal trees only.
    pub(super) fn hash(&self) -> Blake3Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"regenesis/tree/v1\0");
        self.feed(&mut hasher);
        Blake3Hash::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// The parts of a name.
pub(super) fn names(list: &[Tree]) -> Vec<&str> {
    list.iter()
        .map(|item| item.as_node().filter(|node| node.kind == "String").map_or("*", |n| n.text("sval")))
        .collect()
}

/// Runs what parses, on a stack that is large enough.
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
        match statement.stmt.serialize(Builder { depth: 0 }).map_err(|e| e.0)? {
            Some(Tree::Node(node)) => Ok(node),
            _ => Err("an empty statement".to_owned()),
        }
    })
}

/// Parses a function in plpgsql; gives the block structure in the library's own JSON.
pub(super) fn parse_body(text: &str) -> Result<serde_json::Value, String> {
    on_large_stack(|| guarded(|| pg_query::parse_plpgsql(text)))
}

/// The server's lexer: where each token begins and ends.
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

/// The library's helpers take some trees for granted and panic at others.
fn guarded<T>(run: impl FnOnce() -> pg_query::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("PostgreSQL's parser could not read it".to_owned()),
    }
}

/// Places in the text.
fn is_place(field: &str) -> bool {
    field == "location"
        || field.ends_with("_location")
        || field == "stmt_len"
        || matches!(field, "list_start" | "list_end")
        || field.ends_with("_list_start")
        || field.ends_with("_list_end")
}

/// Makes a tree of the library's types, which know how to be serialised.
#[derive(Debug, Clone, Copy)]
struct Builder {
    depth: usize,
}

#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Refusal(message.to_string())
    }
}

type Built = Result<Option<Tree>, Refusal>;
type Never = ser::Impossible<Option<Tree>, Refusal>;

/// The library's types consist of the shapes below only.
fn unknown<T>() -> Result<T, Refusal> {
    Err(Refusal("a tree of an unknown form".to_owned()))
}

macro_rules! refuse {
    ($($name:ident($kind:ty))*) => {$(
        fn $name(self, _: $kind) -> Built {
            unknown()
        }
    )*};
}

fn number(number: i64) -> Built {
    Ok((number != 0).then_some(Tree::Number(number)))
}

impl ser::Serializer for Builder {
    type Ok = Option<Tree>;
    type Error = Refusal;
    type SerializeSeq = ListBuilder;
    type SerializeStruct = NodeBuilder;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStructVariant = Never;

    fn serialize_bool(self, value: bool) -> Built {
        number(i64::from(value))
    }

    fn serialize_i32(self, value: i32) -> Built {
        number(i64::from(value))
    }

    fn serialize_i64(self, value: i64) -> Built {
        number(value)
    }

    fn serialize_u32(self, value: u32) -> Built {
        number(i64::from(value))
    }

    fn serialize_u64(self, value: u64) -> Built {
        i64::try_from(value).map_or_else(|_| unknown(), number)
    }

    fn serialize_str(self, value: &str) -> Built {
        Ok((!value.is_empty()).then(|| Tree::Text(value.to_owned())))
    }

    fn serialize_none(self) -> Built {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        kind: &'static str,
        value: &T,
    ) -> Built {
        match value.serialize(self)? {
            Some(Tree::Node(node)) => Ok(Some(Tree::Node(Node { kind, ..node }))),
            _ => unknown(),
        }
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListBuilder, Refusal> {
        Ok(ListBuilder { items: Vec::with_capacity(len.unwrap_or(0)), depth: self.depth })
    }

    fn serialize_struct(self, kind: &'static str, _: usize) -> Result<NodeBuilder, Refusal> {
        if self.depth > DEPTH_MAX {
            return Err(Refusal(format!("it is nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(NodeBuilder { node: Node { kind, fields: Vec::new() }, wrapped: None, depth: self.depth })
    }

    refuse! { serialize_i8(i8) serialize_i16(i16) serialize_u8(u8) serialize_u16(u16) serialize_f32(f32) serialize_f64(f64)
    serialize_char(char) serialize_bytes(&[u8]) serialize_unit_struct(&'static str) }

    fn serialize_unit(self) -> Built {
        unknown()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Built {
        unknown()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Built {
        unknown()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Refusal> {
        unknown()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTuple, Refusal> {
        unknown()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTuple, Refusal> {
        unknown()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeTuple, Refusal> {
        unknown()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTuple, Refusal> {
        unknown()
    }
}

#[derive(Debug)]
struct ListBuilder {
    items: Vec<Tree>,
    depth: usize,
}

impl ser::SerializeSeq for ListBuilder {
    type Ok = Option<Tree>;
    type Error = Refusal;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Refusal> {
        self.items.push(item.serialize(Builder { depth: self.depth })?.unwrap_or(Tree::Nothing));
        Ok(())
    }

    fn end(self) -> Built {
        Ok((!self.items.is_empty()).then_some(Tree::List(self.items)))
    }
}

#[derive(Debug)]
struct NodeBuilder {
    node: Node,
    /// What stands in the library's type `Node`, which only says that there is one of many types.
    wrapped: Option<Option<Tree>>,
    depth: usize,
}

impl ser::SerializeStruct for NodeBuilder {
    type Ok = Option<Tree>;
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refusal> {
        if is_place(name) {
            return Ok(());
        }
        let value = value.serialize(Builder { depth: self.depth + 1 })?;
        if self.node.kind == "Node" {
            self.wrapped = Some(value);
        } else if let Some(value) = value {
            self.node.fields.push((name, value));
        }
        Ok(())
    }

    fn end(self) -> Built {
        Ok(self.wrapped.unwrap_or(Some(Tree::Node(self.node))))
    }
}
