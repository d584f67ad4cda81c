//! Expressions: defaults, checks, index columns and the queries of views. They run while psql restores (or, in views,
//! when kwild asks), as a superuser, so they may call only functions that compute.

use super::{
    super::token::Token,
    cursor::{Cursor, Reason},
    types::{Column, Types},
};

/// Where an expression stands, and so what it may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// A default: no columns.
    Default,
    /// A check or an index: the table's columns.
    Table(&'a [Column]),
    /// A view's query.
    View,
}

/// Functions that only compute: those of Kwil's two engines as PostgreSQL prints them, and its other built-in ones that
/// have no effect, read no file and no table.
const FUNCTIONS: &[&str] = &[
    "abs",
    "acos",
    "array_agg",
    "array_append",
    "array_cat",
    "array_dims",
    "array_length",
    "array_lower",
    "array_ndims",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_replace",
    "array_to_string",
    "array_upper",
    "ascii",
    "asin",
    "atan",
    "atan2",
    "avg",
    "bit_and",
    "bit_count",
    "bit_length",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "cbrt",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "convert_from",
    "convert_to",
    "cos",
    "cot",
    "count",
    "date_part",
    "date_trunc",
    "decode",
    "degrees",
    "dense_rank",
    "digest",
    "div",
    "encode",
    "exp",
    "extract",
    "factorial",
    "first_value",
    "floor",
    "format",
    "format_unix_timestamp",
    "gcd",
    "gen_random_uuid",
    "get_bit",
    "get_byte",
    "greatest",
    "hashtext",
    "initcap",
    "isempty",
    "lag",
    "last_value",
    "lcm",
    "lead",
    "least",
    "left",
    "length",
    "ln",
    "log",
    "log10",
    "lower",
    "lpad",
    "ltrim",
    "max",
    "md5",
    "min",
    "min_scale",
    "mod",
    "normalize",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "overlay",
    "parse_ident",
    "parse_unix_timestamp",
    "percent_rank",
    "pi",
    "position",
    "power",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "radians",
    "rank",
    "regexp_count",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "regexp_substr",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rpad",
    "rtrim",
    "scale",
    "set_bit",
    "set_byte",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sign",
    "sin",
    "sinh",
    "split_part",
    "sqrt",
    "starts_with",
    "string_agg",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "sum",
    "tan",
    "tanh",
    "to_ascii",
    "to_char",
    "to_hex",
    "to_number",
    "to_timestamp",
    "translate",
    "trim",
    "trim_array",
    "trim_scale",
    "trunc",
    "unistr",
    "unnest",
    "upper",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "uuid_generate_v5",
    "uuid_nil",
    "width_bucket",
];

/// More for views: the catalogue functions of `info`, and the engine's own.
const VIEW_FUNCTIONS: &[&str] = &["format_pg_type", "format_type", "pg_get_constraintdef", "pg_get_expr"];

/// What views may read of the catalogue: those of `info`, and what else describes tables.
const CATALOGUE: &[&str] = &[
    "pg_am",
    "pg_attrdef",
    "pg_attribute",
    "pg_catalog",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_index",
    "pg_indexes",
    "pg_namespace",
    "pg_sequence",
    "pg_sequences",
    "pg_tables",
    "pg_type",
    "pg_views",
];

/// Words of expressions that are neither columns nor functions.
const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "asc",
    "asymmetric",
    "between",
    "case",
    "cast",
    "collate",
    "desc",
    "distinct",
    "else",
    "end",
    "escape",
    "exists",
    "false",
    "first",
    "from",
    "ilike",
    "in",
    "is",
    "isnull",
    "last",
    "like",
    "not",
    "notnull",
    "null",
    "nulls",
    "or",
    "placing",
    "row",
    "similar",
    "some",
    "symmetric",
    "then",
    "to",
    "true",
    "unknown",
    "when",
    "for",
    "both",
    "leading",
    "trailing",
];

/// Words that may stand before a parenthesis in a query.
const QUERY_KEYWORDS: &[&str] = &[
    "as",
    "by",
    "except",
    "filter",
    "having",
    "intersect",
    "join",
    "lateral",
    "on",
    "over",
    "select",
    "union",
    "using",
    "values",
    "where",
    "with",
];

fn is_one_of(list: &[&str], word: &str) -> bool {
    list.iter().any(|w| w.eq_ignore_ascii_case(word))
}

/// Refuses an expression that could do harm.
pub(super) fn check(tokens: &[Token<'_>], place: Place<'_>, types: &Types) -> Result<(), Reason> {
    if tokens.is_empty() {
        return Err("an expression is missing".to_owned());
    }
    let mut depth = 0i64;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let before = at.checked_sub(1).and_then(|i| tokens.get(i));
        let after = tokens.get(at + 1);
        match token {
            Token::Symbol("(" | "[") => depth += 1,
            Token::Symbol(")" | "]") => depth -= 1,
            Token::Symbol(";") => return Err("a semicolon stands inside a statement".to_owned()),
            Token::Symbol("::") if !matches!(place, Place::View) => {
                at = check_cast(tokens, at, types)?;
                continue;
            }
            Token::Body(_) => return Err("a dollar-quoted text stands in an expression".to_owned()),
            Token::Word(_) | Token::Quoted(_) => {
                let name = token.name().unwrap_or_default();
                if after.is_some_and(|t| t.is_symbol("(")) {
                    check_call(tokens, at, &name, place)?;
                } else {
                    let path = before.is_some_and(|t| t.is_symbol(".")) || after.is_some_and(|t| t.is_symbol("."));
                    check_word(token, &name, path, place)?;
                }
            }
            _ => {}
        }
        if depth < 0 {
            return Err("parentheses do not match".to_owned());
        }
        at += 1;
    }
    if depth == 0 { Ok(()) } else { Err("parentheses do not match".to_owned()) }
}

/// `::type` in a table's expression; a literal before it must be a value of the type. The answer is the position after
/// it.
fn check_cast(tokens: &[Token<'_>], at: usize, types: &Types) -> Result<usize, Reason> {
    let mut cursor = Cursor::new(&tokens[at + 1..]);
    let (kind, _) = types.read(&mut cursor)?;
    let literal = at.checked_sub(1).and_then(|i| match &tokens[i] {
        Token::Literal(text) => Some(*text),
        _ => None,
    });
    if literal.is_some_and(|text| !types.fits(&kind, text)) {
        return Err(format!("a literal is no value of type {kind}"));
    }
    Ok(tokens.len() - cursor.rest.len())
}

fn check_call(tokens: &[Token<'_>], at: usize, name: &str, place: Place<'_>) -> Result<(), Reason> {
    let before = at.checked_sub(1).and_then(|i| tokens.get(i));
    let keyword = matches!(tokens[at], Token::Word(_)) && before.is_none_or(|t| !t.is_symbol("."));
    let view = matches!(place, Place::View);
    if keyword && (is_one_of(KEYWORDS, name) || (view && is_one_of(QUERY_KEYWORDS, name))) {
        return Ok(());
    }
    // `unnest(…) cols(colnum)` and `WITH ORDINALITY x(a, b)` name columns.
    if view && before.is_some_and(|t| t.is_symbol(")") || t.is("ORDINALITY")) {
        return Ok(());
    }
    let schema = match before {
        Some(dot) if dot.is_symbol(".") => at.checked_sub(2).and_then(|i| tokens[i].name()),
        _ => None,
    };
    let allowed = match schema.as_deref() {
        None | Some("pg_catalog" | "public") => {
            is_one_of(FUNCTIONS, name)
                || (view && schema.as_deref() != Some("public") && is_one_of(VIEW_FUNCTIONS, name))
        }
        Some("kwild_engine") => view && ["format_type", "format_pg_type"].contains(&name),
        Some(_) => false,
    };
    if allowed { Ok(()) } else { Err(format!("a call of the function {name}, which no Kwil dump holds")) }
}

/// A view's word: of the server's catalogue only what describes tables, since `info` is for everybody to read.
fn check_catalogue(name: &str) -> Result<(), Reason> {
    let describes = !name.starts_with("pg_") || CATALOGUE.contains(&name);
    if describes && !name.starts_with("_pg_") && !name.starts_with("user_mapping") {
        Ok(())
    } else {
        Err(format!("a view over {name} of the server's catalogue"))
    }
}

fn check_word(token: &Token<'_>, name: &str, path: bool, place: Place<'_>) -> Result<(), Reason> {
    let quoted = matches!(token, Token::Quoted(_));
    let known = match place {
        Place::View => return check_catalogue(name),
        Place::Default => false,
        Place::Table(columns) => columns.iter().any(|c| c.name == name),
    };
    // `COLLATE public.nocase`, `COLLATE "C"`
    let collation = ["public", "nocase", "pg_catalog", "default", "C"].contains(&name);
    let keyword = !quoted && is_one_of(KEYWORDS, name);
    if known || keyword || collation || (path && name == "char") {
        Ok(())
    } else {
        Err(format!("{name} is neither a column of the table nor a word of an expression"))
    }
}
