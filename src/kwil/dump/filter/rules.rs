//! The line rules of Kwil's own snapshot tools, exactly: which lines of pg_dump's text they keep.

use memchr::memmem;

/// What Kwil's rules do with a line outside the voters block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Drop,
}

/// How a line begins that Kwil's rules take for the voters block's header.
pub(super) const VOTERS_PREFIX: &[u8] = b"COPY kwild_voting.voters";
/// What such a line must hold somewhere, too.
pub(super) const VOTERS_MARK: &[u8] = b"FROM stdin;";

/// The one flag of Kwil's rules that lasts from line to line: whether the schema part has begun.
#[derive(Debug, Default)]
pub(super) struct KwilRules {
    started: bool,
}

impl KwilRules {
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// What Kwil's rules do with the line, outside the voters block.
    pub(super) fn verdict(&self, line: &[u8]) -> Verdict {
        const LEADING: [&[u8]; 4] = [b"SET", b"SELECT", b"\\connect", b"CREATE DATABASE"];
        let text = trim_start(line);
        let drop = text.is_empty()
            || text.starts_with(b"--")
            || (!self.started && LEADING.iter().any(|prefix| text.starts_with(prefix)));
        if drop { Verdict::Drop } else { Verdict::Keep }
    }

    /// Notes a line that stays: it may begin the schema part.
    pub(super) fn keep(&mut self, line: &[u8]) {
        const FIRST: [&[u8]; 3] = [b"CREATE SCHEMA", b"CREATE TABLE", b"CREATE FUNCTION"];
        if !self.started {
            let text = trim_start(line);
            self.started = FIRST.iter().any(|prefix| text.starts_with(prefix));
        }
    }
}

/// Whether Kwil's rules would take the line for the voters block's header.
pub(super) fn looks_like_voters(line: &[u8]) -> bool {
    let text = trim_start(line);
    text.starts_with(VOTERS_PREFIX) && memmem::find(text, VOTERS_MARK).is_some()
}

/// Whether the line is blank or a comment: Kwil's rules drop it wherever it stands, not only before the schema part.
pub(super) fn is_blank_or_comment(line: &[u8]) -> bool {
    let text = trim_start(line);
    text.is_empty() || text.starts_with(b"--")
}

/// Takes white space off the front as Go's `TrimSpace` does: Unicode's White_Space.
pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(length) = leading_space(rest) {
        rest = &rest[length..];
    }
    rest
}

/// How many bytes the white space character takes that the text begins with; `None` where it begins with none.
fn leading_space(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'\t'..=b'\r' | b' ' => Some(1),
        // Only U+0085 and above are left, two or three bytes long.
        0xc2 | 0xe1..=0xe3 => {
            let length = if text[0] == 0xc2 { 2 } else { 3 };
            let c = std::str::from_utf8(text.get(..length)?).ok()?.chars().next()?;
            c.is_whitespace().then_some(length)
        }
        _ => None,
    }
}

/// Whether this may be the beginning of a white space character whose other bytes have not come yet.
pub(super) fn may_be_space(text: &[u8]) -> bool {
    match text {
        [0xc2] | [0xe1..=0xe3] => true,
        [first @ 0xe1..=0xe3, second] => {
            (0x80..=0xbf).contains(second)
                && matches!((first, second), (0xe1, 0x9a) | (0xe2, 0x80 | 0x81) | (0xe3, 0x80))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trim_knows_unicode_white_space() {
        let spaces = "\t\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\n";
        assert_eq!(trim_start(spaces.as_bytes()), b"");
        for not_space in ["\u{200b}", "\u{feff}", "\u{180e}", "é"] {
            assert_eq!(trim_start(not_space.as_bytes()), not_space.as_bytes());
        }
        assert_eq!(trim_start(b" \xc2"), b"\xc2");
        for space in ["\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{205f}", "\u{3000}"] {
            for cut in 1..space.len() {
                assert!(may_be_space(&space.as_bytes()[..cut]), "{space:?}");
            }
        }
    }

    #[test]
    fn leading_statements_go_until_the_schema_part() {
        let mut rules = KwilRules::default();
        for line in ["SET a = 1;\n", "  SELECTED\n", "\\connect x\n", "CREATE DATABASE x;\n", "\n", " -- c\n"] {
            assert_eq!(rules.verdict(line.as_bytes()), Verdict::Drop, "{line}");
        }
        assert_eq!(rules.verdict(b"set a = 1;\n"), Verdict::Keep);
        rules.keep(b"ALTER DATABASE x;\n");
        assert!(!rules.started());
        rules.keep(b" CREATE TABLE x (\n");
        assert!(rules.started());
        assert_eq!(rules.verdict(b"SET a = 1;\n"), Verdict::Keep);
        assert_eq!(rules.verdict(b" -- c\n"), Verdict::Drop);
    }
}
