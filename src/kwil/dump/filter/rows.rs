//! COPY rows on their way through the filter, under either set of rules, whole slices at a time.

use memchr::{memchr, memmem};

use super::{
    FilterError,
    rules::{KwilRules, VOTERS_MARK, VOTERS_PREFIX, Verdict, is_blank_or_comment, may_be_space, trim_start},
};
use crate::{base::limits::SQL_STATEMENT_SIZE_BYTES_MAX, dump::sql::short};

/// The line that ends a block.
const END: &[u8] = b"\\.\n";

/// Lets every byte of a block's rows pass, and counts the rows.
#[derive(Debug, Default)]
pub(super) struct FaithfulRows {
    rows: u64,
    rescued: u64,
    /// The front of a cut row while it is undecided whether Kwil drops it, blanks left out: a few bytes at most.
    head: Vec<u8>,
    cut: Cut,
}

/// How a row that was cut continues.
#[derive(Debug, Default, PartialEq, Eq)]
enum Cut {
    /// No row is open.
    #[default]
    No,
    /// Only what is in `head` besides blanks was seen; the flag says that blanks were.
    Undecided { blanks: bool },
    /// Whether Kwil drops it is known.
    Decided { drop: bool },
}

impl FaithfulRows {
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn rescued(&self) -> u64 {
        self.rescued
    }

    /// Takes any piece of the block; the answer is the offset in it behind the block's end, or `None` before the end.
    pub(super) fn take(&mut self, data: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut at = 0;
        let mut end = None;
        if self.cut != Cut::No {
            let (piece, whole) = first_line(data);
            at = piece.len();
            if self.continue_row(piece, whole) {
                end = Some(at);
            }
        }
        while end.is_none() && at < data.len() {
            let rest = &data[at..];
            let Some(newline) = memchr(b'\n', rest) else {
                self.cut = Cut::Undecided { blanks: false };
                self.continue_row(rest, false);
                at = data.len();
                break;
            };
            let first = rest[0];
            at += newline + 1;
            // Letters, digits and most signs: an ordinary row.
            if first > b' ' && first < 0x80 && first != b'\\' && first != b'-' {
                self.rows += 1;
            } else if rest[..=newline] == *END {
                end = Some(at);
            } else {
                self.rows += 1;
                self.rescued += u64::from(is_blank_or_comment(&rest[..=newline]));
            }
        }
        out.extend_from_slice(&data[..at]);
        end
    }

    /// Goes on with a row that was cut; true when it was the block's end.
    fn continue_row(&mut self, piece: &[u8], whole: bool) -> bool {
        if let Cut::Undecided { blanks } = self.cut {
            // Enough to see a comment or the block's end; blanks before it need no keeping.
            self.head.extend_from_slice(&piece[..piece.len().min(64)]);
            let mut from = piece.len().min(64);
            let mut blanks = blanks;
            loop {
                let trimmed = trim_start(&self.head).len();
                blanks |= trimmed < self.head.len();
                self.head.drain(..self.head.len() - trimmed);
                if trimmed >= VOTERS_PREFIX.len() || from == piece.len() {
                    break;
                }
                let more = &piece[from..piece.len().min(from + 4096)];
                self.head.extend_from_slice(more);
                from += more.len();
            }
            // The line end itself is white space and may be gone.
            let head = self.head.strip_suffix(b"\n").unwrap_or(&self.head);
            if whole && !blanks && head == b"\\." {
                self.head.clear();
                self.cut = Cut::No;
                return true;
            }
            let open = !whole
                && (head.is_empty()
                    || head == b"-"
                    || may_be_space(head)
                    || (!blanks && (head == b"\\" || head == b"\\.")));
            self.cut = if open {
                Cut::Undecided { blanks }
            } else {
                let drop = head.is_empty() || head.starts_with(b"--");
                Cut::Decided { drop }
            };
        }
        if let Cut::Decided { drop } = self.cut {
            self.head.clear();
            if whole {
                self.rows += 1;
                self.rescued += u64::from(drop);
                self.cut = Cut::No;
            }
        }
        false
    }
}

/// Lets a block's rows pass that Kwil's own rules keep, and counts them.
#[derive(Debug, Default)]
pub(super) struct CompatRows {
    rows: u64,
    /// A row's front while it is not known what becomes of it.
    held: Vec<u8>,
    fate: Fate,
}

#[derive(Debug, Default)]
enum Fate {
    #[default]
    Unknown,
    Dropped,
    Kept,
    /// Begins like the voters block: the end of what was seen, in case the mark is cut in two.
    Suspect(Vec<u8>),
}

impl CompatRows {
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes any piece of the block; the answer is the offset in it behind the block's end, or `None` before the end.
    pub(super) fn take(
        &mut self,
        line: u64,
        data: &[u8],
        kwil: &KwilRules,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, FilterError> {
        let mut at = 0;
        let mut number = line;
        while at < data.len() {
            let (piece, whole) = first_line(&data[at..]);
            at += piece.len();
            if self.row(number, piece, whole, kwil, out)? {
                return Ok(Some(at));
            }
            number += u64::from(whole);
        }
        Ok(None)
    }

    fn row(
        &mut self,
        line: u64,
        piece: &[u8],
        whole: bool,
        kwil: &KwilRules,
        out: &mut Vec<u8>,
    ) -> Result<bool, FilterError> {
        match &mut self.fate {
            Fate::Unknown => {
                self.held.extend_from_slice(piece);
                if whole && self.held == END {
                    out.extend_from_slice(END);
                    self.held.clear();
                    return Ok(true);
                }
                if !whole && !is_decided(&self.held) {
                    if self.held.len() > SQL_STATEMENT_SIZE_BYTES_MAX {
                        return Err(FilterError::Unexpected {
                            line,
                            text: short(&self.held),
                            reason: "a row begins with more than 16 MiB of blanks",
                        });
                    }
                    return Ok(false);
                }
                let held = std::mem::take(&mut self.held);
                self.fate = if kwil.verdict(&held) == Verdict::Drop {
                    Fate::Dropped
                } else if trim_start(&held).starts_with(VOTERS_PREFIX) {
                    judge_marked_row(line, &[], &held)?
                } else {
                    Fate::Kept
                };
                if !matches!(self.fate, Fate::Dropped) {
                    out.extend_from_slice(&held);
                }
            }
            Fate::Dropped => {}
            Fate::Kept => out.extend_from_slice(piece),
            Fate::Suspect(seen) => {
                let seen = std::mem::take(seen);
                self.fate = judge_marked_row(line, &seen, piece)?;
                out.extend_from_slice(piece);
            }
        }
        if whole {
            self.rows += u64::from(!matches!(self.fate, Fate::Dropped));
            self.fate = Fate::Unknown;
        }
        Ok(false)
    }
}

/// Looks for the mark that makes a row the voters block to Kwil.
fn judge_marked_row(line: u64, seen: &[u8], piece: &[u8]) -> Result<Fate, FilterError> {
    let mut joined = seen.to_vec();
    joined.extend_from_slice(piece);
    if memmem::find(&joined, VOTERS_MARK).is_some() {
        return Err(FilterError::Forgery { line, place: "a row of a table", text: short(&joined) });
    }
    let keep = joined.len().min(VOTERS_MARK.len() - 1);
    Ok(Fate::Suspect(joined.split_off(joined.len() - keep)))
}

/// Whether the front of a row is long enough to say what Kwil's rules do with the row.
fn is_decided(front: &[u8]) -> bool {
    const FRONT_BYTES: usize = 32;
    let text = trim_start(front);
    // Longer than every prefix of the rules and than the block's end.
    text.len() >= FRONT_BYTES
}

/// The data up to and including its first line end, and whether there is one.
fn first_line(data: &[u8]) -> (&[u8], bool) {
    match memchr(b'\n', data) {
        Some(at) => (&data[..=at], true),
        None => (data, false),
    }
}
