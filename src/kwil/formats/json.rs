//! JSON exactly as Go's `encoding/json` reads and writes it, because kwild is the one who must accept a genesis:
//! numbers stay the text they are, keys keep their order, HTML characters are escaped, halves of surrogate pairs
//! become U+FFFD, and where the value ends is told, since v0.10 ignores what follows and v0.9 does not.

use crate::base::text::escape;

/// How deep arrays and objects may nest: deeper than in any genesis, and bounded because the reader recurses.
const DEPTH_MAX: usize = 64;

/// One JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number, kept as the text that stands in the file.
    Number(String),
    /// A string, its escapes resolved.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object: its keys and values in the file's order, duplicates included.
    Object(Vec<(String, Json)>),
}

/// Why a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct JsonError {
    /// The line of the text, counted from 1.
    pub line: usize,
    /// What is wrong on that line.
    pub what: String,
}

impl Json {
    /// The first value of the text, and the bytes that follow it; an error where no JSON value stands first.
    pub fn read_first(text: &[u8]) -> Result<(Json, &[u8]), JsonError> {
        let mut reader = Reader { text, at: 0 };
        reader.blanks();
        let value = reader.value(0)?;
        Ok((value, &text[reader.at..]))
    }

    /// The type of this value with its article, for error texts.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a bool",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// The value as Kwil writes JSON: two-space indent, `: ` after keys, no final newline.
    pub fn to_pretty(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(0, &mut out);
        out.into_bytes()
    }

    fn write(&self, depth: usize, out: &mut String) {
        let new_line = |out: &mut String, depth: usize| {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str("  "));
        };
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) => out.push_str(text),
            Json::String(text) => write_string(text, out),
            Json::Array(items) if items.is_empty() => out.push_str("[]"),
            Json::Object(entries) if entries.is_empty() => out.push_str("{}"),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    new_line(out, depth + 1);
                    item.write(depth + 1, out);
                }
                new_line(out, depth);
                out.push(']');
            }
            Json::Object(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    new_line(out, depth + 1);
                    write_string(key, out);
                    out.push_str(": ");
                    value.write(depth + 1, out);
                }
                new_line(out, depth);
                out.push('}');
            }
        }
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Json::Number(value.to_string())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Json::String(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Json::String(value)
    }
}

/// Makes an object of its keys and values, in this order.
pub fn object<const N: usize>(entries: [(&str, Json); N]) -> Json {
    Json::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The form in which keys are compared, since Go takes them without regard to case: ASCII in small letters, the long s
/// as s, the Kelvin sign as k.
pub fn fold(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error<T>(&self, what: impl Into<String>) -> Result<T, JsonError> {
        let seen = &self.text[..self.at.min(self.text.len())];
        let line = 1 + seen.iter().filter(|b| **b == b'\n').count();
        Err(JsonError { line, what: what.into() })
    }

    /// The error that `wanted` does not stand at the reader's place.
    fn unexpected<T>(&self, wanted: &str) -> Result<T, JsonError> {
        let rest = &self.text[self.at.min(self.text.len())..];
        if rest.is_empty() {
            return self.error(format!("the text ends where {wanted} should stand"));
        }
        if rest.starts_with(b"\xef\xbb\xbf") {
            return self.error("a byte order mark stands before the JSON text");
        }
        let shown: String = String::from_utf8_lossy(&rest[..rest.len().min(4)]).chars().take(1).collect();
        self.error(format!("{:?} where {wanted} should stand", escape(&shown)))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        if depth > DEPTH_MAX {
            return self.error("nested too deeply");
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
                    if self.text[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                self.unexpected("a value")
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.at += 1;
        let mut entries = Vec::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(entries));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return self.unexpected("a key in double quotes");
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return self.unexpected("a colon");
            }
            self.at += 1;
            self.blanks();
            let value = self.value(depth + 1)?;
            entries.push((key, value));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(entries));
                }
                _ => return self.unexpected("a comma or }"),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return self.unexpected("a comma or ]"),
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.unexpected("a digit");
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(String::from_utf8_lossy(&self.text[start..self.at]).into_owned()))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut bytes = Vec::new();
        let mut buffer = [0; 4];
        loop {
            match self.peek() {
                None => return self.error("a string has no end"),
                Some(b'"') => {
                    self.at += 1;
                    // Bytes that are no UTF-8 become U+FFFD, as in Go.
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
                Some(0..0x20) => return self.error("a control character inside a string"),
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escaped()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                }
                Some(byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<char, JsonError> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.four_hex()?;
                if !(0xd800..0xe000).contains(&first) {
                    return Ok(char::from_u32(first).unwrap_or('\u{fffd}'));
                }
                if first < 0xdc00 && self.text[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let second = self.four_hex()?;
                    if (0xdc00..0xe000).contains(&second) {
                        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    self.at = before;
                }
                return Ok('\u{fffd}');
            }
            _ => return self.unexpected("an escape such as \\n"),
        };
        self.at += 1;
        Ok(c)
    }

    fn four_hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits.and_then(|d| std::str::from_utf8(d).ok()) else {
            return self.unexpected("four hex digits");
        };
        self.at += 4;
        u32::from_str_radix(digits, 16).or_else(|_| self.unexpected("four hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Json, JsonError> {
        Json::read_first(text.as_bytes()).map(|(value, _)| value)
    }

    #[test]
    fn strings_as_go_reads_and_writes_them() {
        assert_eq!(read(r#""a\ud800b""#).unwrap(), Json::from("a\u{fffd}b"));
        assert_eq!(read(r#""\ud83c\udf89\u0041\/""#).unwrap(), Json::from("🎉A/"));
        assert_eq!(read(r#""\ud800\u0041""#).unwrap(), Json::from("\u{fffd}A"));
        assert_eq!(Json::read_first(b"\"\xff\"").unwrap().0, Json::from("\u{fffd}"));
        let written = Json::from("<a>&\u{2028}\u{1}\u{7f}\t\"\\é").to_pretty();
        assert_eq!(String::from_utf8(written).unwrap(), "\"\\u003ca\\u003e\\u0026\\u2028\\u0001\u{7f}\\t\\\"\\\\é\"");
    }

    #[test]
    fn what_is_no_json_is_told_with_its_line() {
        for (text, line, part) in [
            ("", 1, "ends"),
            ("{\n\"a\": 1,\n}", 3, "a key in double quotes"),
            ("// c\n{}", 1, "\"/\" where a value"),
            ("\u{feff}{}", 1, "byte order mark"),
            ("{\"a\" 1}", 1, "a colon"),
            ("[1 2]", 1, "a comma or ]"),
            ("[01]", 1, "a comma or ]"),
            ("[1.]", 1, "a digit"),
            ("[1e]", 1, "a digit"),
            ("[-]", 1, "a digit"),
            ("\"a\nb\"", 1, "control character"),
            ("\"abc", 1, "no end"),
            ("\"\\x\"", 1, "an escape"),
            ("\"\\u12g4\"", 1, "four hex"),
            ("nul", 1, "a value"),
            (&"[".repeat(100), 1, "too deeply"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.what.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_follows_is_returned() {
        let (value, rest) = Json::read_first(b" {} x").unwrap();
        assert_eq!((value, rest), (Json::Object(vec![]), &b" x"[..]));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(Json::from),
            any::<String>().prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
                proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(Json::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_json()) {
            let text = value.to_pretty();
            let (again, rest) = Json::read_first(&text).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert!(rest.is_empty());
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::read_first(&bytes);
        }
    }
}
