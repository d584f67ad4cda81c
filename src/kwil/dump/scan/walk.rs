//! The walk over a statement's tree: every node against the table of `rules`, and what the table cannot say: whose a relation,
//! function, type or operator is, and what a dotted name reaches.
//!
//! A name is judged by where it stands in the tree, never by how it is spelt: a table `pg_class` in a user's schema is data.
//!
//! PostgreSQL calls `f(a)` for `a.f` where `a` has no field `f`. On a row of a table, a query or a record that reaches
//! nothing, because no function with effects takes a row; but what a function in FROM returns may be a plain text, and
//! `q.lo_import` of that reads a file. So a dotted name of a table must be a column that the text declares, and one of a
//! function in FROM a field that this function declares.

use std::collections::BTreeSet;

use super::{
    Made,
    names::{is_function, is_operator, is_type},
    rules::{self, Field, Fields, field},
};
use crate::{
    dump::{
        token::Name,
        tree::{Node, Tree, names},
    },
    formats::Family,
};

/// What a dotted name in a body may take its field from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A row of a query, or of a table whose columns are renamed: a field that it has not reaches nothing.
    Row,
    /// A table, which may only be made further down.
    Table(Name),
    /// A function of the same schema, which may only be made further down.
    Function(Name),
    /// A function's row that has these fields and no others.
    Fields(Vec<String>),
}

/// A field that must be declared by the text's end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) source: Source,
    pub(super) field: String,
}

/// The names that one query gives to what it reads.
#[derive(Debug, Default)]
struct Scope {
    items: Vec<(String, Source)>,
    /// What the query reads is being walked: there a name may also be one of the queries around it.
    reading: bool,
}

/// A walk over one tree.
#[derive(Debug)]
pub(super) struct Walk<'s> {
    made: &'s Made,
    context: &'static str,
    /// The schema of the function whose body is walked; only there stand queries.
    home: Option<&'s str>,
    /// The function is one with which Kwil calls a procedure of another schema.
    calls_abroad: bool,
    scopes: Vec<Scope>,
    /// Names of WITH, the innermost query's last.
    with: Vec<Vec<String>>,
    /// The fields in dotted names that must be declared by the text's end.
    pub(super) uses: BTreeSet<Use>,
}

impl<'s> Walk<'s> {
    /// A walk over a statement of the text.
    pub(super) fn statement(made: &'s Made, context: &'static str) -> Self {
        Walk {
            made,
            context,
            home: None,
            calls_abroad: false,
            scopes: Vec::new(),
            with: Vec::new(),
            uses: BTreeSet::new(),
        }
    }

    /// A walk over a statement or expression of a function's body.
    pub(super) fn body(made: &'s Made, function: &'s Name) -> Self {
        let calls_abroad = function.object.starts_with("_fp_");
        Walk { home: Some(&function.schema), calls_abroad, ..Self::statement(made, "body") }
    }

    /// Walks a node and all below it.
    ///
    /// # Errors
    /// With the first thing that does not belong.
    pub(super) fn node(&mut self, node: &Node) -> Result<(), String> {
        let fields = rules::check(self.context, node)?;
        match node.kind {
            "RangeVar" => self.relation(node)?,
            "FuncCall" if self.is_next_value(node) => return Ok(()),
            "FuncCall" => self.function(node)?,
            // Nobody has columns or variables of this type, but a power of two integers is printed with casts to it.
            "TypeCast" if node.node("type_name").is_some_and(is_float8) => {
                return node.get("arg").map_or(Ok(()), |value| self.tree(value));
            }
            "TypeName" => self.type_name(node)?,
            "ColumnRef" => self.column(node)?,
            "AExpr" => match &*node.names("name") {
                [name] if is_operator(name) => {}
                name => return Err(format!("the operator {}", name.join("."))),
            },
            "AConst"
                if node.node("val").is_some_and(|val| !["Ival", "Fval", "Sval", "Boolval"].contains(&val.kind)) =>
            {
                return Err("a constant that no Kwil dump holds".to_owned());
            }
            "AIndirection" | "ResTarget" | "PlassignStmt"
                if node.list("indirection").iter().any(|i| i.as_node().is_none_or(|i| i.kind != "AIndices")) =>
            {
                return Err("a field of a value: where the value has none, that calls a function".to_owned());
            }
            "CollateClause" => match &*node.names("collname") {
                ["public", "nocase"] | ["C"] | ["pg_catalog", "C" | "default"] => {}
                name => return Err(format!("the collation {}", name.join("."))),
            },
            "VariableSetStmt" if !node.text("name").starts_with("ctx.") => {
                return Err(format!("a change of the setting {}", node.text("name")));
            }
            "CommonTableExpr" if node.node("ctequery").is_none_or(|query| query.kind != "SelectStmt") => {
                return Err("WITH a statement that is no query".to_owned());
            }
            "InsertStmt" | "UpdateStmt" | "DeleteStmt"
                if self.home.is_some_and(|home| node.node("relation").is_none_or(|r| r.text("schemaname") != home)) =>
            {
                return Err("a body that writes outside of its own schema".to_owned());
            }
            _ => {}
        }
        if !matches!(node.kind, "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt") {
            return self.fields(node, fields);
        }
        self.with.push(Vec::new());
        if let Some(with) = node.node("with_clause") {
            self.with_clause(with)?;
        }
        self.scopes.push(Scope { items: self.items(node)?, reading: false });
        let result = self.fields(node, fields);
        self.scopes.pop();
        self.with.pop();
        result
    }

    fn fields(&mut self, node: &Node, fields: &Fields) -> Result<(), String> {
        for (name, value) in &node.fields {
            if *name == "with_clause" || !matches!(field(fields, name), Some(Field::Nodes)) {
                continue;
            }
            let reads = matches!(*name, "from_clause" | "using_clause") && node.kind != "JoinExpr";
            let before = self.scopes.last().is_some_and(|scope| scope.reading);
            self.set_reading(before || reads);
            self.tree(value)?;
            self.set_reading(before);
        }
        Ok(())
    }

    fn set_reading(&mut self, reading: bool) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.reading = reading;
        }
    }

    fn tree(&mut self, tree: &Tree) -> Result<(), String> {
        match tree {
            Tree::Node(node) => self.node(node),
            Tree::List(items) => items.iter().try_for_each(|item| self.tree(item)),
            Tree::Nothing => Ok(()),
            Tree::Text(_) | Tree::Number(_) => Err("a value where a part of a statement belongs".to_owned()),
        }
    }

    /// A name of WITH is known to the queries after it, and with RECURSIVE to all of the clause.
    fn with_clause(&mut self, with: &Node) -> Result<(), String> {
        rules::check(self.context, with)?;
        let recursive = with.number("recursive") != 0;
        let name = |query: &Node| query.text("ctename").to_owned();
        if recursive && let Some(level) = self.with.last_mut() {
            level.extend(with.nodes("ctes").map(name));
        }
        for query in with.nodes("ctes") {
            self.node(query)?;
            if !recursive && let Some(level) = self.with.last_mut() {
                level.push(name(query));
            }
        }
        Ok(())
    }

    fn is_with(&self, name: &str) -> bool {
        self.with.iter().flatten().any(|with| with == name)
    }

    /// What a statement reads or changes, by the names that it has there.
    fn items(&self, node: &Node) -> Result<Vec<(String, Source)>, String> {
        let mut items = Vec::new();
        if let Some(target) = node.node("relation") {
            items.push(self.item_of_relation(target));
            if node.kind == "InsertStmt" {
                items.push(("excluded".to_owned(), self.item_of_relation(target).1));
            }
        }
        let read = ["from_clause", "using_clause"].iter().flat_map(|field| node.nodes(field));
        read.into_iter().try_for_each(|node| self.collect(node, &mut items))?;
        Ok(items)
    }

    fn collect(&self, node: &Node, items: &mut Vec<(String, Source)>) -> Result<(), String> {
        let alias = node.node("alias");
        let alias_name = alias.map(|alias| alias.text("aliasname").to_owned());
        match node.kind {
            "RangeVar" => items.push(self.item_of_relation(node)),
            "RangeSubselect" => items.extend(alias_name.map(|name| (name, Source::Row))),
            "JoinExpr" => {
                for side in ["larg", "rarg"].iter().filter_map(|side| node.node(side)) {
                    self.collect(side, items)?;
                }
            }
            "RangeFunction" => {
                // A list for each function: the call, and the columns that it is said to have.
                let calls: Vec<&Node> = node
                    .nodes("functions")
                    .filter_map(|list| list.list("items").first())
                    .filter_map(Tree::as_node)
                    .collect();
                let [call] = &*calls else { return Err("several functions at one place of FROM".to_owned()) };
                let call_name = call.names("funcname");
                let name = alias_name.unwrap_or_else(|| call_name.last().copied().unwrap_or_default().to_owned());
                let columns = alias.map(|alias| alias.names("colnames")).unwrap_or_default();
                let source = match &*call_name {
                    _ if !columns.is_empty() => Source::Fields(columns.iter().map(|c| (*c).to_owned()).collect()),
                    [schema, object] if *schema != "pg_catalog" && *schema != "public" => {
                        Source::Function(Name { schema: (*schema).to_owned(), object: (*object).to_owned() })
                    }
                    // One column, which is called as the function is here.
                    _ => Source::Fields(vec![name.clone()]),
                };
                items.push((name, source));
            }
            kind => return Err(format!("{kind} in FROM")),
        }
        Ok(())
    }

    fn item_of_relation(&self, node: &Node) -> (String, Source) {
        let (schema, object) = (node.text("schemaname"), node.text("relname"));
        let name = node.node("alias").map_or(object, |alias| alias.text("aliasname")).to_owned();
        let renamed = node.node("alias").is_some_and(|alias| !alias.list("colnames").is_empty());
        if schema.is_empty() || renamed {
            return (name, Source::Row);
        }
        (name, Source::Table(Name { schema: schema.to_owned(), object: object.to_owned() }))
    }

    /// A relation is one of this text's; in a body, one of the function's own schema or a name of WITH.
    fn relation(&self, node: &Node) -> Result<(), String> {
        let (schema, name) = (node.text("schemaname"), node.text("relname"));
        if schema.is_empty() {
            let known = self.home.is_some() && self.is_with(name);
            return if known { Ok(()) } else { Err(format!("{name} without a schema")) };
        }
        match self.home {
            Some(home) if home == schema => Ok(()),
            // What it looks up before the call; it can only be read, because a body writes to its own schema.
            Some(_)
                if self.calls_abroad
                    && schema == "kwild_internal"
                    && ["kwil_schemas", "procedures"].contains(&name) =>
            {
                Ok(())
            }
            Some(_) => Err(format!("{schema}.{name}, which stands outside of the function's own schema")),
            None if self.made.schemas.contains(schema) => Ok(()),
            None => Err(format!("{schema}.{name}, which stands in a schema that this file does not make")),
        }
    }

    fn function(&self, node: &Node) -> Result<(), String> {
        let given = node.list("args").first().and_then(literal);
        let parts = node.names("funcname");
        let (schema, name) = match &*parts {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            _ => return Err(format!("a call of {}", parts.join("."))),
        };
        let fits = match name {
            _ if is_function(schema, name) => true,
            _ if self.home.is_some() && schema == self.home => true,
            "current_setting" if self.home.is_some() && schema.is_none_or(|s| s == "pg_catalog") => {
                given.is_some_and(|s| s.starts_with("ctx.") || s == "transaction_read_only")
            }
            "set_config" if self.home.is_some() && schema.is_none_or(|s| s == "pg_catalog") => {
                given.is_some_and(|s| s.starts_with("ctx."))
            }
            "setval" if self.context == "SelectStmt" => given.is_some_and(|sequence| self.made.is_sequence(sequence)),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("a call of the function {}", parts.join("."))) }
    }

    /// `nextval('schema.sequence'::regclass)`, as the default of a table's column.
    fn is_next_value(&self, node: &Node) -> bool {
        let [argument] = node.list("args") else { return false };
        let cast = argument.as_node().filter(|node| node.kind == "TypeCast" && node.fields.len() == 2);
        let is_regclass =
            cast.and_then(|cast| cast.node("type_name")).is_some_and(|t| t.names("names") == ["regclass"]);
        let sequence = cast.and_then(|cast| cast.get("arg")).and_then(literal);
        self.context == "AlterTableStmt"
            && matches!(&*node.names("funcname"), ["nextval"] | ["pg_catalog", "nextval"])
            && node.fields.iter().all(|(name, _)| ["funcname", "args", "funcformat"].contains(name))
            && is_regclass
            && sequence.is_some_and(|sequence| self.made.is_sequence(sequence))
    }

    fn type_name(&self, node: &Node) -> Result<(), String> {
        let parts = node.names("names");
        let fits = match &*parts {
            [name] | ["pg_catalog", name] if is_type(name) => true,
            ["public", "uint256"] => self.made.family() == Family::V09,
            [schema, object] => {
                self.made.types.contains(&Name { schema: (*schema).to_owned(), object: (*object).to_owned() })
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("the type {}", parts.join("."))) }
    }

    fn column(&mut self, node: &Node) -> Result<(), String> {
        let list = node.list("fields");
        let parts = names(list);
        if list.last().and_then(Tree::as_node).is_some_and(|last| last.kind == "AStar") || parts.len() == 1 {
            return Ok(());
        }
        let said = parts.join(".");
        match &*parts {
            _ if self.home.is_none() => Err(format!("the dotted name {said}")),
            [name, last] => {
                let field = (*last).to_owned();
                for scope in self.scopes.iter().rev() {
                    let named: Vec<Source> =
                        scope.items.iter().filter(|(item, _)| item == name).map(|(_, source)| source.clone()).collect();
                    let found = !named.is_empty();
                    for source in named {
                        match &source {
                            Source::Row => {}
                            Source::Fields(fields) if fields.contains(&field) => {}
                            Source::Fields(_) => return Err(format!("{said}, which may call the function {field}")),
                            Source::Table(_) | Source::Function(_) => {
                                self.uses.insert(Use { source, field: field.clone() });
                            }
                        }
                    }
                    if found && !scope.reading {
                        break;
                    }
                }
                // A variable of the function otherwise: what has no such field is an error.
                Ok(())
            }
            [schema, table, field] if Some(*schema) == self.home => {
                let source = Source::Table(Name { schema: (*schema).to_owned(), object: (*table).to_owned() });
                self.uses.insert(Use { source, field: (*field).to_owned() });
                Ok(())
            }
            _ => Err(format!("the dotted name {said}")),
        }
    }
}

/// `double precision`, as the parser names it.
fn is_float8(type_name: &Node) -> bool {
    type_name.names("names") == ["pg_catalog", "float8"] && type_name.fields.len() == 2
}

/// The text of an argument that is a plain literal.
pub(super) fn literal(argument: &Tree) -> Option<&str> {
    let constant = argument.as_node().filter(|node| node.kind == "AConst")?;
    Some(constant.node("val").filter(|val| val.kind == "Sval")?.text("sval"))
}
