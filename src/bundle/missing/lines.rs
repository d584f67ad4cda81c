//! Bytes as lines that can be typed off a screen or read over the telephone:
//!
//! ```text
//! 1/2: 05QT 6F1Z 90KV 4M2A 7PXE 1C0W
//! 2/2: 8H30 QZ5T
//! ```
//!
//! Each line has its number and how many there are, twenty letters of five bits in groups of four, and four letters that check all of it, the numbers
//! too; the last line has as many letters as are left. Case, spaces and dashes do not matter, `O` is `0`, `I` and `L` are `1`; what
//! begins with `#` is for people. A code of pixels holds the same lines.

use super::letters::{CHECK_LETTERS, Slip, check_of, fits, letter, slip, value};
use crate::base::{limits, text};

/// Letters of a line before those that check it.
const LETTERS: usize = 20;
/// Letters that stand together.
const GROUP: usize = 4;
/// Each letter stands for so many bits.
const BITS: usize = 5;
/// Letters that a number counts as where it is checked.
const NUMBER_LETTERS: usize = 3;
/// Lines of the longest list.
const LINES_MAX: usize = (limits::MISSING_SIZE_BYTES_MAX * 8).div_ceil(LETTERS * BITS);

/// What is wrong with typed lines. Lines are named by the numbers before them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// More text than any list has.
    #[error("the text has {0} bytes, and none has more than {max}", max = limits::MISSING_TEXT_SIZE_BYTES_MAX)]
    TooLong(usize),
    /// There is no line.
    #[error("there is no line in it, such as “1/9: 05QT 6F1Z …”")]
    Nothing,
    /// Letters stand before the first number.
    #[error("“{0}” stands before the first line's number, which is written as “1/9:”")]
    NoNumber(String),
    /// What stands before a colon is no number.
    #[error("“{0}:” is no line's number, which is written as “1/9:”")]
    Number(String),
    /// Lines disagree on how many there are.
    #[error("line {line} says that there are {got} lines, and the first one that there are {expected}")]
    Total {
        /// Which one.
        line: usize,
        /// What it says.
        got: usize,
        /// What the first one says.
        expected: usize,
    },
    /// A line is not there.
    #[error("line {0} is missing")]
    Missing(usize),
    /// A line stands there twice.
    #[error("line {0} stands there twice")]
    Twice(usize),
    /// A line stands before one that belongs before it.
    #[error("line {0} stands before line {1}")]
    Order(usize, usize),
    /// A letter that there is not.
    #[error("line {line}, {}: there is no letter “{}”", place(*at), text::escape(&letter.to_string()))]
    Letter {
        /// Which line.
        line: usize,
        /// Which letter of it, counted from 1.
        at: usize,
        /// What stands there.
        letter: char,
    },
    /// A line has too few or too many letters.
    #[error("line {line} has {got} letters instead of {expected}{}", hint(slip.as_ref()))]
    Length {
        /// Which line.
        line: usize,
        /// How many it has.
        got: usize,
        /// How many it should have.
        expected: usize,
        /// Where that happened, if it can be told.
        slip: Option<Slip>,
    },
    /// A line's letters do not fit each other.
    #[error("line {line} is not as it was written{}", hint(slip.as_ref()))]
    Changed {
        /// Which line.
        line: usize,
        /// Where that happened, if it can be told.
        slip: Option<Slip>,
    },
    /// Every line fits, and all together are no bytes.
    #[error("line {0}, the last one, ends where no list ends: lines of different lists were mixed")]
    End(usize),
}

fn place(at: usize) -> String {
    format!("letter {at} (group {})", (at - 1) / GROUP + 1)
}

fn hint(slip: Option<&Slip>) -> String {
    match slip {
        None => ": its number, or more than one of its letters, is wrong".to_owned(),
        Some(Slip::Wrong(at)) => format!(": {} is wrong", place(*at)),
        Some(Slip::Swapped(at)) => format!(": {} and the next one are swapped", place(*at)),
        Some(Slip::Lacking(at)) => format!(": one is missing at {}, or beside it", place(*at)),
        Some(Slip::Extra(at)) => format!(": {}, or an equal one beside it, is one too many", place(*at)),
    }
}

/// The lines of some bytes.
pub fn to_lines(bytes: &[u8]) -> Vec<String> {
    let values: Vec<u8> = (0..bytes.len() * 8)
        .step_by(BITS)
        .map(|first| (first..first + BITS).fold(0, |value, at| value << 1 | bit(bytes, at)))
        .collect();
    let total = values.len().div_ceil(LETTERS);
    let line = |(at, values): (usize, &[u8])| {
        let check = check_of(head(at + 1, total).into_iter().chain(values.iter().copied()));
        let letters: Vec<char> = values.iter().chain(&check).map(|value| letter(*value)).collect();
        let groups: Vec<String> = letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
        format!("{}/{total}: {}", at + 1, groups.join(" "))
    };
    values.chunks(LETTERS).enumerate().map(line).collect()
}

fn bit(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1)
}

/// A line's numbers, as they are checked.
fn head(line: usize, total: usize) -> [u8; 2 * NUMBER_LETTERS] {
    std::array::from_fn(|at| {
        let number = if at < NUMBER_LETTERS { line } else { total };
        (number >> (BITS * (NUMBER_LETTERS - 1 - at % NUMBER_LETTERS)) & 31) as u8
    })
}

/// The bytes of some lines, as somebody typed them.
///
/// # Errors
/// What is wrong, by its line, and by its letter where that can be told.
pub fn from_lines(typed: &str) -> Result<Vec<u8>, LinesError> {
    if typed.len() > limits::MISSING_TEXT_SIZE_BYTES_MAX {
        return Err(LinesError::TooLong(typed.len()));
    }
    let lines = split(typed)?;
    let total = lines.first().ok_or(LinesError::Nothing)?.total;
    let mut values: Vec<u8> = Vec::with_capacity(lines.len() * LETTERS);
    for (at, line) in lines.iter().enumerate() {
        if line.total != total {
            return Err(LinesError::Total { line: line.number, got: line.total, expected: total });
        }
        let expected = at + 1;
        if line.number < expected {
            return Err(LinesError::Twice(line.number));
        }
        if line.number > expected {
            let is_later = lines[at..].iter().any(|later| later.number == expected);
            return Err(if is_later {
                LinesError::Order(line.number, expected)
            } else {
                LinesError::Missing(expected)
            });
        }
        values.extend(line.values()?);
    }
    if lines.len() < total {
        return Err(LinesError::Missing(lines.len() + 1));
    }
    let bit = |at: usize| values[at / BITS] >> (BITS - 1 - at % BITS) & 1;
    let bits = values.len() * BITS;
    // Less than a letter is filled up with zeros.
    if bits % 8 >= BITS || (bits / 8 * 8..bits).any(|at| bit(at) == 1) {
        return Err(LinesError::End(total));
    }
    Ok((0..bits / 8).map(|byte| (byte * 8..byte * 8 + 8).fold(0, |value, at| value << 1 | bit(at))).collect())
}

/// A line as it was typed.
struct Line {
    number: usize,
    total: usize,
    letters: Vec<char>,
}

fn split(typed: &str) -> Result<Vec<Line>, LinesError> {
    let mut lines: Vec<Line> = Vec::new();
    for row in typed.lines() {
        // The mark of a quoted mail, and what nobody sees.
        let row: String =
            row.chars().filter(|c| !matches!(c, '>' | '\u{feff}' | '\u{ad}' | '\u{200b}'..='\u{200f}')).collect();
        let row = row.trim_start();
        if row.starts_with('#') {
            continue;
        }
        let row = row.replace(['-', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}'], " ");
        let mut rest = row.as_str();
        while let Some(colon) = rest.find(':') {
            let (before, after) = rest.split_at(colon);
            let head = number_before(before);
            take_letters(&mut lines, &before[..before.len() - head.len()])?;
            lines.push(numbered(head)?);
            rest = &after[1..];
        }
        take_letters(&mut lines, rest)?;
    }
    Ok(lines)
}

/// The end of a text that is a line's number: `3/9`, also as `3 / 9`.
fn number_before(text: &str) -> &str {
    let trimmed = text.trim_end();
    let slash = trimmed.rfind('/').unwrap_or(trimmed.len());
    let begin = trimmed[..slash].trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
    // White space may be longer than a byte.
    let begin = (begin..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[begin..]
}

fn numbered(head: &str) -> Result<Line, LinesError> {
    let number = |text: &str| {
        let digits: String = text
            .trim()
            .chars()
            .map(|c| match value(c) {
                Some(value @ 0..10) => letter(value),
                _ => 'x',
            })
            .collect();
        digits.parse::<usize>().ok().filter(|number| (1..=LINES_MAX).contains(number))
    };
    let numbers = head.split_once('/').and_then(|(line, total)| Some((number(line)?, number(total)?)));
    match numbers.filter(|(line, total)| line <= total) {
        Some((number, total)) => Ok(Line { number, total, letters: Vec::new() }),
        None => Err(LinesError::Number(text::escape(head.trim()))),
    }
}

fn take_letters(lines: &mut [Line], words: &str) -> Result<(), LinesError> {
    let mut letters = words.chars().filter(|c| !c.is_whitespace()).peekable();
    if letters.peek().is_none() {
        return Ok(());
    }
    match lines.last_mut() {
        Some(line) => line.letters.extend(letters),
        None => return Err(LinesError::NoNumber(text::escape(words.trim()))),
    }
    Ok(())
}

impl Line {
    /// The values of the letters, without those that check them.
    fn values(&self) -> Result<Vec<u8>, LinesError> {
        let line = self.number;
        let letter = |(at, letter): (usize, &char)| {
            value(*letter).ok_or(LinesError::Letter { line, at: at + 1, letter: *letter })
        };
        let mut values = self.letters.iter().enumerate().map(letter).collect::<Result<Vec<u8>, _>>()?;
        let (got, head) = (values.len(), head(self.number, self.total));
        let full = LETTERS + CHECK_LETTERS;
        let may_be_shorter = self.number == self.total && (CHECK_LETTERS + 1..full).contains(&got);
        if got != full && !may_be_shorter {
            return Err(LinesError::Length { line, got, expected: full, slip: slip(&head, &values, full) });
        }
        if !fits(&head, &values) {
            let lengths = if self.number == self.total { [got, got + 1, got - 1] } else { [got; 3] };
            let slip = lengths.into_iter().find_map(|length| slip(&head, &values, length));
            return Err(LinesError::Changed { line, slip });
        }
        values.truncate(got - CHECK_LETTERS);
        Ok(values)
    }
}
