//! One value of a column: from its binary form to text, as COPY or the type's output function writes it.

use super::{Kind, Malformed, array::write_array, numeric::write_numeric};

/// Appends a value as text COPY has it, with COPY's escapes.
pub(super) fn write_value(kind: &Kind, value: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    match kind {
        Kind::Text => escape(value, out),
        Kind::Array(element) => {
            let from = out.len();
            write_array(element, value, out)?;
            if out[from..].iter().any(|byte| is_special(*byte)) {
                let text = out.split_off(from);
                escape(&text, out);
            }
        }
        // Its `\x` is escaped.
        Kind::Bytea => {
            out.extend_from_slice(b"\\\\x");
            write_hex(value, out);
        }
        // Nothing in the others' text wants an escape.
        _ => write_text(kind, value, out)?,
    }
    Ok(())
}

/// Appends a value as the type's output function writes it, which is also how it stands inside an array.
pub(super) fn write_text(kind: &Kind, value: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    match kind {
        Kind::Bool => out.push(if int(value).map(u8::from_be_bytes)? == 0 { b'f' } else { b't' }),
        Kind::Int2 => write_int(int(value).map(i16::from_be_bytes)?, out),
        Kind::Int4 => write_int(int(value).map(i32::from_be_bytes)?, out),
        Kind::Int8 => write_int(int(value).map(i64::from_be_bytes)?, out),
        Kind::Text => out.extend_from_slice(value),
        Kind::Bytea => {
            out.extend_from_slice(b"\\x");
            write_hex(value, out);
        }
        Kind::Uuid => write_uuid(int(value)?, out),
        Kind::Numeric => write_numeric(value, out)?,
        Kind::Array(element) => write_array(element, value, out)?,
    }
    Ok(())
}

fn int<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| "a value of another length than its type's")
}

fn write_int(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + 2 * bytes.len(), 0);
    // The room is as long as it says.
    let _ = hex::encode_to_slice(bytes, &mut out[from..]);
}

fn write_uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    let mut digits = [0; 32];
    // The room is as long as it says.
    let _ = hex::encode_to_slice(bytes, &mut digits);
    let mut text = [b'-'; 36];
    for (to, from) in [(0, 0..8), (9, 8..12), (14, 12..16), (19, 16..20), (24, 20..32)] {
        text[to..to + from.len()].copy_from_slice(&digits[from]);
    }
    out.extend_from_slice(&text);
}

/// Bytes that are searched for a special one together.
const WIDE: usize = 32;

/// Appends text with text COPY's escapes: a backslash before each backslash, and letters for control characters.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let plain = plain_front(rest);
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let Some((&byte, behind)) = rest.split_first() else { return };
        if is_special(byte) {
            out.push(b'\\');
        }
        out.push(match byte {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            other => other,
        });
        rest = behind;
    }
}

/// The number of bytes in front that need no escape; [`escape`] looks at the byte behind them again.
fn plain_front(text: &[u8]) -> usize {
    let (chunks, _) = text.as_chunks::<WIDE>();
    match chunks.iter().position(any_special) {
        Some(at) => at * WIDE + chunks[at].iter().position(|byte| is_special(*byte)).unwrap_or(0),
        None if rest_is_plain(text) => text.len(),
        None => {
            let from = chunks.len() * WIDE;
            from + text[from..].iter().position(|byte| is_special(*byte)).unwrap_or(text.len() - from)
        }
    }
}

/// Whether none of the bytes behind the last whole chunk of [`WIDE`] needs an escape. Looks at pieces that overlap,
/// which is faster than byte by byte.
fn rest_is_plain(text: &[u8]) -> bool {
    fn both<const N: usize>(text: &[u8]) -> Option<bool> {
        let (first, last) = (text.first_chunk::<N>()?, text.last_chunk::<N>()?);
        Some(!any_special(first) && !any_special(last))
    }
    if text.len() >= WIDE {
        return text.last_chunk::<WIDE>().is_some_and(|last| !any_special(last));
    }
    both::<16>(text)
        .or_else(|| both::<8>(text))
        .or_else(|| both::<4>(text))
        .unwrap_or_else(|| !text.iter().any(|byte| is_special(*byte)))
}

fn any_special<const N: usize>(chunk: &[u8; N]) -> bool {
    // Without a branch, so that the compiler takes them all at once.
    chunk.iter().fold(false, |any, byte| any | is_special(*byte))
}

/// A backslash, or a control character with a letter of its own: 8 to 13.
fn is_special(byte: u8) -> bool {
    byte.wrapping_sub(8) < 6 || byte == b'\\'
}
