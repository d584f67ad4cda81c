//! Reads the rows of `kwild_voting.voters` out of COPY text.

use memchr::memchr;

use super::FilterError;
use crate::{
    base::limits::{VOTER_ROW_SIZE_BYTES_MAX, VOTERS_MAX},
    formats::{Family, VoterRow},
};

/// Reads the rows of a voters block, whose columns are found by the names in its header.
#[derive(Debug)]
pub(super) struct VoterReader {
    family: Family,
    /// The places in a row, counted from 0, of the columns `id`, `name` and `power`.
    id: usize,
    name: usize,
    power: usize,
    partial: Vec<u8>,
}

impl VoterReader {
    pub(super) fn new(family: Family, columns: &[String], line: u64) -> Result<Self, FilterError> {
        let position = |wanted: &str| columns.iter().position(|c| c == wanted);
        match (position("id"), position("name"), position("power")) {
            (Some(id), Some(name), Some(power)) if columns.len() == 3 => {
                Ok(VoterReader { family, id, name, power, partial: Vec::new() })
            }
            _ => Err(FilterError::Voters {
                line,
                reason: format!("has the columns ({}) instead of id, name and power", columns.join(", ")),
            }),
        }
    }

    /// Takes any piece of the block and adds its rows to `voters`; the answer is the offset in the piece behind the
    /// block's end, or `None` while the block goes on.
    pub(super) fn take(
        &mut self,
        line: u64,
        data: &[u8],
        voters: &mut Vec<VoterRow>,
    ) -> Result<Option<usize>, FilterError> {
        let mut at = 0;
        let mut number = line;
        while let Some(newline) = memchr(b'\n', &data[at..]) {
            let mut row = std::mem::take(&mut self.partial);
            row.extend_from_slice(&data[at..at + newline]);
            at += newline + 1;
            if row == b"\\." {
                return Ok(Some(at));
            }
            let bad = |reason| FilterError::Voters { line: number, reason };
            if row.len() > VOTER_ROW_SIZE_BYTES_MAX || voters.len() >= VOTERS_MAX {
                return Err(bad("is larger than any network's".to_owned()));
            }
            voters.push(self.row(&row).map_err(bad)?);
            number += 1;
        }
        self.partial.extend_from_slice(&data[at..]);
        if self.partial.len() > VOTER_ROW_SIZE_BYTES_MAX {
            let reason = format!("has a row of more than {VOTER_ROW_SIZE_BYTES_MAX} bytes");
            return Err(FilterError::Voters { line: number, reason });
        }
        Ok(None)
    }

    fn row(&self, row: &[u8]) -> Result<VoterRow, String> {
        let fields: Vec<&[u8]> = row.split(|b| *b == b'\t').collect();
        if fields.len() != 3 {
            return Err(format!("has a row with {} fields instead of 3", fields.len()));
        }
        let bytes = |at: usize, column: &str| {
            let text = unescape(fields[at]).ok_or_else(|| format!("has a row without {column}"))?;
            bytea(&text).ok_or_else(|| format!("has a row whose {column} is not a bytea"))
        };
        let id = bytes(self.id, "id")?;
        let name = bytes(self.name, "name")?;
        if name.is_empty() {
            return Err(format!("has a row with an empty name; {} keeps the public key there", self.family));
        }
        let power = std::str::from_utf8(fields[self.power])
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or("has a row whose power is not a whole number of 64 bits")?;
        Ok(VoterRow { id, name, power })
    }
}

/// The text of a field with COPY's escapes undone; `None` for NULL, and where an escape is cut.
fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut text = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(&b) = bytes.next() {
        text.push(match b {
            b'\\' => match bytes.next()? {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                other => *other,
            },
            b => b,
        });
    }
    Some(text)
}

/// The bytes of a bytea's text form: `\x` and hex, or the old escapes where the database sets `bytea_output = escape`;
/// `None` where it is neither.
fn bytea(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix(b"\\x") {
        return hex::decode(digits).ok();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return None,
            (other, after) => {
                out.push(*other);
                after
            }
        };
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(columns: &[&str], data: &str) -> Result<Vec<VoterRow>, FilterError> {
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        let mut reader = VoterReader::new(Family::V010, &columns, 7)?;
        let mut voters = Vec::new();
        // Byte by byte: cuts must not matter.
        for (i, _) in data.bytes().enumerate() {
            reader.take(8, &data.as_bytes()[i..=i], &mut voters)?;
        }
        Ok(voters)
    }

    #[test]
    fn columns_are_found_by_name() {
        let want = VoterRow { id: vec![1, 2], name: b"key".to_vec(), power: -7 };
        assert_eq!(
            read(&["id", "name", "power"], "\\\\x0102\t\\\\x6b6579\t-7\n").unwrap(),
            std::slice::from_ref(&want)
        );
        assert_eq!(read(&["power", "name", "id"], "-7\t\\\\x6b6579\t\\\\x0102\n").unwrap(), [want]);
    }

    #[test]
    fn the_old_bytea_form_is_read() {
        let rows = read(&["id", "name", "power"], "\\\\001a\tk\\\\\\\\\\\\377\t1\n").unwrap();
        assert_eq!(rows, [VoterRow { id: b"\x01a".to_vec(), name: b"k\\\xff".to_vec(), power: 1 }]);
    }

    #[test]
    fn bad_rows_are_named() {
        for (columns, data, want) in [
            (&["id", "name"][..], "", "(id, name) instead of"),
            (&["id", "name", "power", "x"], "", "instead of id, name and power"),
            (&["id", "name", "power"], "a\tb\n", "2 fields"),
            (&["id", "name", "power"], "\\\\x01\t\\N\t1\n", "without name"),
            (&["id", "name", "power"], "\\\\x0\t\\\\x01\t1\n", "id is not a bytea"),
            (&["id", "name", "power"], "\\\\x00\t\\\\x\t1\n", "empty name"),
            (&["id", "name", "power"], "\\\\x00\t\\\\x01\t9223372036854775808\n", "64 bits"),
        ] {
            let error = read(columns, data).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        let long = format!("{}\n", "x".repeat(VOTER_ROW_SIZE_BYTES_MAX + 1));
        assert!(read(&["id", "name", "power"], &long).is_err());
    }
}
