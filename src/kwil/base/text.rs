//! Text for people: sizes, rates, and strings of strangers made harmless.

/// Escapes control characters and anything else that could drive a terminal, and cuts after 200 characters.
/// Everything that comes from a peer, a server or a file passes through here before it is shown.
pub fn escape(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    let mut out = String::with_capacity(text.len().min(SHOWN_CHARS_MAX));
    for (i, c) in text.chars().enumerate() {
        if i == SHOWN_CHARS_MAX {
            out.push('…');
            break;
        }
        // Bidirectional and zero-width characters can make a line read as another one.
        let tricky =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || tricky {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Text as it stands in HTML or XML, also within quotes: whatever it holds, it is no markup.
pub fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A number of bytes for people, in powers of 1024: `1.5 GiB`, `312 B`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Megabytes (10^6 bytes) a second, as disks and links are rated; 0 where no time passed.
pub fn megabytes_per_second(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 / 1e6 / seconds } else { 0.0 }
}

/// A number with its noun, which gets an `s` unless the number is 1: `1 peer`, `3 peers`.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The first `max` of some names, made harmless to show, and how many more there are: `a, b and 3 more`.
pub fn first_few(names: impl IntoIterator<Item = impl AsRef<str>>, max: usize) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(max).map(|name| escape(name.as_ref())).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// UNIX seconds as `2026-11-22T15:00:00Z`.
pub fn time(unix_seconds: u64) -> String {
    // RFC 3339 ends with the year 9999.
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A time span in its largest unit, for people: `40 s`, `3 min`, `2 h`, `5 days`.
pub fn about(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => count(seconds / 86_400, "day"),
    }
}

/// The one of `names` that is most like a misspelt word; `None` where none is near enough to have been meant.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a stranger's text need not be.
    const CHARS_MAX: usize = 100;
    let word = word.char_indices().nth(CHARS_MAX).map_or(word, |(end, _)| &word[..end]);
    let far = |name: &str| word.chars().count().min(name.chars().count()).max(3) / 3;
    let all = names.into_iter().map(|name| (strsim::osa_distance(word, name), name));
    all.filter(|(distance, name)| *distance <= far(name)).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_told_in_their_largest_unit() {
        let told = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, u64::MAX].map(about);
        assert_eq!(told[..7], ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
        assert!(told[7].ends_with(" days"));
    }

    #[test]
    fn escape_disarms_terminal_sequences() {
        assert_eq!(escape("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(escape("ключ ✓"), "ключ ✓");
        assert!(escape(&"x".repeat(1000)).chars().count() <= 201);
        assert_eq!(escape("\u{202e}txt"), "\\u{202e}txt");
    }

    #[test]
    fn markup_has_none() {
        assert_eq!(markup("a<b> & \"c\" 'd'"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
        assert_eq!(markup("ключ"), "ключ");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(count(1, "peer"), "1 peer");
        assert_eq!(count(0, "peer"), "0 peers");
        assert_eq!(time(1_800_000_000), "2027-01-15T08:00:00Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn many_names_are_told_by_the_first_and_a_number() {
        assert_eq!(first_few([""; 0], 2), "");
        assert_eq!(first_few(["a", "b"], 2), "a, b");
        assert_eq!(first_few(["a\u{1b}", "b", "c", "d"], 2), "a\\u{1b}, b and 2 more");
    }

    #[test]
    fn the_nearest_name_is_one_that_was_meant() {
        let names = ["chain_id", "initial_height", "leader"];
        for (word, name) in [("chian_id", Some("chain_id")), ("chainid", Some("chain_id")), ("laeder", Some("leader"))]
        {
            assert_eq!(nearest(word, names), name, "{word}");
        }
        assert_eq!(nearest("genesis_time", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(10_000), names), None);
    }
}
