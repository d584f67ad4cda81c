//! What `drill` tells of a predicted run, and its picture.

use std::fmt::{self, Write as _};

use crate::{
    app::drill::{LimitedBy, Prediction, WhatIf},
    base::text,
};

/// Nodes that are listed at each end of a long list.
const LISTED: usize = 8;

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = text::bytes(self.size_bytes);
        let (finish, bound) = (duration(self.finish_s), duration(self.bound_s));
        writeln!(
            f,
            "{size} to {}: {finish}, {:.2} times the bound of {bound}",
            text::count(self.peers.len() as u64, "node"),
            self.ratio
        )?;
        writeln!(f, "limited by   {}", limit(&self.limited_by))?;
        if u64::from(self.simulated_chunks) < self.chunks {
            let (simulated, all) = (self.simulated_chunks, self.chunks);
            writeln!(f, "simulated    with the first {simulated} of {all} chunks; the times are of all")?;
        }
        let (copies, all, needed) = (self.seed_copies, self.seed_copies_in_all, self.seed_copies_needed);
        if let Some(out) = self.out_s {
            writeln!(
                f,
                "lead         may leave after {}: by then it has sent the files {copies:.2} times",
                duration(out)
            )?;
        }
        writeln!(f, "lead sends   the files {all:.2} times in all; the best swarm needs {needed:.2}")?;
        for what in &self.what_if {
            writeln!(f, "what if      {}", what_if(what, self.bound_s))?;
        }
        writeln!(f, "\n  {:24}  {:>10}  sends the files", "who", "ends after")?;
        for (n, peer) in self.peers.iter().enumerate() {
            let hidden = self.peers.len().saturating_sub(2 * LISTED);
            if hidden > 0 && n == LISTED {
                writeln!(f, "  … and {hidden} more between them")?;
            }
            if hidden > 0 && (LISTED..LISTED + hidden).contains(&n) {
                continue;
            }
            let name = text::escape(&peer.name);
            let finish = peer.finish_s.map_or_else(|| "leaves".to_owned(), duration);
            writeln!(f, "  {name:24}  {finish:>10}  {:.2} times", peer.sent_copies)?;
        }
        Ok(())
    }
}

/// Why it ends no earlier.
pub(super) fn limit(limit: &LimitedBy) -> String {
    match limit {
        LimitedBy::Seeds(names) => {
            format!(
                "the uplink of {}: every byte has to leave it once",
                text::first_few(names.iter().map(|n| text::escape(n)), 3)
            )
        }
        LimitedBy::Downlink(name) => format!("the downlink of {}", text::escape(name)),
        LimitedBy::Uplinks => "all uplinks together: nobody's line is idle".to_owned(),
    }
}

fn what_if(what: &WhatIf, bound_s: f64) -> String {
    match what {
        WhatIf::SecondSeed { bound_s: then } => format!("a second seed on such a line {}", change(*then, bound_s)),
        WhatIf::Uplink { name, up, bound_s: then } if *then >= bound_s * 0.995 => {
            format!("{}'s uplink of {} costs nobody anything", text::escape(name), rate(*up))
        }
        WhatIf::Uplink { name, up, bound_s: then } => {
            format!(
                "{}'s uplink, {} now, were as fast as others': that {}",
                text::escape(name),
                rate(*up),
                change(*then, bound_s)
            )
        }
        WhatIf::Without { name, bound_s: then } => {
            format!("nobody waits for {}: that {}", text::escape(name), change(*then, bound_s))
        }
    }
}

fn change(then: f64, now: f64) -> String {
    let part = then / now;
    let words = match () {
        () if part > 0.995 => return "changes nothing".to_owned(),
        () if (0.47..0.53).contains(&part) => "halves the bound".to_owned(),
        () => format!("shortens the bound by {:.0} %", (1.0 - part) * 100.0),
    };
    format!("{words}, to {}", duration(then))
}

/// Seconds as people say them.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Bits a second as people say them.
pub(super) fn rate(bits: f64) -> String {
    match () {
        () if bits >= 1e9 => format!("{} Gbit/s", bits / 1e9),
        () if bits >= 1e6 => format!("{} Mbit/s", bits / 1e6),
        () => format!("{} kbit/s", bits / 1e3),
    }
}

/// A bar for each node, as long as it takes, and a line where the bound is.
pub(crate) fn svg(prediction: &Prediction) -> String {
    const WIDTH: f64 = 640.0;
    const NAMES: f64 = 160.0;
    const ROW: f64 = 16.0;
    let longest = prediction.finish_s.max(prediction.bound_s).max(f64::MIN_POSITIVE);
    let height = ROW * (prediction.peers.len() as f64 + 2.0);
    let at = |seconds: f64| NAMES + (WIDTH - NAMES - 90.0) * seconds / longest;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n"
    );
    for (n, peer) in prediction.peers.iter().enumerate() {
        let y = ROW * (n as f64 + 1.5);
        let _ = writeln!(out, "<text x=\"4\" y=\"{y:.0}\">{}</text>", text::markup(&peer.name));
        let (end, words) = match peer.finish_s {
            Some(seconds) => (at(seconds), duration(seconds)),
            None => (at(0.0), "leaves".to_owned()),
        };
        let (top, length) = (y - 10.0, end - at(0.0));
        let _ = writeln!(out, "<rect x=\"{NAMES}\" y=\"{top:.0}\" width=\"{length:.1}\" height=\"12\" fill=\"#4a7\"/>");
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{y:.0}\">{words}</text>", end + 4.0);
    }
    let bound = at(prediction.bound_s);
    let _ = writeln!(out, "<line x1=\"{bound:.1}\" y1=\"0\" x2=\"{bound:.1}\" y2=\"{height}\" stroke=\"#c33\"/>");
    let _ = writeln!(
        out,
        "<text x=\"4\" y=\"{:.0}\">the red line: no swarm ends before {}</text>\n</svg>",
        height - 4.0,
        duration(prediction.bound_s)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::drill::Peer;

    fn prediction() -> Prediction {
        let peer = |name: &str, finish_s| Peer { name: name.to_owned(), finish_s, sent_copies: 0.5 };
        Prediction {
            size_bytes: 1 << 30,
            chunks: 2048,
            chunk_size_bytes: 512 << 10,
            simulated_chunks: 1024,
            bound_s: 100.0,
            finish_s: 104.0,
            ratio: 1.04,
            seed_copies: 1.0,
            seed_copies_in_all: 1.01,
            seed_copies_needed: 1.0,
            out_s: Some(99.0),
            limited_by: LimitedBy::Seeds(vec!["lead".to_owned()]),
            what_if: vec![
                WhatIf::SecondSeed { bound_s: 50.0 },
                WhatIf::Uplink { name: "validator 7".to_owned(), up: 25e6, bound_s: 100.0 },
            ],
            peers: vec![peer("a<b", Some(90.0)), peer("gone", None)],
        }
    }

    #[test]
    fn a_prediction_reads_as_sentences() {
        let said = prediction().to_string();
        for words in [
            "1.04 times the bound of 1 min 40 s",
            "the uplink of lead",
            "a second seed on such a line halves the bound, to 50.0 s",
            "validator 7's uplink of 25 Mbit/s costs nobody anything",
            "may leave after 1 min 39 s",
            "with the first 1024 of 2048 chunks; the times are of all",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn names_are_no_markup_in_the_picture() {
        let svg = svg(&prediction());
        assert!(svg.contains("a&lt;b") && svg.contains("leaves") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 2);
    }
}
