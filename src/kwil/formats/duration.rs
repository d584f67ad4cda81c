//! Go's durations as text: `168h0m0s`, `1.5h`, `500ms`. What kwild reads, and how it writes it again.

use std::fmt;

use crate::base::text::escape;

/// A duration as Go keeps it: signed nanoseconds in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GoDuration(pub i64);

/// The error of a text that is no Go duration; it holds the first 60 characters of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is no duration such as \"168h0m0s\"", escape(.0))]
pub struct DurationError(String);

impl GoDuration {
    /// The duration of so many hours, 2,562,047 at most.
    pub const fn from_hours(hours: i64) -> Self {
        GoDuration(hours * 3_600_000_000_000)
    }

    /// Reads what Go's `time.ParseDuration` reads; any other text, or one beyond 63 bits of nanoseconds, is an error.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        parse_nanoseconds(text).map(GoDuration).ok_or_else(|| DurationError(text.chars().take(60).collect()))
    }
}

const LIMIT: u64 = 1 << 63;

fn parse_nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole_digits, after) = rest.split_at(whole_end);
        let whole: u64 = if whole_digits.is_empty() { 0 } else { whole_digits.parse().ok()? };
        let (fraction_digits, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
            None => ("", after),
        };
        if whole > LIMIT || (whole_digits.is_empty() && fraction_digits.is_empty()) {
            return None;
        }
        let (unit, after) = after.split_at(after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len()));
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let mut part = whole.checked_mul(unit).filter(|part| *part <= LIMIT)?;
        if !fraction_digits.is_empty() {
            part = part.checked_add(fraction_nanoseconds(fraction_digits, unit)).filter(|part| *part <= LIMIT)?;
        }
        total = total.checked_add(part).filter(|total| *total <= LIMIT)?;
        rest = after;
    }
    match (negative, total) {
        (true, LIMIT) => Some(i64::MIN),
        (true, _) => Some(-i64::try_from(total).ok()?),
        (false, _) => i64::try_from(total).ok(),
    }
}

/// The part after the point in units of `unit` nanoseconds, rounded as Go does: in floating point, digits beyond 63 bits ignored.
fn fraction_nanoseconds(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0u64, 1f64);
    for digit in digits.bytes() {
        let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0'))) else { break };
        if next > LIMIT {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if value == 0 {
            return f.write_str("0s");
        }
        if value < 1_000_000_000 {
            let (unit, name) = match value {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", decimal(value, unit));
        }
        let (hours, minutes) = (value / 3_600_000_000_000, value / 60_000_000_000 % 60);
        let seconds = decimal(value % 60_000_000_000, 1_000_000_000);
        match (hours, minutes) {
            (0, 0) => write!(f, "{seconds}s"),
            (0, _) => write!(f, "{minutes}m{seconds}s"),
            _ => write!(f, "{hours}h{minutes}m{seconds}s"),
        }
    }
}

/// `value / unit` with as many decimals as needed.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn recorded_forms() {
        for (text, written) in [
            ("1.5h", "1h30m0s"),
            ("1h1h", "2h0m0s"),
            (".5s", "500ms"),
            ("1us", "1µs"),
            ("0", "0s"),
            ("-1h", "-1h0m0s"),
            ("168h0m0s", "168h0m0s"),
            ("2562047h47m16.854775807s", "2562047h47m16.854775807s"),
            ("90s", "1m30s"),
            ("1.25s", "1.25s"),
            ("3us4ns", "3.004µs"),
        ] {
            assert_eq!(GoDuration::parse(text).unwrap().to_string(), written, "{text}");
        }
        for bad in
            ["1d", "100", "", " 1h", "1h 2m", "1H", "9999999h", "2562047h47m16.854775808s", "-", ".", ".s", "h", "1.h."]
        {
            assert!(GoDuration::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_round_trips(nanoseconds in any::<i64>()) {
            let duration = GoDuration(nanoseconds);
            prop_assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
        }

        #[test]
        fn any_text_is_no_panic(text in any::<String>()) {
            let _ = GoDuration::parse(&text);
        }
    }
}
