//! What Kwil itself makes and no transaction can change: its functions, its views, and the checks, keys, indexes and defaults of
//! its own tables. Each is known by the hash of its tree, in every form that a version of PostgreSQL or of Kwil prints.

use std::{collections::HashMap, sync::LazyLock};

use crate::{
    dump::{token::Name, tree::Node},
    formats::Family,
};

/// Schemas whose tables are Kwil's own.
const OWN_SCHEMAS: [&str; 5] = ["info", "kwild_accts", "kwild_engine", "kwild_internal", "kwild_voting"];

/// The server's number for the rule that a column may not be empty.
const NOT_NULL: i64 = 2;

/// The names in `known.txt` by the hashes of trees; every form of one thing has the same name.
static KNOWN: LazyLock<HashMap<&str, &str>> =
    LazyLock::new(|| include_str!("known.txt").lines().filter_map(|line| line.split_once(' ')).collect());

/// The name in `known.txt` of a statement's tree; `None` where Kwil makes no such thing.
pub(crate) fn name(node: &Node) -> Option<&'static str> {
    KNOWN.get(&*node.hash().to_string()).copied()
}

/// Checks that a statement makes nothing that only Kwil may make, unless Kwil makes it so.
///
/// # Errors When the statement makes something that only Kwil may make, and Kwil makes no such thing.
pub(super) fn check(node: &Node, family: Family) -> Result<(), String> {
    match kwils_own(node, family) {
        Some(what) if name(node).is_none() => {
            Err(format!("{what} that no version of Kwil makes (its tree is {:.16})", node.hash().to_string()))
        }
        _ => Ok(()),
    }
}

/// What the statement makes, in words, where only Kwil may make such a thing; `None` where others may.
pub(super) fn kwils_own(node: &Node, family: Family) -> Option<String> {
    let own = |name: &Name| OWN_SCHEMAS.contains(&name.schema.as_str());
    match node.kind {
        "ViewStmt" => Some(format!("a view {}", node.relation("view"))),
        "CreateFunctionStmt" => {
            let name = node.names("funcname");
            let of_dataset = family == Family::V09 && name.len() == 2 && name[0].starts_with("ds_");
            (!of_dataset).then(|| format!("a function {}", name.join(".")))
        }
        "IndexStmt" => {
            let table = node.relation("relation");
            own(&table).then(|| format!("an index {} of {table}", node.text("idxname")))
        }
        "CreateStmt" => {
            let table = node.relation("relation");
            // A column that may not be empty needs no look: the rows have values, or the restore ends.
            let is_rule = |rule: &Node| rule.number("contype") != NOT_NULL;
            let has_rule = |element: &Node| element.kind == "Constraint" || element.nodes("constraints").any(is_rule);
            (own(&table) && node.nodes("table_elts").any(has_rule)).then(|| format!("a check or default of {table}"))
        }
        "AlterTableStmt" => {
            let table = node.relation("relation");
            let change =
                node.nodes("cmds").find(|c| c.node("def").is_none_or(|def| def.kind != "ReplicaIdentityStmt"))?;
            let column = change.text("name");
            let rule = change.node("def").map(|def| def.text("conname")).unwrap_or_default();
            own(&table).then(|| format!("a rule {column}{rule} of {table}"))
        }
        _ => None,
    }
}
