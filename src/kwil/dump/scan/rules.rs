//! The allow-list as a table: which node types with which fields a statement may consist of, in each context.
//!
//! A context is a kind of statement, or what stands inside of several (`expression`, `query`, `body`, `plpgsql`). A node type
//! that a context does not list is refused, and so is a field of a listed node that has not its default value and is not
//! listed. A feature that nobody thought of is therefore refused, too, and so is what a newer parser adds.

use std::{collections::HashMap, sync::LazyLock};

use crate::dump::tree::{Node, Tree};

/// What a listed field may hold.
#[derive(Debug)]
pub(super) enum Field {
    /// Any text or number, or names.
    Any,
    /// One of these texts or numbers, and not its default value unless that is named as `-`.
    OneOf(Vec<&'static str>),
    /// Nodes of types that the context lists.
    Nodes,
}

pub(super) type Fields = Vec<(&'static str, Field)>;

/// What a field may hold; `None` where it is not listed.
pub(super) fn field<'f>(fields: &'f Fields, name: &str) -> Option<&'f Field> {
    fields.iter().find(|(listed, _)| *listed == name).map(|(_, field)| field)
}

/// The nodes of one context, and the contexts whose nodes it has as well.
#[derive(Debug, Default)]
struct Context {
    nodes: HashMap<&'static str, Fields>,
    bases: Vec<&'static str>,
}

static TABLE: LazyLock<HashMap<&'static str, Context>> = LazyLock::new(|| read(include_str!("allow.txt")));

fn read(table: &'static str) -> HashMap<&'static str, Context> {
    let mut contexts: HashMap<&str, Context> = HashMap::new();
    let mut name = "";
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some(heading) = first.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name = heading;
            contexts.entry(name).or_default().bases = words.collect();
            continue;
        }
        let fields = words.map(|word| match (word.split_once('='), word.strip_suffix('*')) {
            (Some((field, values)), _) => (field, Field::OneOf(values.split('|').collect())),
            (None, Some(field)) => (field, Field::Nodes),
            (None, None) => (word, Field::Any),
        });
        contexts.entry(name).or_default().nodes.insert(first, fields.collect());
    }
    contexts
}

/// Whether the table has a context of this name: for a kind of statement, whether there may be such a statement.
pub(super) fn is_context(name: &str) -> bool {
    TABLE.contains_key(name)
}

/// The fields that a node type may have in a context; `None` where it may not stand there at all.
pub(super) fn fields(context: &str, kind: &str) -> Option<&'static Fields> {
    let own = TABLE.get(context)?;
    own.nodes.get(kind).or_else(|| own.bases.iter().find_map(|base| fields(base, kind)))
}

/// Checks a node's own fields; what stands in them is for the walk.
///
/// # Errors
/// With the node type or field that does not belong.
pub(super) fn check(context: &str, node: &Node) -> Result<&'static Fields, String> {
    let fields = fields(context, node.kind)
        .ok_or_else(|| format!("{} is no part of {}", node.kind, context_in_words(context)))?;
    for (name, rule) in fields {
        let Field::OneOf(values) = rule else { continue };
        let fits = match node.get(name) {
            None => values.contains(&"-"),
            Some(Tree::Text(text)) => values.contains(&text.as_str()),
            Some(Tree::Number(number)) => values.iter().any(|value| value.parse() == Ok(*number)),
            Some(_) => false,
        };
        if !fits {
            let value = match node.get(name) {
                Some(Tree::Text(text)) => text.clone(),
                Some(Tree::Number(number)) => number.to_string(),
                _ => "by default".to_owned(),
            };
            return Err(format!("{} with {name} {value} is no part of {}", node.kind, context_in_words(context)));
        }
    }
    match node.fields.iter().find(|(name, _)| field(fields, name).is_none()) {
        Some((name, _)) => Err(format!("{} with {name} is no part of {}", node.kind, context_in_words(context))),
        None => Ok(fields),
    }
}

/// A context in words.
fn context_in_words(context: &str) -> String {
    match context {
        "body" | "plpgsql" => "a function's body".to_owned(),
        "expression" => "a table's expression".to_owned(),
        statement => format!("any {statement} of a Kwil dump"),
    }
}
