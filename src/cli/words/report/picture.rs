//! The picture of a report: time goes to the right, a row is a node, and how high it is filled is what the node has.

use std::fmt::Write as _;

use super::{name_of, page::predicted};
use crate::{
    app::run::report::{Node, Report},
    base::text,
    cli::words::drill::duration,
};

/// Rows that are drawn.
pub(super) const ROWS_MAX: usize = 128;
pub(super) const WIDTH: f64 = 960.0;
pub(super) const NAMES: f64 = 210.0;
pub(super) const RIGHT: f64 = 60.0;
pub(super) const ROW: f64 = 30.0;
pub(super) const FILL: f64 = 22.0;
pub(super) const TOP: f64 = 28.0;
/// Characters of a name that fit.
const NAME_CHARS: usize = 32;

/// Where a moment and a row are.
struct Paper {
    seconds: f64,
}

impl Paper {
    fn x(&self, seconds: f64) -> f64 {
        NAMES + (WIDTH - NAMES - RIGHT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    fn row(n: usize) -> f64 {
        TOP + ROW * n as f64
    }
}

/// The picture, as SVG inside of a page.
pub(super) fn picture(report: &Report) -> String {
    let begins = report.transfer.begins_s;
    let last_predicted = report.prediction.as_ref().map_or(0.0, |p| begins + p.finish_s);
    let bound = report.transfer.bound_s.map(|bound| begins + bound);
    let seconds = report.seconds.max(last_predicted).max(bound.unwrap_or(0.0)).max(0.001);
    let paper = Paper { seconds };
    let rows = report.nodes.len().min(ROWS_MAX) + usize::from(!report.first_copies.is_empty());
    let height = Paper::row(rows) + 24.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"picture-title\">\n\
         <title id=\"picture-title\">What each node had, over time. The tables below tell the same in numbers.</title>\n"
    );
    axis(&mut out, &paper, rows);
    let mut row = 0;
    if !report.first_copies.is_empty() {
        label(&mut out, row, "first copies out");
        area(&mut out, &paper, row, &report.first_copies, "first");
        row += 1;
    }
    for node in report.nodes.iter().take(ROWS_MAX) {
        label(&mut out, row, &name_of(node));
        node_row(&mut out, &paper, row, report, node);
        row += 1;
    }
    for (at, class, words) in
        [(bound, "bound", "bound"), (report.out_s, "out", "lead could leave"), (report.quorum_s, "quorum", "quorum")]
    {
        let Some(s) = at else { continue };
        let (x, bottom) = (paper.x(s), Paper::row(rows));
        let words = format!("{words}: {}", duration(s));
        let _ = writeln!(
            out,
            "<g class=\"{class}\"><title>{words}</title><line x1=\"{x:.1}\" y1=\"{TOP:.0}\" x2=\"{x:.1}\" y2=\"{bottom:.0}\"/></g>"
        );
    }
    out.push_str("</svg>\n");
    key(&mut out);
    if report.nodes.len() > ROWS_MAX {
        let _ = writeln!(out, "<p class=\"more\">and {} nodes more</p>", report.nodes.len() - ROWS_MAX);
    }
    out
}

/// What the colours and marks mean, of those that are in the picture.
fn key(out: &mut String) {
    const MEANINGS: [(&str, &str); 11] = [
        ("have", "has"),
        ("first", "left the lead"),
        ("still", "nothing came"),
        ("done", "has everything"),
        ("agrees", "attested"),
        ("dissents", "holds another state"),
        ("ready", "ready"),
        ("predicted", "predicted end"),
        ("bound", "no earlier end on these lines"),
        ("out", "lead could leave"),
        ("quorum", "quorum"),
    ];
    let drawn = MEANINGS.iter().filter(|(class, _)| out.contains(&format!("class=\"{class}\"")));
    let items: String = drawn.map(|(class, words)| format!("<li class=\"k-{class}\">{words}</li>")).collect();
    let _ = writeln!(out, "<ul class=\"key\">{items}</ul>");
}

/// Times along the top, at steps that people count in.
fn axis(out: &mut String, paper: &Paper, rows: usize) {
    const STEPS: [f64; 16] =
        [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 86_400.0, 604_800.0];
    let step = STEPS.into_iter().find(|step| paper.seconds / step <= 10.0).unwrap_or(paper.seconds / 5.0);
    let bottom = Paper::row(rows);
    for n in 0..=10 {
        let s = step * f64::from(n);
        if s > paper.seconds {
            break;
        }
        let x = paper.x(s);
        let _ = writeln!(
            out,
            "<g class=\"axis\"><line x1=\"{x:.1}\" y1=\"{TOP:.0}\" x2=\"{x:.1}\" y2=\"{bottom:.0}\"/>\
             <text x=\"{x:.1}\" y=\"{:.0}\">{}</text></g>",
            TOP - 10.0,
            duration(s)
        );
    }
}

pub(super) fn label(out: &mut String, row: usize, name: &str) {
    let short: String = match name.chars().count() > NAME_CHARS {
        true => name.chars().take(NAME_CHARS - 1).chain(['…']).collect(),
        false => name.to_owned(),
    };
    let y = Paper::row(row) + FILL - 6.0;
    let _ = writeln!(
        out,
        "<g class=\"name\"><title>{}</title><text x=\"4\" y=\"{y:.0}\">{}</text></g>",
        text::markup(name),
        text::markup(&short)
    );
}

/// What is under a line, from its first point to its last.
fn area(out: &mut String, paper: &Paper, row: usize, line: &[(f64, f64)], class: &str) {
    let (Some(first), Some(last)) = (line.first(), line.last()) else { return };
    let bottom = Paper::row(row) + FILL;
    let _ = write!(out, "<path class=\"{class}\" d=\"M{:.1} {bottom:.1}", paper.x(first.0));
    for (s, part) in line {
        let _ = write!(out, "L{:.1} {:.1}", paper.x(*s), bottom - FILL * part.clamp(0.0, 1.0));
    }
    let _ = writeln!(out, "L{:.1} {bottom:.1}Z\"/>", paper.x(last.0));
}

fn node_row(out: &mut String, paper: &Paper, row: usize, report: &Report, node: &Node) {
    let top = Paper::row(row);
    let (width, left) = (WIDTH - NAMES - RIGHT, NAMES);
    let _ = writeln!(out, "<rect class=\"row\" x=\"{left}\" y=\"{top:.0}\" width=\"{width}\" height=\"{FILL}\"/>");
    area(out, paper, row, &node.line, "have");
    for (from, to) in &node.stalls {
        let (x, words) = (paper.x(*from), format!("nothing came for {}", duration(to - from)));
        let width = (paper.x(*to) - x).max(1.0);
        let _ = writeln!(
            out,
            "<rect class=\"still\" x=\"{x:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{FILL}\"><title>{words}</title></rect>"
        );
    }
    let middle = top + FILL / 2.0;
    let mut mark = |s: Option<f64>, class: &str, words: &str| {
        if let Some(s) = s {
            let (x, words) = (paper.x(s), format!("{words} after {}", duration(s)));
            let _ = writeln!(
                out,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"5\"><title>{words}</title></circle>"
            );
        }
    };
    match node.attested {
        Some((s, true)) => mark(Some(s), "agrees", "attested"),
        Some((s, false)) => mark(Some(s), "dissents", "found another state"),
        None => {}
    }
    mark(node.finish_s, "done", "had everything");
    mark(node.ready_s, "ready", "ready");
    if let Some(s) = predicted(report, node) {
        let (x, bottom) = (paper.x(report.transfer.begins_s + s), top + FILL);
        let _ = writeln!(
            out,
            "<g class=\"predicted\"><title>predicted to have everything after {}</title>\
             <line x1=\"{x:.1}\" y1=\"{top:.0}\" x2=\"{x:.1}\" y2=\"{bottom:.0}\"/></g>",
            duration(s)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::report, *};

    #[test]
    fn every_node_has_a_row_with_what_became_of_it_and_nothing_is_off_the_paper() {
        let mut report = report();
        let svg = picture(&report);
        for (class, count) in
            [("row", 4), ("have", 4), ("first", 1), ("still", 1), ("done", 2), ("predicted", 1), ("ready", 1)]
        {
            assert_eq!(svg.matches(&format!("class=\"{class}\"")).count(), count, "{class}");
        }
        // What is not in the picture is not explained.
        assert!(svg.contains("k-still") && !picture(&Report { nodes: vec![], ..report.clone() }).contains("k-still"));
        // Numbers that no run has, and a run of no length, draw something within the paper.
        report.nodes[1].line = vec![(-5.0, -1.0), (1e18, 7.0)];
        (report.seconds, report.transfer.bound_s) = (0.0, None);
        report.prediction = None;
        let svg = picture(&report);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for d in svg.split(" d=\"M").skip(1) {
            let numbers = d.split('"').next().unwrap().split(|c: char| !c.is_ascii_digit() && c != '.');
            assert!(numbers.filter_map(|n| n.parse::<f64>().ok()).all(|n| (0.0..=WIDTH).contains(&n)), "{d}");
        }
        report.nodes = vec![report.nodes[1].clone(); 200];
        assert!(picture(&report).contains("and 72 nodes more"));
    }
}
