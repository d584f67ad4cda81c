//! Defaults that are one value: literals with casts and signs, as pg_dump prints them. Some servers compute a default
//! when the rows begin, so it must fit its column.

use super::{
    super::token::Token,
    cursor::Cursor,
    signature,
    types::{Base, Column, Precision, Type, Types},
};

/// A value and its type.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    pub(super) kind: Type,
    /// None for NULL, which fits everywhere.
    text: Option<String>,
}

/// pg_dump nests a sign and a few casts.
const DEPTH_MAX: usize = 20;

impl Constant {
    /// Reads the value, if it is all there is.
    pub(super) fn read(tokens: &[Token<'_>], types: &Types) -> Option<Self> {
        let mut cursor = Cursor::new(tokens);
        let constant = Self::value(&mut cursor, types, 0)?;
        cursor.end().ok()?;
        Some(constant)
    }

    /// Does the column take it?
    pub(super) fn fits(&self, column: &Column, types: &Types) -> bool {
        let (kind, wanted) = (&self.kind, &column.kind);
        let Some(text) = &self.text else { return kind == wanted };
        match (&wanted.base, column.precision) {
            (Base::Numeric, Some(precision)) if !wanted.array => {
                kind.is_number() && types.fits(wanted, text) && holds(precision, text)
            }
            (Base::Numeric, Some(_)) => kind == wanted && text == "{}",
            _ if kind.is_number() && wanted.is_number() => types.fits(wanted, text),
            _ => kind == wanted && types.fits(wanted, text),
        }
    }

    fn value(cursor: &mut Cursor<'_, '_>, types: &Types, depth: usize) -> Option<Self> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut value = match cursor.next()? {
            Token::Number(text) => Constant { kind: Type::of_number(text)?, text: Some((*text).to_owned()) },
            Token::Literal(text) => {
                if !cursor.eat_symbol("::") {
                    return None;
                }
                let (kind, precision) = types.read(cursor).ok()?;
                let text = (*text).to_owned();
                (types.fits(&kind, &text) && precision.is_none_or(|p| !kind.array && holds(p, &text)))
                    .then_some(Constant { kind, text: Some(text) })?
            }
            open if open.is_symbol("(") => {
                let value = if cursor.eat_symbol("-") {
                    Self::value(cursor, types, depth + 1)?.negated(types)?
                } else {
                    let left = Self::value(cursor, types, depth + 1)?;
                    match cursor.rest.first() {
                        Some(Token::Symbol(symbol @ ("+" | "-" | "*"))) => {
                            cursor.next();
                            let right = Self::value(cursor, types, depth + 1)?;
                            Self::computed(symbol, &left, &right, types)?
                        }
                        _ => left,
                    }
                };
                cursor.eat_symbol(")").then_some(value)?
            }
            word if word.is("TRUE") => Self::boolean("true"),
            word if word.is("FALSE") => Self::boolean("false"),
            word if word.is("NULL") => {
                if !cursor.eat_symbol("::") {
                    return None;
                }
                Constant { kind: types.read(cursor).ok()?.0, text: None }
            }
            _ => return None,
        };
        while cursor.eat_symbol("::") {
            let (to, precision) = types.read(cursor).ok()?;
            value = value.cast(to, precision, types)?;
        }
        Some(value)
    }

    fn boolean(text: &str) -> Self {
        Constant { kind: Type::scalar(Base::Boolean), text: Some(text.to_owned()) }
    }

    fn negated(self, types: &Types) -> Option<Self> {
        let text = self.text?;
        let text = text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned);
        (self.kind.is_number() && types.fits(&self.kind, &text))
            .then_some(Constant { kind: self.kind, text: Some(text) })
    }

    /// Of integers that are far from their bounds or exactly known.
    fn computed(symbol: &str, left: &Self, right: &Self, types: &Types) -> Option<Self> {
        let kind = signature::operator(symbol, &left.kind, &right.kind)?;
        kind.width()?;
        let (a, b): (i64, i64) = (left.text.as_ref()?.parse().ok()?, right.text.as_ref()?.parse().ok()?);
        let result = match symbol {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            _ => a.checked_mul(b),
        }?;
        let text = result.to_string();
        types.fits(&kind, &text).then_some(Constant { kind, text: Some(text) })
    }

    fn cast(self, to: Type, precision: Option<Precision>, types: &Types) -> Option<Self> {
        let text = Type::scalar(Base::Text);
        let possible = self.kind == to || to == text || self.kind == text || (self.kind.is_number() && to.is_number());
        let fits = |text: &String| types.fits(&to, text) && precision.is_none_or(|p| !to.array && holds(p, text));
        (possible && self.text.as_ref().is_none_or(fits)).then_some(Constant { kind: to, text: self.text })
    }
}

/// Is the number small enough, also after it is rounded?
fn holds(precision: Precision, text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.trim_start_matches(['-', '+']).trim_start_matches('0').len();
    let (digits, fraction) = (digits as i64, fraction.len() as i64);
    let room = i64::from(precision.digits) - precision.scale;
    let rounds = fraction > precision.scale;
    !text.contains(['e', 'E'])
        && precision.scale >= 0
        && (digits + i64::from(rounds) <= room || text.trim_start_matches(['-', '+']) == "0")
}
