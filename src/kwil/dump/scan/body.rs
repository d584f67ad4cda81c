//! Bodies of functions in plpgsql (v0.9's procedures). kwild calls them as a superuser: they may compute, and read and write
//! the tables of their own schema.
//!
//! The block structure comes from PostgreSQL's own parser of plpgsql; each SQL text in it is parsed again and walked. That
//! parser's answer leaves out `#option`s and defaults in DECLARE, so what stands before BEGIN is read here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Made,
    rules::{self, Field},
    walk::{Use, Walk, literal},
};
use crate::{
    base::limits::{FUNCTION_BODY_SIZE_BYTES_MAX, FUNCTION_BODY_TOKENS_MAX, SQL_STATEMENT_TOKENS_MAX},
    dump::{
        token::Name,
        tree::{self, Mode, Node},
    },
};

/// A function as its statement makes it.
pub(super) struct Function<'a> {
    /// The whole statement.
    pub(super) text: &'a str,
    /// The tree of the statement.
    pub(super) node: &'a Node,
    /// The function's name.
    pub(super) name: &'a Name,
}

/// Checks a function; says which dotted names in it must be declared by the text's end.
///
/// # Errors
/// With the first part that does not belong.
pub(super) fn check(function: &Function<'_>, made: &Made) -> Result<BTreeSet<Use>, String> {
    let source = source(function.node)?;
    if source.len() > FUNCTION_BODY_SIZE_BYTES_MAX {
        return Err(format!("a body of more than {FUNCTION_BODY_SIZE_BYTES_MAX} bytes"));
    }
    let (begin, kinds) = declarations(source)?;
    let (signature, after) = function.text.split_once(source).ok_or("a body that is not dollar-quoted")?;
    // The library knows no types but the server's own. Types were judged in the statement's tree and in the head; only for the
    // library's sake the domain is what it is made of here.
    let declare =
        source[..begin].to_ascii_lowercase().replace("public.uint256", "numeric").replace("uint256", "numeric");
    let readable = format!("{}{declare}{}{after}", signature.replace("public.uint256", "numeric"), &source[begin..]);
    let mut body = Body { made, function: function.name, uses: BTreeSet::new(), in_block: false };
    kinds.iter().try_for_each(|kind| body.kind(kind))?;
    body.part(&tree::parse_body(&readable)?)?;
    Ok(body.uses)
}

/// The text of the body; the language must be plpgsql.
fn source(node: &Node) -> Result<&str, String> {
    let option = |name| node.nodes("options").filter(move |option| option.text("defname") == name);
    let language = option("language").filter_map(|option| option.node("arg")).map(|arg| arg.text("sval"));
    if !language.eq(["plpgsql"]) {
        return Err("a function in another language than plpgsql".to_owned());
    }
    let parts: Vec<&str> =
        option("as").filter_map(|option| option.node("arg")).flat_map(|arg| arg.names("items")).collect();
    let [source] = &*parts else { return Err("a function without one body".to_owned()) };
    Ok(source)
}

/// Says at which byte of the body BEGIN stands, and of which types the declared variables are. Before BEGIN there may
/// be Kwil's own option, and names and types after DECLARE.
fn declarations(body: &str) -> Result<(usize, BTreeSet<String>), String> {
    let block = body.trim_start_matches(['\n', ' ', '\t']);
    let block = block.strip_prefix("#variable_conflict use_column\n").unwrap_or(block);
    let before = body.len() - block.len();
    let mut number = 0;
    let (mut kinds, mut declaration) = (BTreeSet::new(), Vec::new());
    for place in
        tree::tokens(block, FUNCTION_BODY_TOKENS_MAX).map_err(|e| format!("a body that cannot be read: {e}"))?
    {
        let word = block.get(place.clone()).unwrap_or_default();
        if word.starts_with("--") || word.starts_with("/*") {
            continue;
        }
        if word.eq_ignore_ascii_case("BEGIN") {
            return Ok((before + place.start, kinds));
        }
        if (number == 0) != word.eq_ignore_ascii_case("DECLARE") {
            return Err(format!("{word:.20} before the body's BEGIN"));
        }
        number += 1;
        let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            || [";", "[", "]", "(", ")", ",", "."].contains(&word);
        let more = ["DEFAULT", "CURSOR", "ALIAS", "CONSTANT", "FOR", "COLLATE", "NOT"];
        if !plain || more.iter().any(|keyword| word.eq_ignore_ascii_case(keyword)) {
            return Err(format!("{word:.20} in DECLARE, where only names and types may stand"));
        }
        match word {
            // A name, then a type.
            ";" => drop(kinds.insert(std::mem::take(&mut declaration).get(1..).unwrap_or_default().join(" "))),
            _ if number == 1 => {}
            // Where no schema is named, the domain of `public` is found.
            _ if declaration.len() == 1 && word.eq_ignore_ascii_case("uint256") => declaration.push("public.uint256"),
            _ => declaration.push(word),
        }
    }
    Err("a body without BEGIN".to_owned())
}

struct Body<'s> {
    made: &'s Made,
    function: &'s Name,
    uses: BTreeSet<Use>,
    /// The one block was entered; one inside of it could have a DECLARE, which is in no answer of the parser.
    in_block: bool,
}

impl Body<'_> {
    /// Checks the type of a variable. Values of a type that is not listed may come from the server's catalogue: a
    /// `regrole` from a number is a role's name.
    fn kind(&self, kind: &str) -> Result<(), String> {
        let tree = tree::parse(&format!("SELECT NULL::{kind}"), Mode::Statement)
            .map_err(|e| format!("a variable of the type {kind:.80}: {e}"))?;
        Walk::body(self.made, self.function).node(&tree)
    }

    fn part(&mut self, part: &Value) -> Result<(), String> {
        let unknown = || "a body of an unknown form".to_owned();
        let parts = match part {
            Value::Array(items) => return items.iter().try_for_each(|item| self.part(item)),
            Value::Object(parts) => parts,
            _ => return Err(unknown()),
        };
        for (kind, inner) in parts {
            if kind == "PLpgSQL_expr" {
                self.expression(inner, false)?;
                continue;
            }
            let Value::Object(fields) = inner else { return Err(unknown()) };
            let known = rules::fields("plpgsql", kind).ok_or_else(|| format!("{kind} in a body"))?;
            if kind == "PLpgSQL_stmt_block" && std::mem::replace(&mut self.in_block, true) {
                return Err("a block inside of a block".to_owned());
            }
            let runs_text = matches!(kind.as_str(), "PLpgSQL_stmt_dynexecute" | "PLpgSQL_stmt_dynfors");
            for (name, value) in fields {
                match rules::field(known, name) {
                    None => return Err(format!("{kind} with {name} in a body")),
                    Some(Field::Nodes) if name == "dynquery" || (runs_text && name == "query") => {
                        self.expression(&value["PLpgSQL_expr"], true)?;
                    }
                    Some(Field::Nodes) => self.part(value)?,
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Checks one SQL text of the body. `runs_text` says that the server will run the text's value as SQL.
    fn expression(&mut self, expression: &Value, runs_text: bool) -> Result<(), String> {
        const STATEMENTS: [&str; 6] =
            ["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "VariableSetStmt", "PlassignStmt"];
        let text = expression["query"].as_str().ok_or("an expression without a text")?;
        let mode = expression["parseMode"].as_i64().and_then(|mode| i32::try_from(mode).ok());
        // The bound on tokens.
        tree::tokens(text, SQL_STATEMENT_TOKENS_MAX)?;
        let tree = tree::parse(text, Mode::Body(mode.ok_or("an expression without a mode")?))?;
        if !STATEMENTS.contains(&tree.kind) {
            return Err(format!("{} in a body", tree.kind));
        }
        if runs_text && !is_foreign_call(&tree) {
            return Err("a body that runs a text as SQL".to_owned());
        }
        let mut walk = Walk::body(self.made, self.function);
        walk.node(&tree)?;
        self.uses.append(&mut walk.uses);
        Ok(())
    }
}

/// Whether this is `format('SELECT * FROM ds_%I.%I($1, $2)', _dbid, _procedure)`, with which Kwil calls a procedure of
/// another schema: `%I` quotes what it puts in.
fn is_foreign_call(tree: &Node) -> bool {
    let [target] = tree.list("target_list") else { return false };
    let Some(call) = target.as_node().and_then(|target| target.node("val")) else { return false };
    let form = call.list("args").first().and_then(literal).unwrap_or_default();
    let inside = ["SELECT * FROM ds_%I.%I(", "SELECT ds_%I.%I("].iter().find_map(|start| form.strip_prefix(start));
    let arguments = inside.and_then(|inside| inside.strip_suffix(')'));
    call.kind == "FuncCall"
        && call.names("funcname") == ["format"]
        && arguments.is_some_and(|arguments| arguments.bytes().all(|b| b"$0123456789, ".contains(&b)))
}
