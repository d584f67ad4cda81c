//! Proves that the server takes a default or a check: a small reader of expressions as pg_dump prints them (every
//! operator in parentheses, every cast written out), with the types of PostgreSQL's catalogue. What it cannot prove may
//! well be right; then the table may only be empty.

use super::{
    super::token::Token,
    constant::Constant,
    cursor::{Cursor, Reason, split_commas},
    keyword::is_reserved,
    signature,
    types::{Base, Column, Type, Types},
};

/// Nesting that no server's stack is too small for.
const DEPTH_MAX: usize = 200;
/// A catalogue row holds what this becomes.
const TOKENS_MAX: usize = 1 << 16;

/// Proves a check over the columns.
pub(super) fn check(tokens: &[Token<'_>], columns: &[Column], types: &Types) -> Result<(), Reason> {
    let mut prover = Prover::new(tokens, columns, types)?;
    let kind = prover.expression()?;
    prover.cursor.end().map_err(|_| prover.stuck())?;
    expect(&kind, &Base::Boolean)
}

/// Proves a default of the column.
pub(super) fn default(tokens: &[Token<'_>], column: &Column, types: &Types) -> Result<(), Reason> {
    let unfit = |kind: &Type| format!("a default of type {kind} for a column of type {}", column.kind);
    if let Some(constant) = Constant::read(tokens, types) {
        return if constant.fits(column, types) { Ok(()) } else { Err(unfit(&constant.kind)) };
    }
    let mut prover = Prover::new(tokens, &[], types)?;
    let kind = prover.primary()?;
    prover.cursor.end().map_err(|_| prover.stuck())?;
    let widens = matches!((kind.width(), column.kind.width()), (Some(a), Some(b)) if a <= b);
    if !widens && (kind != column.kind || column.precision.is_some()) {
        return Err(unfit(&kind));
    }
    if prover.may_fail {
        return Err("a default that may raise an error".to_owned());
    }
    Ok(())
}

fn expect(kind: &Type, wanted: &Base) -> Result<(), Reason> {
    if kind.is(wanted) { Ok(()) } else { Err(format!("{kind} where {} is needed", Type::scalar(wanted.clone()))) }
}

struct Prover<'a, 't, 's> {
    cursor: Cursor<'a, 't>,
    columns: &'s [Column],
    types: &'s Types,
    depth: usize,
    /// Something that can raise an error was seen.
    may_fail: bool,
}

impl<'a, 't, 's> Prover<'a, 't, 's> {
    fn new(tokens: &'t [Token<'a>], columns: &'s [Column], types: &'s Types) -> Result<Self, Reason> {
        if tokens.len() > TOKENS_MAX {
            return Err("an expression is too long".to_owned());
        }
        Ok(Prover { cursor: Cursor::new(tokens), columns, types, depth: 0, may_fail: false })
    }

    fn stuck(&self) -> Reason {
        match self.cursor.rest.first() {
            Some(token) => format!("an expression in a form that pg_dump does not write, at {}", shown(token)),
            None => "an expression ends too early".to_owned(),
        }
    }

    /// Operators are not chained: pg_dump puts each into parentheses.
    fn expression(&mut self) -> Result<Type, Reason> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("an expression is nested too deeply".to_owned());
        }
        let kind = self.operators()?;
        self.depth -= 1;
        Ok(kind)
    }

    fn operators(&mut self) -> Result<Type, Reason> {
        let boolean = Type::scalar(Base::Boolean);
        if self.cursor.eat(&["NOT"]) {
            expect(&self.primary()?, &Base::Boolean)?;
            return Ok(boolean);
        }
        if let Some(Token::Symbol(symbol @ ("+" | "-" | "@" | "~"))) = self.cursor.rest.first() {
            self.cursor.next();
            let operand = self.primary()?.seen();
            self.may_fail = true;
            return signature::prefix_operator(symbol, &operand)
                .ok_or_else(|| format!("no operator {symbol} {operand}"));
        }
        let left = self.primary()?;
        if self.cursor.eat(&["IS"]) {
            return self.is(&left);
        }
        for word in ["AND", "OR"] {
            if self.cursor.rest.first().is_some_and(|t| t.is(word)) {
                expect(&left, &Base::Boolean)?;
                while self.cursor.eat(&[word]) {
                    expect(&self.primary()?, &Base::Boolean)?;
                }
                return Ok(boolean);
            }
        }
        let Some(Token::Symbol(symbol)) = self.cursor.rest.first() else { return Ok(left) };
        if matches!(*symbol, ")" | "]" | "," | "." | "::" | ":" | "(" | "[") {
            return Ok(left);
        }
        self.cursor.next();
        if self.cursor.eat(&["ANY"]) || self.cursor.eat(&["ALL"]) {
            self.cursor.expect_symbol("(")?;
            let list = self.expression()?;
            self.cursor.expect_symbol(")")?;
            let element = Type::scalar(list.base.clone());
            if !list.array || list.base == Base::Uint256 || left.seen() != element {
                return Err(format!("{element} is compared with a list of {list}"));
            }
            let found = self.operator(symbol, &element, &element)?;
            expect(&found, &Base::Boolean)?;
            return Ok(boolean);
        }
        let right = self.primary()?;
        self.operator(symbol, &left, &right)
    }

    fn operator(&mut self, symbol: &str, left: &Type, right: &Type) -> Result<Type, Reason> {
        self.may_fail |= !signature::is_total_operator(symbol);
        let (left, right) = (left.clone().seen(), right.clone().seen());
        signature::operator(symbol, &left, &right).ok_or_else(|| format!("no operator {left} {symbol} {right}"))
    }

    /// After IS.
    fn is(&mut self, left: &Type) -> Result<Type, Reason> {
        self.cursor.eat(&["NOT"]);
        if self.cursor.eat(&["DISTINCT", "FROM"]) {
            let right = self.primary()?;
            self.operator("=", left, &right)?;
        } else if self.cursor.eat(&["NULL"]) {
            if left.base == Base::Unknown {
                return Err("a literal without a type".to_owned());
            }
        } else if ["TRUE", "FALSE", "UNKNOWN"].iter().any(|word| self.cursor.eat(&[word])) {
            expect(left, &Base::Boolean)?;
        } else {
            return Err(self.stuck());
        }
        Ok(Type::scalar(Base::Boolean))
    }

    /// A value with its subscripts and casts.
    fn primary(&mut self) -> Result<Type, Reason> {
        let first = self.cursor.rest.first();
        let mut kind = match first {
            Some(Token::Literal(text)) => {
                self.cursor.next();
                return self.literal(text);
            }
            Some(Token::Number(text)) => {
                self.cursor.next();
                Type::of_number(text).ok_or("a number in a form that pg_dump does not write")?
            }
            Some(open) if open.is_symbol("(") => {
                self.cursor.next();
                let kind = self.expression()?;
                self.cursor.expect_symbol(")").map_err(|_| self.stuck())?;
                self.subscript(kind)?
            }
            Some(Token::Word(_) | Token::Quoted(_)) => self.named()?,
            _ => return Err(self.stuck()),
        };
        while self.cursor.eat_symbol("::") {
            kind = self.cast(kind)?;
        }
        Ok(kind)
    }

    /// `'…'::type`, which the server reads at once.
    fn literal(&mut self, text: &str) -> Result<Type, Reason> {
        let mut kind = Type::scalar(Base::Unknown);
        while self.cursor.eat_symbol("::") {
            if kind.base == Base::Unknown {
                let (wanted, precision) = self.types.read(&mut self.cursor)?;
                if !self.types.fits(&wanted, text) {
                    return Err(format!("a literal is no value of type {wanted}"));
                }
                self.may_fail |= precision.is_some();
                kind = wanted;
            } else {
                kind = self.cast(kind)?;
            }
        }
        Ok(kind)
    }

    /// After `::`.
    fn cast(&mut self, from: Type) -> Result<Type, Reason> {
        let (to, precision) = self.types.read(&mut self.cursor)?;
        let text = Type::scalar(Base::Text);
        let widens = matches!((from.width(), to.width()), (Some(a), Some(b)) if a <= b)
            || (from.width().is_some() && to.is(&Base::Numeric));
        let null = from.is(&Base::Unknown);
        let empty = from.array && from.base == Base::Unknown;
        let elements = |t: &Type| Type::scalar(t.base.clone());
        let possible = null
            || from == to
            || to == text
            || from == text
            || (from.is_number() && to.is_number())
            || (from.is(&Base::Integer) && to.is(&Base::Boolean))
            || (from.is(&Base::Boolean) && to.is(&Base::Integer))
            || (from.array && to.array && elements(&from).is_number() && elements(&to).is_number());
        let domains = from.array && to.array && from != to && (from.base == Base::Uint256 || to.base == Base::Uint256);
        if domains || !(if empty { to.array } else { possible }) {
            return Err(format!("no cast from {from} to {to}"));
        }
        self.may_fail |= precision.is_some() || !(null || empty || from == to || to == text || widens);
        Ok(to)
    }

    /// `[n]` and `[n:m]`, which may follow a column or a parenthesis.
    fn subscript(&mut self, kind: Type) -> Result<Type, Reason> {
        if !self.cursor.eat_symbol("[") {
            return Ok(kind);
        }
        if !kind.array || kind.base == Base::Unknown {
            return Err(format!("an element of {kind}, which is no array"));
        }
        self.index()?;
        let slice = self.cursor.eat_symbol(":");
        if slice {
            self.index()?;
        }
        self.cursor.expect_symbol("]").map_err(|_| self.stuck())?;
        Ok(if slice { kind } else { Type::scalar(kind.base) })
    }

    /// A subscript, which the server turns into an integer.
    fn index(&mut self) -> Result<(), Reason> {
        let kind = self.expression()?;
        if kind.width().is_some() { Ok(()) } else { Err(format!("{kind} as an array's index")) }
    }

    /// What begins with a word or a quoted name.
    fn named(&mut self) -> Result<Type, Reason> {
        let Some(token) = self.cursor.next() else { return Err(self.stuck()) };
        let name = token.name().unwrap_or_default();
        let quoted = matches!(token, Token::Quoted(_));
        if !quoted {
            match name.as_str() {
                "true" | "false" => return Ok(Type::scalar(Base::Boolean)),
                "null" => return Ok(Type::scalar(Base::Unknown)),
                "array" => return self.array(),
                "case" => return self.case(),
                _ => {}
            }
        }
        if self.cursor.rest.first().is_some_and(|t| t.is_symbol("(")) {
            let inside = self.cursor.parenthesis()?;
            return match name.as_str() {
                "coalesce" | "greatest" | "least" | "nullif" | "overlay" | "position" | "substring" | "trim"
                    if !quoted =>
                {
                    self.special(&name, inside)
                }
                _ if !quoted && is_reserved(&name) && name != "left" && name != "right" => Err(self.stuck()),
                _ => self.call(&name, inside),
            };
        }
        if self.cursor.eat_symbol(".") {
            if name != "pg_catalog" {
                return Err(format!("something of the schema {name}, which is empty while kwild restores"));
            }
            let name = self.cursor.name()?;
            let inside = self.cursor.parenthesis()?;
            return self.call(&name, inside);
        }
        let column = self.columns.iter().find(|c| c.name == name && (quoted || !is_reserved(&name)));
        let Some(column) = column else { return Err(format!("{name} is no column")) };
        self.subscript(column.kind.clone())
    }

    /// The types of a list of expressions.
    fn list(&mut self, inside: &'t [Token<'a>]) -> Result<Vec<Type>, Reason> {
        split_commas(inside).into_iter().map(|part| self.within(part, Self::expression)).collect()
    }

    /// Reads all of a part with its own cursor.
    fn within(
        &mut self,
        part: &'t [Token<'a>],
        read: impl FnOnce(&mut Self) -> Result<Type, Reason>,
    ) -> Result<Type, Reason> {
        let outer = std::mem::replace(&mut self.cursor, Cursor::new(part));
        let kind = read(self)?;
        self.cursor.end().map_err(|_| self.stuck())?;
        self.cursor = outer;
        Ok(kind)
    }

    fn call(&mut self, name: &str, inside: &'t [Token<'a>]) -> Result<Type, Reason> {
        let arguments: Vec<Type> = self.list(inside)?.into_iter().map(Type::seen).collect();
        self.may_fail |= !signature::is_total_function(name);
        signature::function(name, &arguments).ok_or_else(|| {
            let shown: Vec<String> = arguments.iter().map(Type::to_string).collect();
            format!("no function {name}({})", shown.join(", "))
        })
    }

    /// Calls with a grammar of their own.
    fn special(&mut self, name: &str, inside: &'t [Token<'a>]) -> Result<Type, Reason> {
        let words: &[&[&str]] = match name {
            "coalesce" | "greatest" | "least" => {
                let kinds = self.list(inside)?;
                return one_of(&kinds);
            }
            "nullif" => {
                let kinds = self.list(inside)?;
                let [left, right] = kinds.as_slice() else { return Err(self.stuck()) };
                self.operator("=", left, right)?;
                return Ok(left.clone().seen());
            }
            "position" => &[&["IN"]],
            "overlay" => &[&["PLACING"], &["FROM"], &["FOR"]],
            "substring" => &[&["FROM"], &["FOR"]],
            _ => return self.trim(inside),
        };
        let mut arguments = Vec::new();
        let whole = std::mem::replace(&mut self.cursor, Cursor::new(inside));
        arguments.push(self.primary()?.seen());
        for (at, word) in words.iter().enumerate() {
            // Only the first is needed, or of OVERLAY the first two.
            if !self.cursor.eat(word) {
                if at == 0 || (name == "overlay" && at == 1) {
                    return Err(self.stuck());
                }
                break;
            }
            arguments.push(self.primary()?.seen());
        }
        self.cursor.end().map_err(|_| self.stuck())?;
        self.cursor = whole;
        if name == "position" {
            // POSITION(a IN b) is position(b, a).
            arguments.reverse();
        }
        self.may_fail |= name != "position";
        signature::function(name, &arguments).ok_or_else(|| format!("no such form of {name}"))
    }

    /// `TRIM(BOTH [what] FROM text)`.
    fn trim(&mut self, inside: &'t [Token<'a>]) -> Result<Type, Reason> {
        let whole = std::mem::replace(&mut self.cursor, Cursor::new(inside));
        if !["BOTH", "LEADING", "TRAILING"].iter().any(|word| self.cursor.eat(&[word])) {
            return Err(self.stuck());
        }
        let mut arguments = Vec::new();
        if !self.cursor.eat(&["FROM"]) {
            arguments.push(self.primary()?);
            self.cursor.expect(&["FROM"]).map_err(|_| self.stuck())?;
        }
        arguments.insert(0, self.primary()?);
        self.cursor.end().map_err(|_| self.stuck())?;
        self.cursor = whole;
        signature::function("btrim", &arguments).ok_or_else(|| "no such form of trim".to_owned())
    }

    /// After ARRAY.
    fn array(&mut self) -> Result<Type, Reason> {
        self.cursor.expect_symbol("[").map_err(|_| self.stuck())?;
        let mut kinds = Vec::new();
        while !self.cursor.eat_symbol("]") {
            if !kinds.is_empty() {
                self.cursor.expect_symbol(",").map_err(|_| self.stuck())?;
            }
            kinds.push(self.expression()?);
        }
        if kinds.is_empty() {
            // Only with the cast that pg_dump writes.
            return if self.cursor.rest.first().is_some_and(|t| t.is_symbol("::")) {
                Ok(Type::array(Base::Unknown))
            } else {
                Err(self.stuck())
            };
        }
        let kind = one_of(&kinds)?;
        if kind.array {
            return Err("an array of arrays".to_owned());
        }
        Ok(Type::array(kind.base))
    }

    /// After CASE.
    fn case(&mut self) -> Result<Type, Reason> {
        let subject = if self.cursor.rest.first().is_some_and(|t| t.is("WHEN")) { None } else { Some(self.primary()?) };
        let mut kinds = Vec::new();
        while self.cursor.eat(&["WHEN"]) {
            let when = self.expression()?;
            match &subject {
                Some(subject) => drop(self.operator("=", subject, &when)?),
                None => expect(&when, &Base::Boolean)?,
            }
            self.cursor.expect(&["THEN"]).map_err(|_| self.stuck())?;
            kinds.push(self.expression()?);
        }
        if self.cursor.eat(&["ELSE"]) {
            kinds.push(self.expression()?);
        }
        self.cursor.expect(&["END"]).map_err(|_| self.stuck())?;
        one_of(&kinds)
    }
}

/// The one type that all have.
fn one_of(kinds: &[Type]) -> Result<Type, Reason> {
    let Some(first) = kinds.first() else { return Err("an expression is missing".to_owned()) };
    if first.base == Base::Unknown {
        return Err("a literal without a type".to_owned());
    }
    match kinds.iter().find(|kind| *kind != first) {
        Some(other) => Err(format!("{other} stands beside {first}")),
        None => Ok(first.clone()),
    }
}

fn shown(token: &Token<'_>) -> String {
    match token {
        Token::Word(text) | Token::Number(text) | Token::Symbol(text) => (*text).to_owned(),
        Token::Quoted(text) => format!("\"{text}\""),
        Token::Literal(_) => "a literal".to_owned(),
        Token::Body(_) => "a dollar-quoted text".to_owned(),
    }
}
