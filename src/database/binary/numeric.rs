//! `numeric`: from the digits to the base of 10,000 that `numeric_send` gives to the text that `numeric_out` writes.

use super::Malformed;

const BAD: Malformed = "a numeric that is none";
const NEGATIVE: u16 = 0x4000;
/// Figures behind the decimal point that a `numeric` may have.
const SCALE_MAX: u16 = 0x3fff;

/// Appends the number's text.
pub(super) fn write_numeric(value: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (head, digits) = value.split_first_chunk::<8>().ok_or(BAD)?;
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, sign, scale) = (half(0), half(2).cast_signed(), half(4), half(6));
    if digits.len() != 2 * usize::from(count) {
        return Err(BAD);
    }
    match sign {
        0 => {}
        NEGATIVE => out.push(b'-'),
        0xC000 => out.extend_from_slice(b"NaN"),
        0xD000 => out.extend_from_slice(b"Infinity"),
        0xF000 => out.extend_from_slice(b"-Infinity"),
        _ => return Err(BAD),
    }
    if sign >= 0xC000 {
        return Ok(());
    }
    if scale > SCALE_MAX {
        return Err(BAD);
    }
    let weight = i32::from(weight);
    let digit = |at: i32| -> Result<u16, Malformed> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let digit = digits.get(at.saturating_mul(2)..at.saturating_mul(2).saturating_add(2));
        let digit = digit.map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
        if digit > 9999 { Err(BAD) } else { Ok(digit) }
    };
    if weight < 0 {
        out.push(b'0');
    } else {
        // The first digit without zeros in front, unless it is one.
        let first = four_figures(digit(0)?);
        let zeros = first.iter().take(3).take_while(|figure| **figure == b'0').count();
        out.extend_from_slice(&first[zeros..]);
        for at in 1..=weight {
            out.extend_from_slice(&four_figures(digit(at)?));
        }
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + usize::from(scale);
        let mut at = weight + 1;
        while out.len() < end {
            out.extend_from_slice(&four_figures(digit(at)?));
            at += 1;
        }
        out.truncate(end);
    }
    Ok(())
}

/// The four decimal figures of a digit to the base of 10,000.
fn four_figures(digit: u16) -> [u8; 4] {
    let figure = |n: u16| b'0' + (n % 10) as u8;
    [figure(digit / 1000), figure(digit / 100), figure(digit / 10), figure(digit)]
}
