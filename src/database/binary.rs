//! Rows in PostgreSQL's binary COPY format, written as its text format writes them. The server spends half of its time on
//! making text; here that is cheaper. Only the types below, which give the same text whatever the session's settings
//! are; a table with any other column is read as text.
//!
//! Source: "COPY", file formats, in PostgreSQL's manual, and the output functions' documented forms.

mod array;
mod numeric;
#[cfg(test)]
mod tests;
mod value;

use value::{escape, write_value};

/// How the values of a column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    /// `text`, `varchar`, `char(n)`, `json`: as they stand, but for COPY's escapes.
    Text,
    Bytea,
    Uuid,
    Numeric,
    /// Of one of the others.
    Array(Box<Kind>),
}

impl Kind {
    /// By the names of the built-in functions that write a type as text and as binary.
    pub(super) fn of(output: &str, send: &str) -> Option<Self> {
        Some(match (output, send) {
            ("boolout", "boolsend") => Kind::Bool,
            ("int2out", "int2send") => Kind::Int2,
            ("int4out", "int4send") => Kind::Int4,
            ("int8out", "int8send") => Kind::Int8,
            ("textout", "textsend")
            | ("varcharout", "varcharsend")
            | ("bpcharout", "bpcharsend")
            | ("json_out", "json_send") => Kind::Text,
            ("byteaout", "byteasend") => Kind::Bytea,
            ("uuid_out", "uuid_send") => Kind::Uuid,
            ("numeric_out", "numeric_send") => Kind::Numeric,
            _ => return None,
        })
    }
}

/// The bytes are not what the format says.
pub(super) type Malformed = &'static str;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the header's extension.
const HEADER_BYTES: usize = 19;
/// The least that is held of a row that came in pieces before it is looked at again.
const HELD_MIN: usize = 64 << 10;

/// Writes rows as text; takes the format's bytes in any pieces.
#[derive(Debug)]
pub(super) struct TextWriter<'a> {
    kinds: &'a [Kind],
    /// What was cut: the front of a row, less the values that are written already.
    held: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Row,
    /// In a row that came in pieces, before this column.
    Column(usize),
    /// In a long value of text or bytes of this column, of which so many bytes are to come.
    Value(usize, usize),
    End,
}

impl<'a> TextWriter<'a> {
    pub(super) fn new(kinds: &'a [Kind]) -> Self {
        TextWriter { kinds, held: Vec::new(), state: State::Header }
    }

    /// Takes bytes and appends rows to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.held.is_empty() {
            let taken = self.write(bytes, out)?;
            self.held.extend_from_slice(&bytes[taken..]);
        } else {
            // A long row comes in many pieces: each byte of it is moved a few times at most.
            self.held.extend_from_slice(bytes);
            let mut held = std::mem::take(&mut self.held);
            let taken = self.write(&held, out)?;
            held.drain(..taken);
            self.held = held;
        }
        Ok(())
    }

    /// Says whether the format's end was there.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        match self.state {
            State::End if self.held.is_empty() => Ok(()),
            _ => Err("rows that end in the middle"),
        }
    }

    /// Writes what is whole and says how much was taken.
    fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let mut rest = bytes;
        loop {
            let taken = match self.state {
                State::Header => self.header(rest)?,
                State::Row => match row(rest, self.kinds, out)? {
                    Row::Whole(n) => Some(n),
                    Row::Last(n) => {
                        self.state = State::End;
                        Some(n)
                    }
                    Row::Cut if rest.len() < HELD_MIN => None,
                    Row::Cut => {
                        self.state = State::Column(0);
                        Some(2)
                    }
                },
                State::Column(column) => self.column(column, rest, out)?,
                State::Value(column, left) => self.value(column, left, rest, out)?,
                State::End if rest.is_empty() => None,
                State::End => return Err("more behind the end of the rows"),
            };
            match taken {
                Some(n) => rest = &rest[n..],
                None => return Ok(bytes.len() - rest.len()),
            }
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let extension = u32::from_be_bytes([header[15], header[16], header[17], header[18]]);
        if !header.starts_with(SIGNATURE) || header[11..15] != [0; 4] || extension != 0 {
            return Err("rows in another form than binary COPY's");
        }
        self.state = State::Row;
        Ok(Some(HEADER_BYTES))
    }

    /// The next column of a row that came in pieces.
    fn column(&mut self, column: usize, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, Malformed> {
        let Some(kind) = self.kinds.get(column) else {
            end_row(out, self.kinds);
            self.state = State::Row;
            return Ok(Some(0));
        };
        let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*head);
        let Ok(length) = usize::try_from(length) else {
            out.extend_from_slice(b"\\N\t");
            self.state = State::Column(column + 1);
            return Ok(Some(4));
        };
        if let Some(value) = rest.get(..length) {
            write_value(kind, value, out)?;
            out.push(b'\t');
            self.state = State::Column(column + 1);
            return Ok(Some(4 + length));
        }
        match kind {
            Kind::Bytea => out.extend_from_slice(b"\\\\x"),
            Kind::Text => {}
            _ => return Ok(None),
        }
        self.state = State::Value(column, length);
        Ok(Some(4))
    }

    /// A piece of a long value.
    fn value(
        &mut self,
        column: usize,
        left: usize,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, Malformed> {
        let n = left.min(bytes.len());
        if n == 0 {
            return Ok(None);
        }
        match self.kinds.get(column) {
            Some(Kind::Bytea) => value::write_hex(&bytes[..n], out),
            _ => escape(&bytes[..n], out),
        }
        self.state = State::Value(column, left - n);
        if n == left {
            out.push(b'\t');
            self.state = State::Column(column + 1);
        }
        Ok(Some(n))
    }
}

enum Row {
    /// So many bytes were a row.
    Whole(usize),
    /// So many bytes were the format's end.
    Last(usize),
    /// More is to come.
    Cut,
}

/// One row, where it is whole; else `out` is as it was.
fn row(bytes: &[u8], kinds: &[Kind], out: &mut Vec<u8>) -> Result<Row, Malformed> {
    let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else { return Ok(Row::Cut) };
    let count = i16::from_be_bytes(*count);
    if count == -1 {
        return Ok(Row::Last(2));
    }
    if usize::try_from(count) != Ok(kinds.len()) {
        return Err("a row with another number of columns");
    }
    let before = out.len();
    for kind in kinds {
        let Some((head, behind)) = rest.split_first_chunk::<4>() else {
            out.truncate(before);
            return Ok(Row::Cut);
        };
        let Ok(length) = usize::try_from(i32::from_be_bytes(*head)) else {
            out.extend_from_slice(b"\\N\t");
            rest = behind;
            continue;
        };
        let Some((value, behind)) = behind.split_at_checked(length) else {
            out.truncate(before);
            return Ok(Row::Cut);
        };
        write_value(kind, value, out)?;
        out.push(b'\t');
        rest = behind;
    }
    end_row(out, kinds);
    Ok(Row::Whole(bytes.len() - rest.len()))
}

/// The last column's tab becomes the line's end.
fn end_row(out: &mut Vec<u8>, kinds: &[Kind]) {
    if !kinds.is_empty() {
        out.pop();
    }
    out.push(b'\n');
}
