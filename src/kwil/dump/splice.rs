//! Takes the text of a dump that was made without rows, and tells where in it the rows of each table belong.

use super::sql::{Follows, Sink, SplitError, Splitter, Statement, short};

/// The place of one table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The offset in the text, in bytes, behind the header's line.
    pub offset: u64,
    /// The header `COPY … FROM stdin;`, without its line end.
    pub header: String,
}

/// Finds the places of all tables' rows in a text that comes in any pieces.
#[derive(Debug)]
pub struct PlaceFinder {
    splitter: Splitter,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// The offset in the text, in bytes, of the end of the piece that is being read.
    end: u64,
    header: Option<String>,
    /// How many bytes of the open block's end have been seen.
    seen: usize,
    places: Vec<Place>,
}

/// All of a COPY block without rows: the line that ends it.
const END: &[u8] = b"\\.\n";

impl Default for PlaceFinder {
    fn default() -> Self {
        PlaceFinder { splitter: Splitter::new(), state: State::default() }
    }
}

impl PlaceFinder {
    /// Takes any piece of the text.
    ///
    /// # Errors
    /// In words, when it is not what pg_dump writes of tables without rows.
    pub fn push(&mut self, text: &[u8]) -> Result<(), String> {
        self.state.end += text.len() as u64;
        self.splitter.push(text, &mut self.state, &mut Vec::new()).map_err(|e| e.0)
    }

    /// Ends the text, and gives the places in its order.
    ///
    /// # Errors
    /// In words, when it ends in the middle of something.
    pub fn finish(self) -> Result<Vec<Place>, String> {
        self.splitter.finish().map_err(|e| Unexpected::from(e).0)?;
        Ok(self.state.places)
    }
}

struct Unexpected(String);

impl From<SplitError> for Unexpected {
    fn from(e: SplitError) -> Self {
        Unexpected(format!("line {}: {}: {}", e.line, e.reason, e.text))
    }
}

impl Sink for State {
    type Error = Unexpected;

    fn blank(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), Unexpected> {
        Ok(())
    }

    fn command(&mut self, _: u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), Unexpected> {
        Ok(())
    }

    fn statement(&mut self, statement: &Statement<'_>, _: &mut Vec<u8>) -> Result<Follows, Unexpected> {
        let text = statement.text.strip_suffix(b"\n").unwrap_or(statement.text);
        if !(text.starts_with(b"COPY ") && text.ends_with(b" FROM stdin;")) {
            return Ok(Follows::Statement);
        }
        let header = String::from_utf8(text.to_vec()).map_err(|_| {
            Unexpected(format!("line {}: a COPY statement that is not UTF-8: {}", statement.line, short(text)))
        })?;
        self.header = Some(header);
        Ok(Follows::CopyData)
    }

    fn data(&mut self, line: u64, data: &[u8], _: &mut Vec<u8>) -> Result<Option<usize>, Unexpected> {
        if let Some(header) = self.header.take() {
            self.places.push(Place { offset: self.end - data.len() as u64, header });
        }
        let n = data.len().min(END.len() - self.seen);
        if data[..n] != END[self.seen..self.seen + n] {
            return Err(Unexpected(format!("line {line}: rows where none should be: {}", short(data))));
        }
        self.seen += n;
        if self.seen < END.len() {
            return Ok(None);
        }
        self.seen = 0;
        Ok(Some(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "SET x = 1;\n\nCREATE FUNCTION f() AS $$\nCOPY not.this (a) FROM stdin;\n\\.\n$$;\n\
        COPY a.b (c) FROM stdin;\n\\.\n\n\nCOPY a.\"line\nend\" (c) FROM stdin;\n\\.\nCOPY a.none  FROM stdin;\n\\.\n\n";

    fn places(pieces: &[&[u8]]) -> Result<Vec<Place>, String> {
        let mut finder = PlaceFinder::default();
        pieces.iter().try_for_each(|piece| finder.push(piece))?;
        finder.finish()
    }

    #[test]
    fn rows_belong_after_each_header_wherever_the_text_is_cut() {
        let whole = places(&[TEXT.as_bytes()]).unwrap();
        let headers: Vec<&str> = whole.iter().map(|p| p.header.as_str()).collect();
        assert_eq!(
            headers,
            ["COPY a.b (c) FROM stdin;", "COPY a.\"line\nend\" (c) FROM stdin;", "COPY a.none  FROM stdin;"]
        );
        for place in &whole {
            let offset = usize::try_from(place.offset).unwrap();
            assert!(TEXT[..offset].ends_with(&format!("{}\n", place.header)), "{place:?}");
            assert!(TEXT[offset..].starts_with("\\.\n"));
        }
        for cut in 0..TEXT.len() {
            let (front, back) = TEXT.as_bytes().split_at(cut);
            assert_eq!(places(&[front, back]).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn rows_that_came_all_the_same_are_an_error() {
        let e = places(&[b"COPY a.b (c) FROM stdin;\n1\n\\.\n"]).unwrap_err();
        assert!(e.contains("rows where none should be"), "{e}");
        assert!(places(&[b"COPY a.b (c) FROM stdin;\n"]).is_err());
    }
}
