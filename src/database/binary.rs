//! Rows in PostgreSQL's binary COPY format, written as its text format writes them. The server spends half of its time
//! on making text; here that is cheaper. Only the types below, which give the same text whatever the session's settings
//! are; a table with any other column is read as text.
//!
//! Source: "COPY", file formats, in PostgreSQL's manual, and the output functions' documented forms.

mod array;
mod numeric;
#[cfg(test)]
mod tests;
mod value;

use value::{escape, write_value};

/// The type of a column, as far as it decides how binary COPY's value is written as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    /// `text`, `varchar`, `char(n)`, `json`: the bytes as they stand, but for COPY's escapes.
    Text,
    Bytea,
    Uuid,
    Numeric,
    /// An array whose elements are of this kind.
    Array(Box<Kind>),
}

impl Kind {
    /// The kind of a type that is written by these built-in functions: its output function (text) and its send function
    /// (binary). `None` for every other type; arrays are put together by the caller.
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

/// Why bytes are not what PostgreSQL's binary format says: the end of the sentence "the server sent …".
pub(super) type Malformed = &'static str;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Bytes of binary COPY's header: the signature (11), flags (4), and the length of the header's extension (4).
const HEADER_BYTES: usize = 19;
/// Bytes held of a row that came in pieces before its columns are written one by one; a shorter row waits to be whole.
const HELD_MIN: usize = 64 << 10;

/// Turns binary COPY's bytes into text COPY's rows; takes the bytes cut anywhere.
#[derive(Debug)]
pub(super) struct TextWriter<'a> {
    /// How the values of each column are written, in the COPY's order.
    kinds: &'a [Kind],
    /// Bytes that were taken and not yet written: the front of a row, or what is left of one that came in pieces.
    held: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Row,
    /// Inside a row that came in pieces, before the column with this index.
    Column(usize),
    /// Inside a long text or bytes value of the column with this index, of which this many bytes are still to come.
    Value(usize, usize),
    End,
}

impl<'a> TextWriter<'a> {
    pub(super) fn new(kinds: &'a [Kind]) -> Self {
        TextWriter { kinds, held: Vec::new(), state: State::Header }
    }

    /// Takes more bytes of the format and appends the text of what is whole to `out`.
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

    /// Ends the rows; an error unless the format's own end was the last thing that came.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        match self.state {
            State::End if self.held.is_empty() => Ok(()),
            _ => Err("rows that end in the middle"),
        }
    }

    /// Writes what is whole and gives the number of bytes taken; the caller keeps the rest.
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

    /// Reads the format's header, which must be whole and without flags or an extension; `None` where more is to come.
    fn header(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let extension = u32::from_be_bytes([header[15], header[16], header[17], header[18]]);
        if !header.starts_with(SIGNATURE) || header[11..15] != [0; 4] || extension != 0 {
            return Err("rows in another form than binary COPY's");
        }
        self.state = State::Row;
        Ok(Some(HEADER_BYTES))
    }

    /// Writes the next column of a row that came in pieces; gives the bytes taken, `None` where more is to come.
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

    /// Writes a piece of a long value, of which `left` bytes are
    /// to come; gives the bytes taken, `None` where none came.
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

/// What the bytes at hand begin with.
enum Row {
    /// A row of this many bytes.
    Whole(usize),
    /// The format's end, of this many bytes.
    Last(usize),
    /// A row that is not whole yet.
    Cut,
}

/// Appends one row's text to `out` if the row is whole; else `out` stays as it was.
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

/// Ends a row's text: the tab after the last column becomes the line's end.
fn end_row(out: &mut Vec<u8>, kinds: &[Kind]) {
    if !kinds.is_empty() {
        out.pop();
    }
    out.push(b'\n');
}
