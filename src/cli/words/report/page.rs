//! A report as one page: no script, nothing from elsewhere, and whatever a name holds, it is no markup.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{had_it, happened, measured, name_of, picture, sources, stood_still, summary};
use crate::{
    app::run::report::{Node, Report},
    base::text,
    cli::words::drill::duration,
};

const STYLE: &str = include_str!("report.css");
/// Rows of each table; of more the number is told.
const ROWS_MAX: usize = 400;

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let title = format!("How {} moved", text::markup(&text::escape(&report.chain_id)));
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    let mut sentences = summary(report).into_iter();
    if let Some((_, whole)) = sentences.next() {
        let _ = writeln!(out, "<p class=\"whole\">{}</p>", text::markup(&whole));
    }
    out.push_str("<dl>\n");
    for (name, words) in sentences {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", text::markup(name), text::markup(&words));
    }
    let manifest = text::markup(&text::escape(&report.manifest_id));
    let _ = writeln!(out, "<dt>manifest</dt><dd><code>{manifest}</code></dd>\n</dl>");
    section(&mut out, "Everyone's line", |out| out.push_str(&picture::picture(report)));
    if let Some(sources) = sources::picture(report) {
        section(&mut out, "Who brought which part", |out| out.push_str(&sources));
    }
    section(&mut out, "Everyone in numbers", |out| nodes(out, report));
    section(&mut out, "Who sent how much to whom", |out| sent(out, report));
    section(&mut out, "What happened", |out| events(out, report));
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn section(out: &mut String, title: &str, fill: impl FnOnce(&mut String)) {
    // Wider than a telephone, so that it is scrolled there, also by keys.
    let _ = writeln!(
        out,
        "<section>\n<h2>{title}</h2>\n<div class=\"scroll\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\">"
    );
    fill(out);
    out.push_str("</div>\n</section>\n");
}

fn table(out: &mut String, heads: &[&str], rows: impl ExactSizeIterator<Item = Vec<String>>) {
    let more = rows.len().saturating_sub(ROWS_MAX);
    out.push_str("<table>\n<thead><tr>");
    heads.iter().for_each(|head| _ = write!(out, "<th scope=\"col\">{head}</th>"));
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows.take(ROWS_MAX) {
        out.push_str("<tr>");
        row.iter().for_each(|cell| _ = write!(out, "<td>{}</td>", text::markup(cell)));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
    if more > 0 {
        let _ = writeln!(out, "<p class=\"more\">and {more} more</p>");
    }
}

fn nodes(out: &mut String, report: &Report) {
    let heads = [
        "who",
        "had it after",
        "predicted",
        "received",
        "sent",
        "line in, at most",
        "line out, at most",
        "stood still",
        "attested",
        "ready",
    ];
    let row = |node: &Node| {
        let line = |bits: Option<f64>| bits.map_or_else(|| "-".to_owned(), measured);
        let after = |s: Option<f64>| s.map_or_else(|| "-".to_owned(), |s| format!("after {}", duration(s)));
        let attested = match node.attested {
            Some((s, true)) => after(Some(s)),
            Some((s, false)) => format!("another state, {}", after(Some(s))),
            None => "-".to_owned(),
        };
        vec![
            name_of(node),
            had_it(report, node),
            predicted(report, node).map_or_else(|| "-".to_owned(), duration),
            text::bytes(node.received_bytes),
            text::bytes(node.sent_bytes),
            line(node.down),
            line(node.up),
            stood_still(node),
            attested,
            after(node.ready_s),
        ]
    };
    table(out, &heads, report.nodes.iter().map(row));
}

/// When the simulator lets this node have everything, counted as the transfer is.
pub(super) fn predicted(report: &Report, node: &Node) -> Option<f64> {
    let prediction = report.prediction.as_ref()?;
    prediction.peers.iter().find(|peer| peer.name == node.name)?.finish_s
}

fn sent(out: &mut String, report: &Report) {
    let row = |sent: &crate::app::run::report::Sent| {
        let part = 100.0 * sent.bytes as f64 / report.size_bytes.max(1) as f64;
        vec![
            text::escape(&sent.from),
            text::escape(&sent.to),
            text::bytes(sent.bytes),
            format!("{part:.0} %"),
            sources::ranges(sent),
        ]
    };
    table(out, &["from", "to", "bytes", "of the whole", "which"], report.sent.iter().map(row));
}

fn events(out: &mut String, report: &Report) {
    let row = |event: &crate::app::run::report::Event| {
        vec![format!("{:.1} s", event.s), text::time(report.began_ms / 1000 + event.s as u64), happened(event)]
    };
    table(out, &["after", "time", "what"], report.events.iter().map(row));
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{EVIL, report},
        *,
    };

    #[test]
    fn a_page_needs_nothing_and_no_name_in_it_is_markup() {
        let mut report = report();
        report.chain_id = EVIL.to_owned();
        report.manifest_id = EVIL.to_owned();
        let page = page(&report);
        assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
        for from_elsewhere in ["http://", "https://", "src=", "href=", "@import", "url(", " style=", " on"] {
            let told = page.replace("http://www.w3.org/2000/svg", "");
            let tags = told.split('<').filter(|part| part.split('>').next().unwrap().contains(from_elsewhere));
            assert_eq!(tags.count(), 0, "{from_elsewhere}");
        }
        assert!(page.contains("default-src 'none'; style-src 'sha256-"));
        // What is opened is closed, whatever a name holds.
        for tag in
            ["html", "head", "body", "main", "section", "table", "tbody", "tr", "td", "svg", "g", "text", "title", "dl"]
        {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        for words in ["after 45.0 s", "another state, after 3.0 s", "18.0 s", "nothing came to lead any more"] {
            assert!(page.contains(words), "{words}");
        }
    }

    #[test]
    fn a_long_table_tells_how_much_more_there_is() {
        let mut report = report();
        report.events = vec![report.events[0].clone(); ROWS_MAX + 7];
        assert!(page(&report).contains("<p class=\"more\">and 7 more</p>"));
    }
}
