//! A connection for rows: in go statements, out come `CopyData` messages. The driver logs in; after that the bytes are
//! read here, so that a row is taken where it was received and costs nothing of its own. Messages are PostgreSQL's,
//! protocol 3.0 ("Message Formats" in its manual); all but the rows are read by postgres-protocol.

use std::io;

use futures::FutureExt;
use postgres_protocol::message::{
    backend::{ErrorResponseBody, Message},
    frontend,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::error::SqlState;

use super::{
    connect::{Failure, log_in},
    reach::Stream,
    settings::Settings,
};
use crate::base::text::escape;

/// Bytes of the buffer into which the connection is read; a row that does not fit comes in pieces.
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes of a message's head: its letter, and four bytes for its length without the letter.
const HEAD_BYTES: usize = 5;
const COPY_DATA: u8 = b'd';

/// A logged-in connection whose messages are read here.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    buffer: Box<[u8]>,
    /// Where in the buffer the bytes begin that are read and not yet taken.
    start: usize,
    /// Where those bytes end.
    end: usize,
    /// Bytes of a row that is longer than the buffer, still to come.
    row_left: usize,
}

/// What the bytes at hand are.
#[derive(Debug)]
pub(super) enum Came<'a> {
    /// A row, or a piece of a long one.
    Data(&'a [u8]),
    /// The statement is over: all its rows were there.
    End,
    /// They are no whole message: more has to be read.
    Nothing,
}

/// Why a statement brought no more.
#[derive(Debug)]
pub(super) enum WireError {
    /// The server refused the statement.
    Refused(Refusal),
    /// The connection is gone, or what came makes no sense; in words.
    Broken(String),
}

/// The server's error response to a statement.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// The error's SQLSTATE.
    pub(super) code: SqlState,
    /// The error's message with its SQLSTATE, made harmless to show.
    pub(super) words: String,
}

impl WireError {
    fn nonsense(what: &str) -> Self {
        WireError::Broken(format!("the server sent {what}"))
    }

    /// The server's words, or those in which the connection broke.
    pub(super) fn into_words(self) -> String {
        match self {
            WireError::Refused(Refusal { words, .. }) | WireError::Broken(words) => words,
        }
    }

    /// The error of a server's error response: a broken connection where the response ends the session (a shutdown, an
    /// idle timeout), which is no fault of the statement.
    fn of(body: &ErrorResponseBody) -> Self {
        use postgres_protocol::message::backend::ErrorFields;
        fn field(mut fields: ErrorFields<'_>, letter: u8) -> Option<String> {
            use fallible_iterator::FallibleIterator;
            while let Ok(Some(field)) = fields.next() {
                if field.type_() == letter {
                    return Some(String::from_utf8_lossy(field.value_bytes()).into_owned());
                }
            }
            None
        }
        let code = SqlState::from_code(&field(body.fields(), b'C').unwrap_or_default());
        let message = field(body.fields(), b'M').unwrap_or_default();
        let words = escape(&format!("{message} (SQLSTATE {})", code.code()));
        let ended = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::IDLE_SESSION_TIMEOUT];
        if ended.contains(&code) { WireError::Broken(words) } else { WireError::Refused(Refusal { code, words }) }
    }
}

impl From<io::Error> for WireError {
    fn from(e: io::Error) -> Self {
        WireError::Broken(escape(&e.to_string()))
    }
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn open(settings: &Settings) -> Result<Self, Failure> {
        Ok(Wire::new(log_in(settings).await?))
    }

    /// Takes over a connection that is logged in already, on which nothing is under way.
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Wire { stream, buffer: vec![0; BUFFER_BYTES].into(), start: 0, end: 0, row_left: 0 }
    }

    /// Runs a statement to its end; what it gives back is dropped.
    pub(super) async fn execute(&mut self, sql: &str) -> Result<(), WireError> {
        self.query(sql).await?;
        loop {
            match self.next()? {
                Came::End => return Ok(()),
                Came::Data(_) => {}
                Came::Nothing => self.fill().await.map(drop)?,
            }
        }
    }

    /// Sends a statement; its rows come from [`Wire::next`] and [`Wire::fill`].
    pub(super) async fn query(&mut self, sql: &str) -> Result<(), WireError> {
        let mut message = bytes::BytesMut::new();
        frontend::query(sql, &mut message)?;
        self.stream.write_all(&message).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Waits until the connection is gone, while nothing is asked of it; gives the words in which it ended.
    pub(super) async fn lost(&mut self) -> String {
        loop {
            let more = match self.next() {
                Ok(Came::Nothing) => self.fill().await.map(drop),
                Ok(_) => Ok(()),
                Err(e) => Err(e),
            };
            match more {
                Ok(()) => {}
                Err(e) => return e.into_words(),
            }
        }
    }

    /// Says goodbye to the server (Terminate) and lets it end the connection.
    pub(super) async fn end(mut self) {
        const TERMINATE: &[u8] = b"X\0\0\0\x04";
        let _ = self.stream.write_all(TERMINATE).await;
        let _ = self.stream.shutdown().await;
    }

    /// Takes the next row, or piece of a long one, of the bytes at hand; reads nothing.
    pub(super) fn next(&mut self) -> Result<Came<'_>, WireError> {
        loop {
            let at_hand = self.end - self.start;
            if self.row_left > 0 {
                let n = at_hand.min(self.row_left);
                if n == 0 {
                    return Ok(Came::Nothing);
                }
                self.row_left -= n;
                return Ok(Came::Data(self.take(n)));
            }
            let Some((head, _)) = self.buffer[self.start..self.end].split_first_chunk::<HEAD_BYTES>() else {
                return Ok(Came::Nothing);
            };
            let [letter, length @ ..] = *head;
            let body = u32::from_be_bytes(length).checked_sub(4).map_or(usize::MAX, |n| n as usize);
            let whole = HEAD_BYTES.saturating_add(body);
            if letter == COPY_DATA && body <= i32::MAX as usize {
                if whole > self.buffer.len() {
                    self.start += HEAD_BYTES;
                    self.row_left = body;
                    continue;
                }
                if at_hand < whole {
                    return Ok(Came::Nothing);
                }
                return Ok(Came::Data(&self.take(whole)[HEAD_BYTES..]));
            }
            if whole > self.buffer.len() {
                return Err(WireError::nonsense("a message longer than any"));
            }
            if at_hand < whole {
                return Ok(Came::Nothing);
            }
            let message = bytes::BytesMut::from(self.take(whole));
            if self.is_end(message)? {
                return Ok(Came::End);
            }
        }
    }

    fn take(&mut self, n: usize) -> &[u8] {
        let from = self.start;
        self.start += n;
        &self.buffer[from..self.start]
    }

    fn is_end(&self, mut message: bytes::BytesMut) -> Result<bool, WireError> {
        match Message::parse(&mut message)? {
            Some(Message::ReadyForQuery(_)) => Ok(true),
            Some(Message::ErrorResponse(body)) => Err(WireError::of(&body)),
            Some(
                Message::CopyOutResponse(_)
                | Message::CopyDone
                | Message::CommandComplete(_)
                | Message::EmptyQueryResponse
                | Message::NoticeResponse(_)
                | Message::NotificationResponse(_)
                | Message::ParameterStatus(_)
                | Message::RowDescription(_)
                | Message::DataRow(_),
            ) => Ok(false),
            _ => Err(WireError::nonsense("something that is no answer to a COPY")),
        }
    }

    /// Waits for bytes and reads what has come; gives their number.
    pub(super) async fn fill(&mut self) -> Result<usize, WireError> {
        self.make_room();
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(WireError::Broken("the server ended the connection".to_owned())),
            n => {
                self.end += n;
                Ok(n)
            }
        }
    }

    /// Reads what has come without waiting; `None` where nothing has.
    pub(super) fn fill_now(&mut self) -> Option<Result<usize, WireError>> {
        self.fill().now_or_never()
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}
