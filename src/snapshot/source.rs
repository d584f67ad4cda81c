//! Where a dump's text comes from: in go pg_dump's text without rows and the rows, out come pieces of the whole text,
//! as pg_dump alone would have written it or in the order that a guarded text has.

use std::io::{Read, Seek};

use kwil_formats::dump::{
    filter::LineRules,
    splice::{Place, PlaceFinder},
};
use tempfile::SpooledTempFile;

use crate::{
    base::{Context, Error, Next, Progress, Result},
    database::{Batch, Connections, Cut, OpenedRows, PgDump, RowOptions, Rows},
};

/// Bytes of pg_dump's text that are read at once.
const READ_BYTES: usize = 128 << 10;

/// A piece of a dump's text, cut anywhere.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Text of statements, with the lines before and behind the rows.
    Text(Vec<u8>),
    /// Text of rows.
    Rows(Batch),
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        match self {
            Piece::Text(text) => text,
            Piece::Rows(batch) => batch.as_ref(),
        }
    }
}

/// A dump's text that is given out piece by piece.
pub(crate) trait Source {
    /// The next piece, `None` at the text's end. Blocking.
    fn next(&mut self) -> Result<Option<Piece>>;
    /// The part of the text that has been given out, from 0 to 1; `None` where that is not known.
    fn part_done(&self) -> Option<f64>;
    /// Words on what is being read, for progress; `rows` is the number of rows so far.
    fn detail(&self, rows: u64) -> String;
}

/// A dump whose statements pg_dump wrote and whose rows come over several connections.
#[derive(Debug)]
pub(crate) struct SplicedDump {
    text: SpooledTempFile,
    /// Bytes of `text` that were given out.
    offset: u64,
    /// Where the rows of each table belong in `text`, in its order.
    places: Vec<Place>,
    /// Index of the table whose place comes next, or whose rows are being read.
    table: usize,
    in_rows: bool,
    rows: Rows,
    /// Bytes that all tables take on the server's disk.
    size_bytes: u64,
    /// Bytes on the server's disk of the tables whose rows were given out.
    tables_done_bytes: u64,
    /// Bytes of row text given out of the table that is being read.
    rows_bytes: u64,
}

impl SplicedDump {
    /// Runs pg_dump on a cut and opens the connections that bring the rows; dropping those ends the text with an error.
    ///
    /// # Errors
    /// When pg_dump fails, its text does not fit what it asked for, or no connection can be had.
    pub(crate) async fn open(
        cut: &Cut,
        program: &PgDump,
        options: RowOptions,
        rules: LineRules,
        progress: &Progress,
    ) -> Result<(Self, Connections)> {
        let skeleton = program.skeleton(cut).await?;
        // While there are no rows in it, the text can be put in order at no cost.
        let skeleton = match rules {
            LineRules::Faithful => skeleton.arranged()?,
            LineRules::Compat => skeleton,
        };
        let OpenedRows { text, rows, connections } = Rows::start(cut, skeleton, options, progress).await?;
        Ok((SplicedDump::new(text, rows)?, connections))
    }

    /// Finds the places in the text where each table's rows belong.
    ///
    /// # Errors
    /// When the text and what pg_dump asked for do not fit together.
    fn new(mut text: SpooledTempFile, rows: Rows) -> Result<Self> {
        let unexpected = |why: String| {
            Error::failed("cannot tell where the rows belong in pg_dump's text").because(why).hint(Next::CheckPgDump)
        };
        let mut finder = PlaceFinder::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let n = text.read(&mut buffer).or_failed(|| "cannot read pg_dump's text again")?;
            if n == 0 {
                break;
            }
            finder.push(&buffer[..n]).map_err(unexpected)?;
        }
        let places = finder.finish().map_err(unexpected)?;
        let tables = rows.tables();
        if places.len() != tables.len() {
            return Err(unexpected(format!("it has {} places, but asked for {} tables", places.len(), tables.len())));
        }
        for (place, table) in places.iter().zip(tables) {
            let head = place.header.strip_suffix(" FROM stdin;");
            if table.head.is_some() && head != table.head.as_deref() {
                return Err(unexpected(format!("rows of {} would go to {}", table.name, place.header)));
            }
        }
        text.rewind().or_failed(|| "cannot read pg_dump's text again")?;
        let size_bytes = tables.iter().map(|table| table.size_bytes).sum();
        Ok(SplicedDump {
            text,
            offset: 0,
            places,
            table: 0,
            in_rows: false,
            rows,
            size_bytes,
            tables_done_bytes: 0,
            rows_bytes: 0,
        })
    }
}

impl Source for SplicedDump {
    fn next(&mut self) -> Result<Option<Piece>> {
        if self.in_rows {
            if let Some(batch) = self.rows.read(self.table)? {
                self.rows_bytes += batch.as_ref().len() as u64;
                return Ok(Some(Piece::Rows(batch)));
            }
            self.in_rows = false;
            self.tables_done_bytes += self.rows.tables()[self.table].size_bytes;
            self.rows_bytes = 0;
            self.table += 1;
        }
        let until = self.places.get(self.table).map(|place| place.offset);
        let wanted = until.map_or(READ_BYTES as u64, |until| (until - self.offset).min(READ_BYTES as u64));
        let mut piece = Vec::new();
        let n =
            (&mut self.text).take(wanted).read_to_end(&mut piece).or_failed(|| "cannot read pg_dump's text again")?;
        self.offset += n as u64;
        if until.is_some_and(|until| self.offset >= until) {
            self.in_rows = true;
        } else if n == 0 {
            self.rows.finish()?;
            return Ok(None);
        }
        Ok(Some(Piece::Text(piece)))
    }

    fn part_done(&self) -> Option<f64> {
        // Rows take less as text than in a table; no table is counted for more than it has.
        let here = self.rows.tables().get(self.table).map_or(0, |table| table.size_bytes.min(self.rows_bytes));
        (self.size_bytes > 0).then(|| (self.tables_done_bytes + here) as f64 / self.size_bytes as f64)
    }

    fn detail(&self, rows: u64) -> String {
        let tables = self.rows.tables();
        let estimate: u64 = tables.iter().map(|table| table.rows_estimate).sum();
        // An estimate that is already passed says nothing.
        let of = if estimate > rows { format!(" of about {estimate}") } else { String::new() };
        match tables.get(self.table) {
            Some(table) => format!("{rows}{of} rows, table {} of {}: {}", self.table + 1, tables.len(), table.name),
            None => format!("{rows} rows"),
        }
    }
}
