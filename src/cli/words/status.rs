//! How a migration stands, as lines that fit a terminal of 60 columns and up.

use super::drill::duration;
use crate::{
    app::status::{Attestations, By, Chunks, Member, OnMedia, Own, Readiness, Role, Signatures, Status},
    base::text::{self, count},
};

/// Columns of a line's name.
const LABEL: usize = 13;
/// Columns of a bar.
const BAR: usize = 20;
/// Columns that are made use of: longer lines are hard to read.
const COLUMNS_MAX: usize = 110;
/// Stands for a blank at which no line is broken.
const TIED: char = '\u{a0}';
/// Members, and validators of one kind, that have a line of their own.
const LISTED_MAX: usize = 24;
/// Lines of the log that are shown.
const LOG_SHOWN: usize = 4;

/// The lines of a status. The first one tells the time and nothing else that changes.
pub(crate) fn lines(status: &Status, next: &str, columns: usize) -> Vec<String> {
    let mut page = Page { columns: columns.clamp(40, COLUMNS_MAX), lines: Vec::new() };
    page.head(status);
    page.own(status);
    page.end(status);
    if let Some(chunks) = &status.chunks {
        page.chunks(status, chunks);
    }
    page.on_media(&status.on_media);
    if status.running {
        page.members(status);
    }
    if let Some(signatures) = status.signatures.as_ref().filter(|signatures| signatures.signers.len() > 1) {
        page.signatures(signatures);
    }
    if let Some(attestations) = &status.attestations {
        page.attestations(attestations);
    }
    if let Some(readiness) = &status.readiness {
        page.readiness(status, readiness);
    }
    let skipped = status.log.len().saturating_sub(LOG_SHOWN);
    for (n, line) in status.log.iter().skip(skipped).enumerate() {
        // The day is known.
        let line = line.get(11..).filter(|_| line.as_bytes().get(10) == Some(&b'T')).unwrap_or(line);
        page.cut_row(if n == 0 { "told" } else { "" }, line);
    }
    page.row("next", next);
    // Names were made harmless where they came in; whatever comes by another way is so here.
    page.lines.iter().map(|line| text::escape(line).replace(TIED, " ").chars().take(columns).collect()).collect()
}

/// So many lines as there are rows, the last of which is kept: it says what to do.
pub(crate) fn cut(mut lines: Vec<String>, rows: usize) -> Vec<String> {
    if lines.len() > rows && rows > 2 {
        let last = lines.split_off(lines.len() - 1);
        let hidden = lines.len() + 2 - rows;
        lines.truncate(rows - 2);
        lines.push(format!("… {} more", count(hidden as u64, "line")));
        lines.extend(last);
    }
    lines
}

struct Page {
    columns: usize,
    lines: Vec<String>,
}

impl Page {
    /// A line with its name, broken between words where it does not fit.
    fn row(&mut self, label: &str, text: &str) {
        let mut line = format!("{label:LABEL$}");
        let mut empty = true;
        for word in text.split(' ') {
            let long = line.chars().count() + usize::from(!empty) + word.chars().count();
            if !empty && long > self.columns {
                self.lines.push(std::mem::replace(&mut line, " ".repeat(LABEL)));
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.lines.push(line.trim_end().chars().take(self.columns).collect());
    }

    /// A line that is cut where it does not fit.
    fn cut_row(&mut self, label: &str, text: &str) {
        let line = format!("{label:LABEL$}{text}");
        let cut = line.chars().count() > self.columns;
        let kept: String = line.chars().take(self.columns - usize::from(cut)).collect();
        self.lines.push(format!("{}{}", kept.trim_end(), if cut { "…" } else { "" }));
    }

    fn head(&mut self, status: &Status) {
        self.row("as of", &text::time(status.unix_seconds));
        if let Some(network) = &status.network {
            let from = network.old_chain_id.as_ref().map_or_else(String::new, |old| format!("{old} -> "));
            self.row("network", &format!("{from}{} ({}), height {}", network.chain_id, network.family, network.height));
            let id: String = network.manifest_id.chars().take(16).collect();
            self.row("manifest", &format!("{} ({id}…), {}", network.sequence, size(network.bytes)));
        }
    }

    fn own(&mut self, status: &Status) {
        let own = &status.node;
        let what = match own.role {
            Some(Role::Publish) => "publish",
            Some(Role::Seed) => "seed",
            Some(Role::Fetch) => "fetch",
            Some(Role::Relay) => "relay",
            Some(Role::Join) => "join",
            Some(Role::Watch) => "an observer",
            None => "nobody",
        };
        let place = own
            .directory
            .as_ref()
            .map_or_else(String::new, |path| format!(" in {}", text::escape(&path.display().to_string())));
        match status.running {
            true => self.row("this node", &format!("{what}{place}: {}", doing(own))),
            false => self.row("directory", &format!("{}: {}", place.trim_start_matches(" in "), own.doing)),
        }
        if own.role == Some(Role::Watch) || own.total_bytes == 0 {
            return;
        }
        let (have, total) = (size(own.have_bytes), size(own.total_bytes));
        let (percent, bar) = (percent(own.have_bytes, own.total_bytes), bar(own.have_bytes, own.total_bytes));
        self.row("", &format!("{bar} {percent}, {have} of {total}"));
        let mut parts = Vec::new();
        if status.running {
            parts.push(format!("in {}, out {}", rate(own.in_rate), rate(own.out_rate)));
            parts.push(format!("received {}, sent {}", size(own.received_bytes), size(own.sent_bytes)));
        }
        for work in &own.work {
            let done = work.total.map_or_else(|| size(work.done), |total| self::percent(work.done, total));
            parts.push(format!("{}: {done}", work_name(&work.name)));
        }
        if !parts.is_empty() {
            self.row("", &parts.join("; "));
        }
        if let Some(seconds) = own.stalled_seconds {
            self.row("", &format!("STALLED: no byte has come for {}", time(seconds)));
        }
        let looks = own.have_bytes < own.total_bytes;
        for tried in own.tried.iter().filter(|_| looks).take(4) {
            self.row("", &format!("tried {}: {}", tried.place, tried.why));
        }
    }

    fn end(&mut self, status: &Status) {
        if !status.running {
            return;
        }
        let estimate = &status.estimate;
        let mut parts = Vec::new();
        parts.extend(estimate.own_seconds.map(|seconds| format!("this node in {}", time(seconds))));
        parts.extend(estimate.everyone_seconds.map(|seconds| format!("everyone here in {}", time(seconds))));
        if !parts.is_empty() {
            parts.extend(
                estimate.bound_seconds.map(|seconds| format!("the lines allow no less than {}", time(seconds))),
            );
            self.row("done in", &parts.join("; "));
        }
        if estimate.limit.by != By::Nothing || status.network.is_some() {
            self.row("waits for", &estimate.limit.words);
        }
    }

    fn chunks(&mut self, status: &Status, chunks: &Chunks) {
        if !status.running {
            return;
        }
        let (out, all) = (u64::from(chunks.first_copies()), u64::from(chunks.count));
        let words = match chunks.single {
            0 => format!("{} {}", bar(out, all), percent(out, all)),
            n => format!("{} {}, {n} of {all} chunks with one node", bar(out, all), percent(out, all)),
        };
        self.row("first copies", &words);
        let leads = matches!(status.node.role, Some(Role::Publish | Role::Seed));
        let words = match chunks.out {
            true if leads => "may leave: every chunk is with two others".to_owned(),
            true => "every chunk is with two others".to_owned(),
            false if status.readiness.as_ref().is_some_and(|all| all.quorum) => return,
            false if leads => format!("must stay: {} with fewer than two others", are(chunks.thin, "chunk")),
            false => return,
        };
        let label = match status.node.role {
            Some(Role::Publish) => "the lead",
            Some(Role::Seed) => "this seed",
            _ => "copies",
        };
        self.row(label, &words);
    }

    fn on_media(&mut self, media: &OnMedia) {
        const LABELS_SHOWN: usize = 6;
        let labels = |labels: &[String]| text::first_few(labels, LABELS_SHOWN);
        if media.coming_chunks > 0 {
            let (chunks, bytes) = (count(media.coming_chunks.into(), "chunk"), size(media.coming_bytes));
            self.row("on its way", &format!("{chunks} that are lacking, {bytes}, on media: {}", labels(&media.coming)));
        }
        if let Some(asked) = media.asked_unix_seconds {
            let (chunks, bytes) = (count(media.asked_chunks.into(), "chunk"), size(media.asked_bytes));
            let when = text::time(asked);
            self.row("asked for", &format!("{chunks} that are lacking, {bytes}, with the list of {when}"));
        }
        if let Some(written) = media.written_unix_seconds {
            let (volumes, bytes) = (count(media.written_volumes.into(), "volume"), size(media.written_bytes));
            let newest: Vec<String> = media.written.iter().rev().cloned().collect();
            let (when, labels) = (text::time(written), labels(&newest));
            self.row("on media", &format!("{volumes} from here with {bytes}, the last of {when}: {labels}"));
        }
    }

    fn members(&mut self, status: &Status) {
        self.row("members", &format!("{} here", status.members.len()));
        let mut members: Vec<&Member> = status.members.iter().collect();
        members.sort_by(|a, b| (a.chunks, &a.name).cmp(&(b.chunks, &b.name)));
        let all = status.chunks.as_ref().map_or(0, |chunks| chunks.count);
        if !members.is_empty() {
            let mut line = format!("  {:18} {:>4} {:>10} {:>10} {:>10}", "who", "has", "gains", "to it", "from it");
            if self.columns >= 100 {
                line.push_str(&format!("  {:21} {}", "where", "power"));
            }
            self.lines.push(line);
        }
        for member in members.iter().take(LISTED_MAX) {
            let name = name_among(&members, member);
            let has = percent(member.chunks.into(), all.into());
            let gains = match (member.ready, member.chunks == all && all > 0) {
                (true, _) => "ready".to_owned(),
                (false, true) => "all".to_owned(),
                (false, false) => rate(member.rate),
            };
            let (to, from) = (rate(member.out_rate), rate(member.in_rate));
            let mut line = format!("  {name:18} {has:>4} {gains:>10} {to:>10} {from:>10}");
            if self.columns >= 100 {
                let place: String = member.place.chars().take(21).collect();
                let power = member.power.map_or_else(|| "-".to_owned(), |power| power.to_string());
                line.push_str(&format!("  {place:21} {power}"));
            }
            self.lines.push(line);
        }
        let hidden = members.len().saturating_sub(LISTED_MAX);
        if hidden > 0 {
            self.lines.push(format!("  … and {hidden} more that have at least as much"));
        }
        if !status.kept_out.is_empty() {
            self.row("KEPT OUT", &text::first_few(&status.kept_out, 8));
        }
    }

    fn signatures(&mut self, all: &Signatures) {
        let enough = if all.enough { "enough" } else { "not enough yet: a PROPOSAL" };
        self.row("signed", &format!("{}: {enough}", all.words));
        for signer in all.signers.iter().filter(|signer| signer.said == "refuses").take(LISTED_MAX) {
            let reason = signer.reason.as_deref().unwrap_or("it does not say why");
            self.row("  REFUSES", &format!("{}: {reason}", signer.name));
        }
    }

    fn attestations(&mut self, all: &Attestations) {
        if all.validators == 0 {
            return self.row("attested", "the lead's word alone: the manifest names no validators of the old network");
        }
        let enough = match all.verdict.as_str() {
            "met" => "enough",
            "lost" => "it cannot be enough any more",
            _ => "not enough yet",
        };
        let (agree, validators) = (all.agree, count(all.validators as u64, "old validator"));
        let against = if all.dissent > 0 { format!(", {} DISSENT", all.dissent) } else { String::new() };
        let power = format!("power {} of {}", all.power, all.power_of_all);
        self.row("attested", &format!("{agree} of {validators} agree, {power}{against}: {enough}"));
        for voice in all.voices.iter().filter(|voice| voice.vote == "dissents").take(LISTED_MAX) {
            let parts =
                if voice.differs.is_empty() { "it does not say where".to_owned() } else { voice.differs.join(", ") };
            self.row("  DISSENTS", &format!("validator {} (power {}): {parts}", voice.name, voice.power));
        }
        let silent: Vec<&str> =
            all.voices.iter().filter(|voice| voice.vote == "silent").map(|voice| voice.name.as_str()).collect();
        if !silent.is_empty() && all.verdict != "met" {
            self.row("  silent", &text::first_few(silent, LISTED_MAX));
        }
    }

    fn readiness(&mut self, status: &Status, all: &Readiness) {
        let enough = if all.quorum { "enough to make blocks" } else { "more than 2/3 are needed" };
        let bar = bar(all.power, all.power_of_all);
        self.row("ready", &format!("{bar} {} of {}", all.ready, count(all.validators as u64, "validator")));
        let confirmed = if all.confirmed > 0 { format!("; {} confirmed", all.confirmed) } else { String::new() };
        self.row("", &format!("power {} of {}: {enough}{confirmed}", all.power, all.power_of_all));
        for seat in all.differing().take(LISTED_MAX) {
            let parts = text::first_few(&seat.differs, LISTED_MAX);
            self.row("  ALARM", &format!("the started node of {} does NOT hold what was signed: {parts}", seat.name));
        }
        let missing: Vec<String> = (all.missing())
            .map(|seat| {
                let leads = seat.leader.then(|| "leads".to_owned());
                let words: Vec<String> = leads.into_iter().chain(has(status, &seat.key)).collect();
                match words.is_empty() {
                    true => seat.name.clone(),
                    false => format!("{} ({})", seat.name, words.join(", ").replace(' ', &TIED.to_string())),
                }
            })
            .collect();
        if !missing.is_empty() {
            self.row("  not yet", &text::first_few(missing, LISTED_MAX));
        }
    }
}

/// How much of everything a validator's nodes have that are here; `None` where that is not known: any member that has not shown whose it
/// is may be one of them.
fn has(status: &Status, key: &str) -> Option<String> {
    let all = status.chunks.as_ref().filter(|_| status.running)?.count.max(1);
    let is_its = |validator: &Option<String>| validator.as_deref() == Some(key);
    let own = Some(&status.node).filter(|own| is_its(&own.validator) && own.total_bytes > 0);
    let own = own.map(|own| u128::from(own.have_bytes) * 100 / u128::from(own.total_bytes));
    let theirs = status.members.iter().filter(|member| is_its(&member.validator));
    let theirs = theirs.map(|member| u128::from(member.chunks.min(all)) * 100 / u128::from(all));
    match own.into_iter().chain(theirs).max() {
        None if status.members.iter().any(|member| member.validator.is_none()) => None,
        None => Some("not here".to_owned()),
        Some(100) => Some("has all".to_owned()),
        Some(percent) => Some(format!("{percent}%")),
    }
}

/// What a member is called. A validator may have two nodes here, the lead's and its own join: each is told by the end of its id, too.
fn name_among(members: &[&Member], member: &Member) -> String {
    let twice = members.iter().filter(|other| other.name == member.name).count() > 1;
    let name = match twice {
        true => {
            let skipped = member.peer.chars().count().saturating_sub(8);
            let end: String = member.peer.chars().skip(skipped).collect();
            format!("{} {end}", member.name.trim_start_matches("validator "))
        }
        false => member.name.clone(),
    };
    name.chars().take(18).collect()
}

fn doing(own: &Own) -> String {
    match own.doing.as_str() {
        "" => "starting".to_owned(),
        words => words.to_owned(),
    }
}

fn work_name(name: &str) -> &str {
    match name {
        "verify" => "text checked",
        "check" => "files checked",
        other => other,
    }
}

fn are(n: u32, noun: &str) -> String {
    format!("{} {}", count(n.into(), noun), if n == 1 { "is" } else { "are" })
}

/// A part as a percentage, which is 100 only for all of it.
fn percent(part: u64, all: u64) -> String {
    match all {
        0 => "-".to_owned(),
        all => format!("{}%", u128::from(part.min(all)) * 100 / u128::from(all)),
    }
}

fn bar(part: u64, all: u64) -> String {
    let full = if all == 0 { 0 } else { u128::from(part.min(all)) * BAR as u128 / u128::from(all) };
    let full = usize::try_from(full).unwrap_or(BAR);
    format!("[{}{}]", "=".repeat(full), " ".repeat(BAR - full))
}

/// Bytes a second, in the units of lines.
fn rate(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        1..100_000 => format!("{:.1}{TIED}kB/s", bytes as f64 / 1e3),
        _ => format!("{:.1}{TIED}MB/s", bytes as f64 / 1e6),
    }
}

fn size(bytes: u64) -> String {
    text::bytes(bytes).replace(' ', &TIED.to_string())
}

/// Whole seconds as people say them.
fn time(seconds: u64) -> String {
    let words = match seconds {
        0..60 => format!("{seconds} s"),
        _ => duration(seconds as f64),
    };
    words.replace(' ', &TIED.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::Elector;

    /// A status as a node of a real migration of four told it.
    fn recorded(text: &str) -> Status {
        serde_json::from_str(text).unwrap()
    }

    fn screen(status: &Status, columns: usize) -> String {
        let lines = lines(status, &crate::cli::words::advice(&status.next()), columns);
        for line in &lines {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
        lines.join("\n") + "\n"
    }

    #[test]
    fn a_lead_in_the_middle_of_it_reads_well_at_every_width() {
        let lead = recorded(include_str!("status/lead.json"));
        assert_eq!(screen(&lead, 60), include_str!("status/lead.60.txt"));
        assert_eq!(screen(&lead, 80), include_str!("status/lead.80.txt"));
        assert_eq!(screen(&lead, 200), include_str!("status/lead.200.txt"));
    }

    #[test]
    fn a_dissent_stands_there_with_its_table() {
        let lead = recorded(include_str!("status/dissent.json"));
        assert_eq!(screen(&lead, 80), include_str!("status/dissent.80.txt"));
    }

    #[test]
    fn a_started_node_that_holds_something_else_is_an_alarm() {
        let mut status = recorded(include_str!("status/lead.json"));
        let readiness = status.readiness.as_mut().unwrap();
        readiness.confirmed = 2;
        let seat = &mut readiness.seats[0];
        (seat.stage, seat.differs) = (Some("differs".to_owned()), vec!["main.accounts".to_owned()]);
        let screen = screen(&status, 80);
        let alarm =
            "  ALARM      the started node of 5235f2f8 does NOT hold what was signed:\n             main.accounts\n";
        assert!(screen.contains(alarm), "{screen}");
        assert!(screen.contains("needed; 2 confirmed\n"), "{screen}");
    }

    #[test]
    fn whatever_a_name_holds_it_drives_no_terminal_and_takes_no_more_room() {
        let mut status = recorded(include_str!("status/lead.json"));
        let evil = format!("\u{1b}[2J\u{202e}<script>\r\n{}", "x".repeat(1 << 20));
        status.members = vec![Member { name: evil.clone(), place: evil.clone(), ..Member::default() }; 30];
        status.log = vec![evil.clone(); 4];
        status.kept_out = vec![evil.clone()];
        let attestations = status.attestations.as_mut().unwrap();
        attestations.dissent = 1;
        attestations.voices = vec![Elector {
            name: evil.clone(),
            vote: "dissents".to_owned(),
            differs: vec![evil],
            ..Elector::default()
        }];
        for columns in [40, 60, 80, 200] {
            let lines = lines(&status, "", columns);
            assert!(lines.len() < 100, "{}", lines.len());
            for line in lines {
                assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
                assert!(line.chars().count() <= columns, "{line:?}");
            }
        }
    }

    #[test]
    fn who_is_not_ready_is_told_with_what_it_has_and_two_nodes_of_one_validator_are_told_apart() {
        let mut status = recorded(include_str!("status/lead.json"));
        let seats = status.readiness.as_ref().unwrap().seats.clone();
        let node = |end: &str, key: &str, chunks| Member {
            name: "validator 5235f2f8".to_owned(),
            peer: format!("12D3KooW{end}"),
            validator: Some(key.to_owned()),
            chunks,
            ..Member::default()
        };
        status.members = vec![node("aaaaaaaa", &seats[0].key, 654), node("bbbbbbbb", &seats[0].key, 1)];
        status.node.validator = Some(seats[1].key.clone());
        let screen = screen(&status, 80);
        for words in ["5235f2f8 (50%), 588ad0f6 (has all), 035d3433 (leads, not here)", "5235f2f8 aaaaaaaa   50%"] {
            assert!(screen.contains(words), "{words}: {screen}");
        }
    }

    #[test]
    fn what_to_do_next_stays_on_a_low_screen() {
        let lines: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
        let cut = cut(lines, 10);
        assert_eq!(cut.len(), 10);
        assert_eq!(&cut[7..], ["line 7", "… 41 lines more", "line 49"]);
    }
}
