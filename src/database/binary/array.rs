//! Arrays: from the form that `array_send` gives to the text that `array_out` writes, with braces, bounds where they do
//! not begin at one, and quotes where an element could be taken for something else.

use super::{Kind, Malformed, value::write_text};

const BAD: Malformed = "an array that is none";
/// Dimensions of an array; PostgreSQL allows no more.
const DIMENSIONS_MAX: usize = 6;

struct Dimension {
    length: usize,
    lower: i32,
}

/// Appends the array's text. Elements are parted by a comma, which is the delimiter of all kinds here.
pub(super) fn write_array(element: &Kind, value: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = value;
    let (dimensions, _has_null, _element_type) = (take_i32(&mut rest)?, take_i32(&mut rest)?, take_i32(&mut rest)?);
    let dimensions = usize::try_from(dimensions).ok().filter(|n| *n <= DIMENSIONS_MAX).ok_or(BAD)?;
    let mut shape = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        let length = usize::try_from(take_i32(&mut rest)?).map_err(|_| BAD)?;
        shape.push(Dimension { length, lower: take_i32(&mut rest)? });
    }
    if shape.iter().any(|dimension| dimension.length == 0) || shape.is_empty() {
        out.extend_from_slice(b"{}");
        return if rest.is_empty() { Ok(()) } else { Err(BAD) };
    }
    if shape.iter().any(|dimension| dimension.lower != 1) {
        for Dimension { length, lower } in &shape {
            let upper = i64::from(*lower) + *length as i64 - 1;
            out.extend_from_slice(format!("[{lower}:{upper}]").as_bytes());
        }
        out.push(b'=');
    }
    write_level(element, &shape, &mut rest, out)?;
    if rest.is_empty() { Ok(()) } else { Err(BAD) }
}

fn write_level(element: &Kind, shape: &[Dimension], rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.push(b'{');
    if let [dimension, inner @ ..] = shape {
        for at in 0..dimension.length {
            if at > 0 {
                out.push(b',');
            }
            if inner.is_empty() {
                write_element(element, rest, out)?;
            } else {
                write_level(element, inner, rest, out)?;
            }
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_element(element: &Kind, rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let Ok(length) = usize::try_from(take_i32(rest)?) else {
        out.extend_from_slice(b"NULL");
        return Ok(());
    };
    let (value, behind) = rest.split_at_checked(length).ok_or(BAD)?;
    *rest = behind;
    let from = out.len();
    write_text(element, value, out)?;
    if !wants_quotes(&out[from..]) {
        return Ok(());
    }
    let text = out.split_off(from);
    out.push(b'"');
    for byte in text {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    Ok(())
}

fn wants_quotes(text: &[u8]) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case(b"NULL")
        || text.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | 9..=13))
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, Malformed> {
    let (word, behind) = rest.split_first_chunk::<4>().ok_or(BAD)?;
    *rest = behind;
    Ok(i32::from_be_bytes(*word))
}
