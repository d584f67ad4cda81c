//! Takes a statement and gives the part of a schema that it makes: its name in words, and the digest of its tree.

use serde::{Deserialize, Serialize};

use crate::{
    base::Blake3Hash,
    dump::{
        scan::{known_name, plain},
        tree::{self, Mode, Node, Tree},
    },
};

/// A part of a schema: what one statement makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaPart {
    /// What it is, in words: `table a.b`, `constraint c of a.b`.
    pub name: String,
    /// The digest of its statement's tree.
    pub digest: Blake3Hash,
}

/// Statements that make no part of a schema, or one that differs between honest nodes.
const NO_PART: [&str; 17] = [
    "AlterDatabaseRefreshCollStmt",
    "AlterDatabaseSetStmt",
    "AlterDatabaseStmt",
    "AlterDefaultPrivilegesStmt",
    "AlterOwnerStmt",
    "CommentStmt",
    "CopyStmt",
    "CreatedbStmt",
    "DropdbStmt",
    "GrantRoleStmt",
    "GrantStmt",
    "SecLabelStmt",
    "SelectStmt",
    "TransactionStmt",
    "UpdateStmt",
    "VariableSetStmt",
    "VariableShowStmt",
];
/// The server's numbers for changes of a table: of its owner and, below, the mark that an operator has had it sorted.
const CHANGE_OWNER: i64 = 27;
const CLUSTER_ON: i64 = 28;

/// The part of the schema that a statement makes; `None` where it makes none, or one that differs between honest nodes.
///
/// # Errors
/// When the text is no statement that PostgreSQL reads.
pub(super) fn part(text: &str) -> Result<Option<SchemaPart>, String> {
    let text = text.trim_end_matches('\n');
    plain::check(text.as_bytes())?;
    let mut node = tree::parse(text, Mode::Statement)?;
    if NO_PART.contains(&node.kind) || is_private(&node) {
        return Ok(None);
    }
    if node.kind == "CreateSchemaStmt" {
        node.fields.retain(|(field, _)| *field != "if_not_exists");
    }
    let digest = match known_name(&node) {
        Some(known) => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"regenesis/known/v1\0").update(known.as_bytes());
            Blake3Hash::from_bytes(*hasher.finalize().as_bytes())
        }
        None => node.hash(),
    };
    Ok(Some(SchemaPart { name: name(&node), digest }))
}

/// Whether a statement is about what one server has and another need not: owners, the order of rows, TRUF's own
/// sequence, and the key of votes that no restore of a state with votes makes.
fn is_private(node: &Node) -> bool {
    match node.kind {
        "CreateSeqStmt" | "AlterSeqStmt" => node.relation("sequence").is("kwild_internal", "sentry_seq"),
        "AlterTableStmt" => node.nodes("cmds").all(|command| {
            [CHANGE_OWNER, CLUSTER_ON].contains(&command.number("subtype"))
                || command.node("def").is_some_and(|def| def.text("conname") == "votes_voter_id_fkey")
        }),
        _ => false,
    }
}

fn name(node: &Node) -> String {
    match node.kind {
        "CreateSchemaStmt" => format!("schema {}", node.text("schemaname")),
        "CreateStmt" => format!("table {}", node.relation("relation")),
        "CreateEnumStmt" => format!("type {}", node.names("type_name").join(".")),
        "CreateSeqStmt" | "AlterSeqStmt" => format!("sequence {}", node.relation("sequence")),
        "ViewStmt" => format!("view {}", node.relation("view")),
        "IndexStmt" => format!("index {} of {}", node.text("idxname"), node.relation("relation")),
        "CreateFunctionStmt" => {
            let types = node.nodes("parameters").filter_map(|p| p.node("arg_type"));
            let types: Vec<&str> = types.filter_map(|t| t.names("names").last().copied()).collect();
            format!("function {}({})", node.names("funcname").join("."), types.join(", "))
        }
        "AlterTableStmt" => {
            let table = node.relation("relation");
            let command = node.list("cmds").first().and_then(Tree::as_node);
            let rule = command.and_then(|command| command.node("def"));
            match (command, rule.map(|rule| (rule.kind, rule.text("conname")))) {
                (_, Some(("Constraint", constraint))) => format!("constraint {constraint} of {table}"),
                (_, Some(("ReplicaIdentityStmt", _))) => format!("replica identity of {table}"),
                (Some(command), _) if !command.text("name").is_empty() => {
                    format!("default of {} of {table}", command.text("name"))
                }
                _ => format!("a property of {table}"),
            }
        }
        kind => format!("a {kind}"),
    }
}
