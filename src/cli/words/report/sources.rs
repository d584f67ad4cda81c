//! Which chunks came from whom: the file goes to the right, a row is a node that got some, and its colours are those from whom they came.

use std::{collections::BTreeMap, fmt::Write as _};

use super::picture::{FILL, NAMES, RIGHT, ROW, ROWS_MAX, TOP, WIDTH, label};
use crate::{
    app::run::report::{Part, Report, Sent},
    base::text,
};

/// Senders that have a colour of their own; the others share one.
const COLOURS: usize = 8;
/// Ranges that are told of one sender in words.
const RANGES_TOLD: usize = 6;

/// The picture, as SVG inside of a page; `None` where no log tells of it.
pub(super) fn picture(report: &Report) -> Option<String> {
    let told: Vec<&Sent> = report.sent.iter().filter(|sent| !sent.parts.is_empty()).collect();
    let colours = colours(&told);
    let nodes = report.nodes.iter().filter(|node| told.iter().any(|sent| sent.to_peer == node.peer));
    let nodes: Vec<_> = nodes.take(ROWS_MAX).collect();
    if nodes.is_empty() {
        return None;
    }
    let (width, height) = (WIDTH - NAMES - RIGHT, TOP + ROW * nodes.len() as f64 + 4.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"sources-title\">\n\
         <title id=\"sources-title\">From whom each node got which part of the file. The table below tells the same in numbers.</title>\n"
    );
    for (x, words) in [(NAMES, "first chunk"), (NAMES + width, "last chunk")] {
        let _ = writeln!(out, "<g class=\"axis\"><text x=\"{x:.0}\" y=\"{:.0}\">{words}</text></g>", TOP - 10.0);
    }
    for (row, node) in nodes.iter().enumerate() {
        let top = TOP + ROW * row as f64;
        label(&mut out, row, &text::escape(&node.name));
        let _ = writeln!(out, "<rect class=\"row\" x=\"{NAMES}\" y=\"{top:.0}\" width=\"{width}\" height=\"{FILL}\"/>");
        // What came from several of some chunks stands on top of each other.
        let mut filled: BTreeMap<u32, f64> = BTreeMap::new();
        for sent in told.iter().filter(|sent| sent.to_peer == node.peer) {
            let class = colours.get(&sent.from_peer).map_or("others".to_owned(), |n| n.to_string());
            let words = format!("from {}: {}", text::escape(&sent.from), ranges(sent));
            let _ = write!(out, "<path class=\"s{class}\" d=\"");
            for part in &sent.parts {
                let (x, end) = (x_of(report, part.first), x_of(report, part.last.saturating_add(1)));
                let share = f64::from(part.chunks) / (f64::from(part.last.saturating_sub(part.first)) + 1.0);
                let below = filled.entry(part.first).or_default();
                let (bottom, high) = (top + FILL * (1.0 - *below), FILL * share.min(1.0 - *below));
                *below += share.min(1.0 - *below);
                let _ = write!(out, "M{x:.1} {bottom:.1}H{end:.1}V{:.1}H{x:.1}Z", bottom - high);
            }
            let _ = writeln!(out, "\"><title>{}</title></path>", text::markup(&words));
        }
    }
    out.push_str("</svg>\n<ul class=\"key\">");
    let mut named: Vec<(usize, &str)> = Vec::new();
    for sent in &told {
        match colours.get(&sent.from_peer) {
            Some(n) if !named.iter().any(|(known, _)| known == n) => named.push((*n, &sent.from)),
            _ => {}
        }
    }
    named.sort_unstable();
    for (n, name) in named {
        let _ = write!(out, "<li class=\"k-s{n}\">{}</li>", text::markup(&text::escape(name)));
    }
    if told.iter().any(|sent| !colours.contains_key(&sent.from_peer)) {
        out.push_str("<li class=\"k-sothers\">others</li>");
    }
    out.push_str("<li class=\"k-none\">not over the network</li></ul>\n");
    Some(out)
}

/// Who gave most has the first colour.
fn colours(told: &[&Sent]) -> BTreeMap<String, usize> {
    let mut gave: BTreeMap<&str, u64> = BTreeMap::new();
    for sent in told {
        *gave.entry(&sent.from_peer).or_default() += chunks(sent);
    }
    let mut all: Vec<(&str, u64)> = gave.into_iter().collect();
    all.sort_by_key(|(peer, chunks)| (std::cmp::Reverse(*chunks), *peer));
    all.into_iter().take(COLOURS).enumerate().map(|(n, (peer, _))| (peer.to_owned(), n)).collect()
}

/// How many chunks came so.
pub(super) fn chunks(sent: &Sent) -> u64 {
    sent.parts.iter().map(|part| u64::from(part.chunks)).sum()
}

fn x_of(report: &Report, chunk: u32) -> f64 {
    NAMES + (WIDTH - NAMES - RIGHT) * (f64::from(chunk) / f64::from(report.chunks.max(1))).clamp(0.0, 1.0)
}

/// Which chunks came so, in words.
pub(super) fn ranges(sent: &Sent) -> String {
    if sent.parts.is_empty() {
        return "-".to_owned();
    }
    let range = |part: &Part| match (part.first == part.last, part.is_whole()) {
        (true, _) => part.first.to_string(),
        (false, true) => format!("{}–{}", part.first, part.last),
        (false, false) => format!("{} of {}–{}", part.chunks, part.first, part.last),
    };
    // The longest say most.
    let mut longest: Vec<&Part> = sent.parts.iter().collect();
    longest.sort_by_key(|part| (std::cmp::Reverse(part.chunks), part.first));
    longest.truncate(RANGES_TOLD);
    longest.sort_by_key(|part| part.first);
    let told: u64 = longest.iter().map(|part| u64::from(part.chunks)).sum();
    let more = match chunks(sent) - told {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let shown: Vec<String> = longest.into_iter().map(range).collect();
    format!("{}: {}{more}", text::count(chunks(sent), "chunk"), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::report, *};

    #[test]
    fn each_part_of_a_row_has_the_colour_of_who_brought_it_and_nothing_is_off_the_paper() {
        let mut report = report();
        let svg = picture(&report).unwrap();
        assert_eq!(svg.matches("class=\"row\"").count(), 1, "{svg}");
        assert_eq!((svg.matches("<path class=\"s0\"").count(), svg.matches("<path class=\"s1\"").count()), (1, 1));
        // 900 chunks of 1000 from the lead, and half of the 100 that follow from each of two.
        let (whole, half) = (NAMES + 0.9 * (WIDTH - NAMES - RIGHT), TOP + FILL / 2.0);
        assert!(svg.contains(&format!("M{NAMES:.1} {:.1}H{whole:.1}V{TOP:.1}", TOP + FILL)), "{svg}");
        assert!(svg.contains(&format!("M{whole:.1} {half:.1}H{:.1}V{TOP:.1}", WIDTH - RIGHT)), "{svg}");
        assert!(svg.contains("from lead: 950 chunks: 0–899, 50 of 900–999"), "{svg}");
        // Numbers that no run has.
        let part = Part { first: 7, last: 3, chunks: u32::MAX };
        report.sent[0].parts = vec![part, part, Part { first: u32::MAX, last: u32::MAX, chunks: 9 }];
        let svg = picture(&report).unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for d in svg.split(" d=\"M").skip(1) {
            let numbers = d.split('"').next().unwrap().split(|c: char| !c.is_ascii_digit() && c != '.');
            assert!(numbers.filter_map(|n| n.parse::<f64>().ok()).all(|n| (0.0..=WIDTH).contains(&n)), "{d}");
        }
        report.sent.iter_mut().for_each(|sent| sent.parts.clear());
        assert_eq!(picture(&report), None);
    }

    #[test]
    fn many_senders_share_a_colour_and_many_ranges_are_counted() {
        let mut report = report();
        let one = report.sent[0].clone();
        report.sent =
            (0..20).map(|n| Sent { from_peer: format!("p{n:02}"), from: format!("n{n:02}"), ..one.clone() }).collect();
        let svg = picture(&report).unwrap();
        assert_eq!((svg.matches("<path class=\"sothers\"").count(), svg.matches("k-sothers").count()), (12, 1));
        let parts = (0..40).map(|n| Part { first: 3 * n, last: 3 * n, chunks: 1 }).collect();
        assert_eq!(ranges(&Sent { parts, ..Sent::default() }), "40 chunks: 0, 3, 6, 9, 12, 15, and 34 more");
        assert_eq!(ranges(&Sent::default()), "-");
    }
}
