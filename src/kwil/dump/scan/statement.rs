//! Takes each statement of a text and accepts or refuses it, one function for each kind: what it makes, and what must
//! have been made before.

use std::collections::BTreeSet;

use super::{
    Guard, NO_VOTING, State, Table, Use, VOTING, body, known,
    rules::is_context,
    walk::{Source, Walk},
};
use crate::{
    dump::{
        token::Name,
        tree::{self, Mode, Node},
    },
    formats::Family,
};

/// What follows an accepted statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    Plain,
    /// Rows follow, of so many columns.
    Copy {
        table: Name,
        columns: usize,
    },
}

/// Whether a schema is PostgreSQL's own, of one node's private state, or named as the roles that usually restore: names
/// without a schema are looked up in the schema that is called as the role.
fn is_forbidden_schema(name: &str) -> bool {
    const FORBIDDEN: [&str; 8] = [
        "information_schema",
        "kwild",
        "kwild_chain",
        "kwild_events",
        "kwild_migrations",
        "kwild_peers",
        "postgres",
        "public",
    ];
    FORBIDDEN.contains(&name) || name.starts_with("pg_")
}

fn is_v09_schema(name: &str) -> bool {
    ["kwild_accts", "kwild_internal", VOTING].contains(&name) || name.starts_with("ds_")
}

/// The name in a field, which must be of two parts: a schema and an object in it.
fn qualified_name(node: &Node, field: &str) -> Result<Name, String> {
    match &*node.names(field) {
        [schema, object] => Ok(Name { schema: (*schema).to_owned(), object: (*object).to_owned() }),
        name => Err(format!("the name {} is not of a schema and one in it", name.join("."))),
    }
}

impl State {
    /// Accepts one of the statements of a Kwil dump and notes what it makes, or says why not.
    pub(super) fn accept(&mut self, text: &str, line: u64) -> Result<Accepted, String> {
        if self.height.is_some() {
            return Err("a statement after the closing UPDATE".to_owned());
        }
        let node = tree::parse(text, Mode::Statement)?;
        let kind = node.kind;
        if !is_context(kind) && kind != "ViewStmt" {
            return Err(format!("{kind} is no statement of a Kwil dump"));
        }
        if kind == "CreateSchemaStmt" {
            return self.create_schema(&node);
        }
        self.complete_schemas()?;
        known::check(&node, self.made.family())?;
        match kind {
            "ViewStmt" => return self.create_view(&node),
            "CreateFunctionStmt" => return self.create_function(&node, text, line),
            "CreateEnumStmt" => drop(self.own(qualified_name(&node, "type_name")?)?),
            "CopyStmt" => return self.copy(&node),
            "SelectStmt" => set_value(&node)?,
            "UpdateStmt" => self.height = Some(height(&node)?),
            "GrantStmt" | "AlterDefaultPrivilegesStmt" if self.guard != Guard::None => {
                return Err(
                    "privileges of one machine's roles: where a role is missing, the restore would end".to_owned()
                );
            }
            "GrantStmt" | "AlterDefaultPrivilegesStmt" => self.privileges(&node)?,
            "AlterTableStmt" => drop(self.own_table(node.relation("relation"))?),
            "IndexStmt" => drop(self.own_table(node.relation("relation"))?),
            _ => {}
        }
        Walk::statement(&self.made, kind).node(&node)?;
        match kind {
            "CreateStmt" => self.create_table(&node)?,
            "CreateEnumStmt" => drop(self.made.types.insert(qualified_name(&node, "type_name")?)),
            "CreateSeqStmt" => drop(self.made.sequences.insert(self.own(node.relation("sequence"))?)),
            "AlterSeqStmt" => self.alter_sequence(&node)?,
            "AlterTableStmt" => self.alter_table(&node)?,
            "IndexStmt" => self.own_table(node.relation("relation"))?.closed = true,
            _ => {}
        }
        Ok(Accepted::Plain)
    }

    fn create_schema(&mut self, node: &Node) -> Result<Accepted, String> {
        Walk::statement(&self.made, node.kind).node(node)?;
        let name = node.text("schemaname");
        // In a guarded text that of kwild_voting comes last; kwild leaves kwild_internal behind after a restore that failed.
        if self.schemas_complete && name != VOTING {
            return Err("a schema is made after the first object".to_owned());
        }
        if node.number("if_not_exists") != 0 && name != "kwild_internal" {
            return Err("a schema that may be there already, with whatever is in it".to_owned());
        }
        if is_forbidden_schema(name) {
            return Err(format!("the schema {name} does not belong into a snapshot"));
        }
        if !self.made.schemas.insert(name.to_owned()) {
            return Err(format!("the schema {name} is made twice"));
        }
        Ok(Accepted::Plain)
    }

    /// Notes that the schemas are complete, at the first statement that makes none: from here on the family is known.
    fn complete_schemas(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.schemas_complete, true) {
            return Ok(());
        }
        if self.guard == Guard::None && !self.made.schemas.contains(VOTING) {
            return Err(NO_VOTING.to_owned());
        }
        if self.made.family() == Family::V010 {
            return Ok(());
        }
        match self.made.schemas.iter().find(|schema| !is_v09_schema(schema)) {
            Some(foreign) => {
                Err(format!("the schema {foreign} is none of Kwil {}, and kwild_engine is missing", self.made.family()))
            }
            None => Ok(()),
        }
    }

    /// Gives back a name in a schema of this file, and refuses others: nothing else may be made or changed.
    fn own(&self, name: Name) -> Result<Name, String> {
        if self.made.schemas.contains(&name.schema) {
            Ok(name)
        } else {
            Err(format!("{name} stands in a schema that this file does not make"))
        }
    }

    fn own_table(&mut self, name: Name) -> Result<&mut Table, String> {
        self.made.tables.get_mut(&name).ok_or_else(|| format!("{name} is no table that this file makes"))
    }

    fn create_table(&mut self, node: &Node) -> Result<(), String> {
        let name = self.own(node.relation("relation"))?;
        if name.is("kwild_internal", "sentry") {
            return Err("kwild_internal.sentry is one node's own table".to_owned());
        }
        let misplaced = |element: &Node| match element.kind {
            "ColumnDef" => element.nodes("constraints").any(|rule| rule.number("contype") == CHECK),
            _ => element.number("contype") != CHECK,
        };
        if node.nodes("table_elts").any(misplaced) {
            return Err("a rule where pg_dump writes none".to_owned());
        }
        // An expression may have them in between; a column would differ between machines.
        let is_float =
            |element: &Node| element.node("type_name").is_some_and(|t| t.names("names").last() == Some(&"float8"));
        if node.nodes("table_elts").any(is_float) {
            return Err("a column of the type double precision, which no Kwil table has".to_owned());
        }
        let columns = node.nodes("table_elts").filter(|e| e.kind == "ColumnDef").map(|c| c.text("colname").to_owned());
        let table = Table { columns: columns.collect(), ..Table::default() };
        match self.made.tables.insert(name.clone(), table) {
            Some(_) => Err(format!("{name} is made twice")),
            None => Ok(()),
        }
    }

    /// Checks that privileges on a schema are on one of this file's; those on relations are for the walk.
    fn privileges(&self, node: &Node) -> Result<(), String> {
        let schemas = match node.kind {
            "GrantStmt" => {
                node.nodes("objects").filter(|object| object.kind == "String").map(|o| o.text("sval")).collect()
            }
            _ => {
                let named = node.nodes("options").filter(|option| option.text("defname") == "schemas");
                named.filter_map(|option| option.node("arg")).flat_map(|arg| arg.names("items")).collect::<Vec<_>>()
            }
        };
        if node.kind != "GrantStmt" && schemas.is_empty() {
            return Err("privileges in every schema".to_owned());
        }
        match schemas.iter().find(|schema| !self.made.schemas.contains(**schema)) {
            Some(schema) => Err(format!("privileges in {schema}, which this file does not make")),
            None => Ok(()),
        }
    }

    /// Checks that a sequence of this file is made to be owned by a column of a table of this file.
    fn alter_sequence(&mut self, node: &Node) -> Result<(), String> {
        let name = node.relation("sequence");
        if !self.made.sequences.contains(&name) {
            return Err(format!("{name} is no sequence that this file makes"));
        }
        let owner: Vec<&str> =
            node.nodes("options").filter_map(|o| o.node("arg")).flat_map(|arg| arg.names("items")).collect();
        let [schema, object, _] = &*owner else { return Err("a sequence of no table's column".to_owned()) };
        self.own_table(Name { schema: (*schema).to_owned(), object: (*object).to_owned() }).map(|_| ())
    }

    /// Notes whether a change gives the table a key or check, after which no rows may come.
    fn alter_table(&mut self, node: &Node) -> Result<(), String> {
        let name = node.relation("relation");
        let closes = node.nodes("cmds").filter_map(|c| c.node("def")).any(|def| def.kind == "Constraint");
        self.own_table(name)?.closed |= closes;
        Ok(())
    }

    fn copy(&mut self, node: &Node) -> Result<Accepted, String> {
        Walk::statement(&self.made, node.kind).node(node)?;
        let name = node.relation("relation");
        let columns = node.names("attlist");
        let table = self.own_table(name.clone())?;
        if columns.len() != table.columns.len() || !columns.iter().eq(table.columns.iter()) {
            return Err(format!("the columns are not those of {name}"));
        }
        if table.closed {
            return Err(format!("rows for {name} after its keys, which pg_dump writes after the rows"));
        }
        if std::mem::replace(&mut table.copied, true) {
            return Err(format!("rows for {name} come twice"));
        }
        Ok(Accepted::Copy { table: name, columns: columns.len() })
    }

    fn create_view(&mut self, node: &Node) -> Result<Accepted, String> {
        self.own(node.relation("view"))?;
        Ok(Accepted::Plain)
    }

    fn create_function(&mut self, node: &Node, text: &str, line: u64) -> Result<Accepted, String> {
        let name = self.own(qualified_name(node, "funcname")?)?;
        if known::name(node).is_some() {
            return Ok(Accepted::Plain);
        }
        Walk::statement(&self.made, node.kind).node(node)?;
        let uses = body::check(&body::Function { text, node, name: &name }, &self.made)?;
        for used in uses {
            self.keep(used, line);
        }
        let returned = node.nodes("parameters").filter(|p| [OUT, IN_OUT, OF_TABLE].contains(&p.number("mode")));
        let fields: BTreeSet<String> = returned.map(|p| p.text("name").to_owned()).collect();
        self.made.functions.entry(name).and_modify(|of_all| of_all.retain(|f| fields.contains(f))).or_insert(fields);
        Ok(Accepted::Plain)
    }

    /// Remembers a field that must be declared by the text's end, unless it already is; another function of the same name may
    /// still take one away.
    fn keep(&mut self, used: Use, line: u64) {
        if matches!(used.source, Source::Function(_)) || !self.made.declares(&used) {
            self.uses.entry(used).or_insert(line);
        }
    }
}

/// The server's number for a constraint that is a check.
const CHECK: i64 = 6;
/// The server's numbers for arguments by which a function gives something out.
const OUT: i64 = 2;
const IN_OUT: i64 = 3;
const OF_TABLE: i64 = 5;

/// Checks that a query is `SELECT pg_catalog.setval('sequence', n, true);`, the only one that may come; whose sequence
/// it is, the walk judges.
fn set_value(node: &Node) -> Result<(), String> {
    let call = match node.list("target_list") {
        [target] => target.as_node().and_then(|target| target.node("val")),
        _ => None,
    };
    match call {
        Some(call) if call.kind == "FuncCall" && call.names("funcname") == ["pg_catalog", "setval"] => Ok(()),
        _ => Err("a query other than pg_dump's own".to_owned()),
    }
}

/// The height in `UPDATE kwild_voting.resolutions SET expiration = expiration-<height>;`; no other UPDATE may come.
fn height(node: &Node) -> Result<i64, String> {
    let only = || "an UPDATE other than the one that Kwil's tool ends a snapshot with".to_owned();
    let [target] = node.list("target_list") else { return Err(only()) };
    let value =
        target.as_node().and_then(|target| target.node("val")).filter(|val| val.kind == "AExpr").ok_or_else(only)?;
    let column = value.node("lexpr").filter(|left| left.names("fields") == ["expiration"]);
    let number = value.node("rexpr").and_then(|right| right.node("val"));
    if value.names("name") != ["-"] || column.is_none() || !node.list("where_clause").is_empty() {
        return Err(only());
    }
    match number {
        Some(number) if number.kind == "Ival" => Ok(number.number("ival")),
        Some(number) if number.kind == "Fval" => number.text("fval").parse().map_err(|_| only()),
        _ => Err(only()),
    }
}
