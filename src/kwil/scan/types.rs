//! Types of columns and of expressions, and what a literal of each looks like to the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    super::token::{Name, Token},
    cursor::{Cursor, Reason},
};

/// Every server takes numbers of this length.
const NUMBER_BYTES_MAX: usize = 1000;

/// A type but for being an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    BigInt,
    Boolean,
    Bytea,
    Double,
    Enum(Name),
    Integer,
    Numeric,
    SmallInt,
    Text,
    /// v0.9's domain over numeric.
    Uint256,
    /// A literal without a cast.
    Unknown,
    Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) base: Base,
    pub(super) array: bool,
}

impl Type {
    pub(super) fn scalar(base: Base) -> Self {
        Type { base, array: false }
    }

    pub(super) fn array(base: Base) -> Self {
        Type { base, array: true }
    }

    /// The type of a number without a cast.
    pub(super) fn of_number(text: &str) -> Option<Self> {
        if text.len() > NUMBER_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        Some(Type::scalar(if text.contains('.') {
            Base::Numeric
        } else if text.parse::<i32>().is_ok() {
            Base::Integer
        } else if text.parse::<i64>().is_ok() {
            Base::BigInt
        } else {
            Base::Numeric
        }))
    }

    pub(super) fn is(&self, base: &Base) -> bool {
        !self.array && self.base == *base
    }

    /// The type that operators and functions see: a domain's own.
    pub(super) fn seen(self) -> Self {
        if self.is(&Base::Uint256) { Type::scalar(Base::Numeric) } else { self }
    }

    /// Integers by width.
    pub(super) fn width(&self) -> Option<u8> {
        match (&self.base, self.array) {
            (Base::SmallInt, false) => Some(2),
            (Base::Integer, false) => Some(4),
            (Base::BigInt, false) => Some(8),
            _ => None,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        self.width().is_some() || (!self.array && matches!(self.base, Base::Numeric | Base::Double | Base::Uint256))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Base::BigInt => f.write_str("bigint"),
            Base::Boolean => f.write_str("boolean"),
            Base::Bytea => f.write_str("bytea"),
            Base::Double => f.write_str("double precision"),
            Base::Enum(name) => name.fmt(f),
            Base::Integer => f.write_str("integer"),
            Base::Numeric => f.write_str("numeric"),
            Base::SmallInt => f.write_str("smallint"),
            Base::Text => f.write_str("text"),
            Base::Uint256 => f.write_str("public.uint256"),
            Base::Unknown => f.write_str("unknown"),
            Base::Uuid => f.write_str("uuid"),
        }?;
        f.write_str(if self.array { "[]" } else { "" })
    }
}

/// Precision and scale of a numeric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Precision {
    pub(super) digits: u32,
    pub(super) scale: i64,
}

/// A column of a table of this file.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) precision: Option<Precision>,
}

/// The types there are.
#[derive(Debug, Default)]
pub(super) struct Types {
    /// Labels of each enum of this file, undecoded.
    pub(super) enums: BTreeMap<Name, BTreeSet<String>>,
    /// v0.9's domain, which kwild makes before it restores.
    pub(super) uint256: bool,
}

impl Types {
    /// Reads a type as pg_dump writes it; with its precision.
    pub(super) fn read(&self, cursor: &mut Cursor<'_, '_>) -> Result<(Type, Option<Precision>), Reason> {
        let base = if cursor.rest.get(1).is_some_and(|t| t.is_symbol(".")) {
            let name = cursor.qualified()?;
            if self.uint256 && name.is("public", "uint256") {
                Base::Uint256
            } else if self.enums.contains_key(&name) {
                Base::Enum(name)
            } else {
                return Err(format!("the type {name} is not made by this file"));
            }
        } else {
            // Quoted, these are other types or none.
            let Some(Token::Word(word)) = cursor.next() else { return Err("expected a type".to_owned()) };
            match word.to_ascii_lowercase().as_str() {
                "bigint" => Base::BigInt,
                "boolean" => Base::Boolean,
                "bytea" => Base::Bytea,
                "double" if cursor.eat(&["precision"]) => Base::Double,
                "integer" => Base::Integer,
                "numeric" => Base::Numeric,
                "smallint" => Base::SmallInt,
                "text" => Base::Text,
                "uuid" => Base::Uuid,
                other => return Err(format!("no Kwil table has columns of type {other}")),
            }
        };
        let precision = if base == Base::Numeric && cursor.rest.first().is_some_and(|t| t.is_symbol("(")) {
            Some(precision(cursor.parenthesis()?)?)
        } else {
            None
        };
        let array = cursor.eat_symbol("[");
        if array {
            cursor.expect_symbol("]")?;
        }
        Ok((Type { base, array }, precision))
    }

    /// Does the server take the literal for a value of the type?
    pub(super) fn fits(&self, kind: &Type, text: &str) -> bool {
        if kind.array {
            return elements(text).is_some_and(|all| {
                all.iter().all(|e| e.eq_ignore_ascii_case("null") || self.fits_base(&kind.base, e))
            });
        }
        self.fits_base(&kind.base, text)
    }

    fn fits_base(&self, base: &Base, text: &str) -> bool {
        match base {
            Base::BigInt => text.parse::<i64>().is_ok(),
            Base::Integer => text.parse::<i32>().is_ok(),
            Base::SmallInt => text.parse::<i16>().is_ok(),
            Base::Numeric | Base::Double => is_decimal(text),
            Base::Uint256 => is_uint256(text),
            Base::Boolean => ["t", "f", "true", "false"].contains(&text),
            Base::Bytea => {
                text.strip_prefix("\\x").is_some_and(|d| d.len() % 2 == 0 && d.bytes().all(|b| b.is_ascii_hexdigit()))
            }
            Base::Uuid => {
                let groups: Vec<usize> = text.split('-').map(str::len).collect();
                groups == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
            }
            Base::Enum(name) => self.enums.get(name).is_some_and(|labels| labels.contains(text)),
            Base::Text => true,
            Base::Unknown => false,
        }
    }
}

/// `(precision, scale)` in the server's bounds: beyond them the table would not be made.
fn precision(tokens: &[Token<'_>]) -> Result<Precision, Reason> {
    let bad = || "a numeric type that the server does not have".to_owned();
    let mut cursor = Cursor::new(tokens);
    let digits: u32 = cursor.number()?.parse().map_err(|_| bad())?;
    let mut scale = 0;
    if cursor.eat_symbol(",") {
        let sign = if cursor.eat_symbol("-") { -1 } else { 1 };
        scale = sign * i64::from(cursor.number()?.parse::<u32>().map_err(|_| bad())?);
    }
    cursor.end()?;
    if (1..=1000).contains(&digits) && (-1000..=1000).contains(&scale) {
        Ok(Precision { digits, scale })
    } else {
        Err(bad())
    }
}

/// `-12.5`; exponents only as large as every server takes them.
fn is_decimal(text: &str) -> bool {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    text.len() <= NUMBER_BYTES_MAX && exponent.len() <= 2 && plain(exponent) && plain(whole) && plain(fraction)
}

fn is_uint256(text: &str) -> bool {
    const MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    let digits = text.trim_start_matches('0');
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (digits.len() < MAX.len() || (digits.len() == MAX.len() && digits <= MAX))
}

/// The elements of an array of one dimension: `{a,"b c"}`.
fn elements(text: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut found = Vec::new();
    if rest.is_empty() {
        return Some(found);
    }
    loop {
        let mut element = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut letters = quoted.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => element.push(letters.next()?.1),
                    (_, letter) => element.push(letter),
                }
            };
            rest = &quoted[end + 1..];
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            element.push_str(&rest[..end]);
            let special = |c: char| "{}\"\\".contains(c) || c.is_whitespace() || c.is_control();
            if element.is_empty() || element.contains(special) {
                return None;
            }
            rest = &rest[end..];
        }
        found.push(element);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(found),
        }
    }
}
