//! The demo as a story: what it tells while it goes on, and at its end.

use std::{collections::BTreeSet, fmt, sync::Mutex};

use kwil_formats::formats::{Family, config::PeerAddress};

use crate::{
    app::demo::{
        Demonstration, Migration,
        told::{Checked, Confirmed, Line, Rehearsal, Snapshot, Told},
    },
    base::{Progress, text},
    setup::key_file_name,
};

/// Columns of a terminal that everything fits.
const COLUMNS: usize = 78;
/// What stands before a line that belongs to a step.
const INDENT: &str = "   ";
/// Columns of a node's name.
const NAME_COLUMNS: usize = "validator 0 (lead)".len();
/// Characters of a key that tell it from others.
const KEY_CHARS: usize = 8;

/// Tells a demo's story: numbered steps, each with the command that does it and what came of it.
#[derive(Debug)]
pub(crate) struct Teller {
    progress: Progress,
    place: Mutex<Place>,
}

/// Where in the story we are.
#[derive(Debug)]
struct Place {
    family: Family,
    step: usize,
    /// What was told of roots that are not as they should be.
    told: BTreeSet<String>,
}

impl Teller {
    pub(crate) fn new(progress: Progress) -> Self {
        Teller { progress, place: Mutex::new(Place { family: Family::V010, step: 0, told: BTreeSet::new() }) }
    }

    fn family(&self) -> Family {
        self.place.lock().expect("no panic while held").family
    }

    /// Begins a step: what happens, and the command that does it.
    fn step(&self, words: &str, command: &str) {
        let (number, family) = {
            let mut place = self.place.lock().expect("no panic while held");
            place.step += 1;
            (place.step, place.family)
        };
        let head = format!("{number}. ");
        self.progress.step(format!("\n{}", wrap(words, &head, INDENT)));
        if !command.is_empty() {
            self.progress.note(
                command.replace("{key}", key_file_name(family)).replace("{snapshot}", family.snapshot_file_name()),
            );
        }
    }

    /// A line that belongs to the step.
    fn say(&self, words: &str) {
        self.progress.note(wrap(words, INDENT, INDENT));
    }

    /// A line about one node or thing, whose further rows stand below its words.
    fn item(&self, name: &str, words: &str) {
        let head = format!("{INDENT}{name}  ");
        let indent = " ".repeat(head.chars().count());
        self.progress.note(wrap(words, &head, &indent));
    }

    pub(crate) fn tell(&self, told: Told) {
        match told {
            Told::OldNetwork { family, chain_id, server_version } => {
                let place = Place { family, step: 0, told: BTreeSet::new() };
                let before = std::mem::replace(&mut *self.place.lock().expect("no panic while held"), place);
                let gap = if before.step > 0 { "\n" } else { "" };
                let chain_id = text::escape(&chain_id);
                self.progress.step(format!("{gap}{family}: the network {chain_id} moves to a new genesis"));
                self.step("The old network has stopped. What four real kwild left is in a database of a throw-away server here.", "");
                self.say(&format!("PostgreSQL {}", text::escape(&server_version)));
            }
            Told::TakingSnapshot => self.step(
                "The lead takes a snapshot of it.",
                "     lead$ regenesis snapshot create --from-root ~/.kwild \\\n               --snapdir ./network_snapshot",
            ),
            Told::Snapshot(snapshot) => self.snapshot(&snapshot),
            Told::Rehearsing => self.step(
                "The lead rehearses: psql loads it as kwild will, into a database that is thrown away.",
                "     lead$ regenesis setup restore --dry-run --from-root ~/.kwild \\\n               \
                 -s ./network_snapshot/{snapshot} \\\n               -g ./network_snapshot/genesis.json",
            ),
            Told::Rehearsed(rehearsal) => self.rehearsed(&rehearsal),
            Told::Publishing => self.step(
                "The lead signs and serves. The ticket goes to every validator over a channel that they trust.",
                "     lead$ regenesis publish --dir ./network_snapshot --key lead.key \\\n               > ticket.txt",
            ),
            Told::Ticket(ticket) => self.ticket(&ticket),
            Told::Signing => self.step(
                "The lead signs. Nobody will fetch from it: the validators are in a room without a network.",
                "     lead$ regenesis manifest sign --snapdir ./network_snapshot \\\n               --key lead.key",
            ),
            Told::Exporting => self.step(
                "The lead writes two media. Everything on them is proved by what it signed.",
                "     lead$ regenesis bundle export --dir ./network_snapshot \\\n               --to /media/a /media/b",
            ),
            Told::Exported(exported) => {
                for volume in &exported.volumes {
                    self.item(&volume.label, &text::bytes(volume.bytes));
                }
            }
            Told::MediumLost => self.step("On the way the second medium is destroyed.", ""),
            Told::Importing { first } => self.step(
                if first { "The island takes in what came." } else { "The island takes that in, beside what it has." },
                "     island$ regenesis bundle import /media/a /media/b --dir ./island \\\n                 --ticket-file ticket.txt",
            ),
            Told::Imported(imported) => {
                let (have, all) = (imported.have_chunks, text::count(imported.chunks.into(), "chunk"));
                match imported.complete {
                    true => self.say(&format!("All {all} are there, and the snapshot is what was signed.")),
                    false => self.say(&format!("{have} of {all} are there; still needed: {}", imported.needed.join(", "))),
                }
            }
            Told::AskingWhatIsMissing => self.step(
                "What is missing is read out over the phone, and typed on the other side.",
                "     island$ regenesis bundle missing --dir ./island",
            ),
            Told::Missing(missing) => {
                missing.lines.iter().for_each(|line| self.progress.note(format!("{INDENT}  {line}")));
            }
            Told::ExportingMissing => self.step(
                "The lead writes a medium with that only.",
                "     lead$ regenesis bundle export --dir ./network_snapshot \\\n               --missing-from typed.txt --to /media/c",
            ),
            Told::Island => self.step(
                "One of the island serves, and its validators join: each compares what came with its own old database.",
                "     island$ regenesis seed --dir ./island --lan\n     island$ regenesis join --ticket-file island.txt \\\n                 \
                 --root-dir ~/.kwild-new --key-file ~/.kwild/{key} \\\n                 --from-root ~/.kwild --create-db",
            ),
            Told::CarryingBack => self.step(
                "What the island's validators have signed goes back in one small file.",
                "     island$ regenesis bundle statements --dir ~/.kwild-new \\\n                 -o island.statements\n     \
                 lead$ regenesis bundle statements island.statements \\\n               --dir ./network_snapshot",
            ),
            Told::Carried(carried) => self.say(&format!(
                "{} are known there now: {}; {} ready.",
                text::count(carried.statements, "statement"),
                carried.attested,
                text::count(carried.ready, "validator")
            )),
            Told::Rejoining => self.step(
                "So the lead's own validator has what it needs to join.",
                "     lead$ regenesis join --ticket-file ticket.txt --root-dir ~/.kwild-new \\\n               \
                 --key-file ~/.kwild/{key} --from-root ~/.kwild --create-db",
            ),
            Told::Asking { who } => self.step(
                &format!("Before it fetches anything, {who} asks what would be wrong."),
                "     validator$ regenesis join --check --ticket-file ticket.txt \\\n                    \
                 --root-dir ~/.kwild-new --key-file ~/.kwild/{key} \\\n                    --create-db",
            ),
            Told::Preflight(checked) => self.checked("", &checked),
            Told::Joining { nodes, wait } => self.joining(nodes, wait),
            Told::Joined { state_hash, bytes, attestations } => {
                self.say(&format!("What the lead signed, and each one's own old database: {attestations}."));
                self.say(&format!("{} to each; everyone has the state hash", text::bytes(bytes)));
                self.say(&state_hash.to_string());
                self.say("The roots are equal but for key, ports, database, and whom each one dials.");
            }
            Told::Peers(all) => self.peers(&all),
            Told::Checking => self.step(
                "Each looks whether kwild can start.",
                "     validator$ regenesis setup check --root-dir ~/.kwild-new",
            ),
            Told::Check { who, checked } => self.checked(&who, &checked),
            Told::Starting { program, one_by_one } => self.starting(&program, one_by_one),
            Told::Heights(heights) => self.heights(&heights),
            Told::Confirming => self.step(
                "Each asks whether its node holds what was signed.",
                "     validator$ regenesis setup confirm --root-dir ~/.kwild-new",
            ),
            Told::Confirmed { who, confirmed } => self.confirmed(&who, &confirmed),
            Told::Comparing { who } => self.step(
                &format!("What reached {who} is compared with what the old network had."),
                "     validator$ regenesis snapshot digest \\\n                    ~/.kwild-new/genesis-state.sql.gz --compare old.json",
            ),
            Told::Equal { state_digest } => {
                self.say("The two states are equal; the digest of both is");
                self.say(&state_digest);
                self.say("Once kwild has started, `regenesis setup confirm` compares its database in the same way; with a kwild at hand (--kwild, --kwild09) the demo shows that, too.");
            }
        }
    }

    fn snapshot(&self, snapshot: &Snapshot) {
        self.say(&format!(
            "{} in {} at height {}, {} compressed; {} go with it, into the network {}.",
            text::count(snapshot.rows, "row"),
            text::count(snapshot.tables, "table"),
            snapshot.height,
            text::bytes(snapshot.file_bytes),
            text::count(snapshot.validators, "validator"),
            text::escape(&snapshot.chain_id)
        ));
    }

    fn rehearsed(&self, rehearsal: &Rehearsal) {
        self.say(&format!(
            "All {} of {} were restored, on PostgreSQL {}.",
            text::count(rehearsal.restored_rows, "row"),
            text::count(rehearsal.tables, "table"),
            text::escape(&rehearsal.server_version)
        ));
    }

    /// The ticket in rows that fit: it is read as well with line breaks in it.
    fn ticket(&self, ticket: &str) {
        let letters: Vec<char> = ticket.chars().collect();
        for row in letters.chunks(COLUMNS - INDENT.len() - 2) {
            self.progress.note(format!("{INDENT}  {}", row.iter().collect::<String>()));
        }
    }

    /// What was found; what is good is only counted.
    fn checked(&self, who: &str, checked: &Checked) {
        let good = checked.checks.iter().filter(|line| line.level == "ok").count();
        let bad = |level: &str| checked.checks.iter().filter(|line| line.level == level).count();
        let verdict = match (checked.ok, bad("warning")) {
            (true, 0) => "kwild can start".to_owned(),
            (true, warnings) => format!("kwild can start, {}", text::count(warnings as u64, "warning")),
            (false, _) => format!("kwild would not start: {}", text::count(bad("error") as u64, "error")),
        };
        let verdict = format!("{verdict} ({good} of {} checks are good)", checked.checks.len());
        match who {
            "" => {
                self.say(&format!("{verdict}."));
                worth_a_look(checked).for_each(|line| self.item(&format!("{:<7}", line.level), &line.text));
            }
            who => {
                self.item(&format!("{who:<NAME_COLUMNS$}"), &verdict);
                // What is wrong with the server is wrong for everyone, and told once.
                for line in worth_a_look(checked) {
                    if self.place.lock().expect("no panic while held").told.insert(line.text.clone()) {
                        self.item(&format!("{:<7}", line.level), &line.text);
                    }
                }
            }
        }
    }

    fn joining(&self, nodes: usize, wait: bool) {
        let words = format!(
            "All {nodes} join at once: they fetch from the lead and from each other, compare what came with their old \
             databases, and make database and root{}.",
            if wait { ", and wait for each other" } else { "" }
        );
        self.step(
            &words,
            "     validator$ regenesis join --ticket-file ticket.txt \\\n                    \
             --root-dir ~/.kwild-new --key-file ~/.kwild/{key} \\\n                    --from-root ~/.kwild --create-db --wait everyone",
        );
    }

    fn peers(&self, all: &[(String, Vec<PeerAddress>)]) {
        self.step("Each root's config.toml names the other nodes, though nobody was told an address.", "");
        for (who, dials) in all {
            let dials: Vec<String> = dials.iter().map(short).collect();
            let words = if dials.is_empty() { "nobody yet".to_owned() } else { dials.join(", ") };
            self.item(&format!("{who:<NAME_COLUMNS$}"), &words);
        }
    }

    fn starting(&self, program: &str, one_by_one: bool) {
        self.step(
            "A real kwild starts on each root, and makes blocks with the others.",
            match self.family() {
                Family::V09 => "     validator$ kwild --root-dir ~/.kwild-new",
                Family::V010 => "     validator$ kwild start -r ~/.kwild-new",
            },
        );
        self.say(&format!("kwild is {}", text::escape(program)));
        if one_by_one {
            self.say("On one server each restores its snapshot alone first: v0.9 nodes that do so at once wait for each other for ever.");
        }
    }

    fn heights(&self, heights: &[Option<i64>]) {
        let heights = heights.iter().map(|height| height.map_or_else(|| "-".to_owned(), |height| height.to_string()));
        let shown: Vec<String> = heights.map(|height| format!("{height:>4}")).collect();
        self.item("heights", &shown.join(" "));
    }

    fn confirmed(&self, who: &str, confirmed: &Confirmed) {
        let tables = confirmed.tables.iter().filter(|part| part.rows.is_some());
        let rows = tables.clone().filter_map(|part| part.rows).sum();
        self.item(
            &format!("{who:<NAME_COLUMNS$}"),
            &format!(
                "holds what was signed: {}, {}; height {}",
                text::count(tables.count() as u64, "table"),
                text::count(rows, "row"),
                confirmed.height
            ),
        );
    }
}

/// What is not good in a check.
fn worth_a_look(checked: &Checked) -> impl Iterator<Item = &Line> {
    checked.checks.iter().filter(|line| line.level == "error" || line.level == "warning")
}

/// A peer in a config.toml, its key by its first digits.
fn short(peer: &PeerAddress) -> String {
    let key: String = peer.id().chars().take(KEY_CHARS).collect();
    format!("{key}…@{}", peer.place())
}

/// Words in rows that fit a terminal; a word that is longer than a row has one of its own.
fn wrap(words: &str, first: &str, further: &str) -> String {
    let (mut rows, mut row, mut empty) = (Vec::new(), first.to_owned(), true);
    for word in words.split(' ') {
        if !empty && row.chars().count() + 1 + word.chars().count() > COLUMNS {
            rows.push(std::mem::replace(&mut row, further.to_owned()));
            empty = true;
        }
        if !empty {
            row.push(' ');
        }
        row.push_str(word);
        empty = false;
    }
    rows.push(row);
    rows.join("\n")
}

impl fmt::Display for Demonstration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for migration in &self.families {
            writeln!(f, "{migration}")?;
        }
        match &self.kept {
            Some(directory) => {
                writeln!(f, "Nothing is left running; the throw-away server and its databases are gone.")?;
                writeln!(f, "kept: {}", directory.display())?;
                for migration in &self.families {
                    let family = migration.family;
                    writeln!(f, "  the lead's snapshot, genesis and manifest of {family}:")?;
                    writeln!(f, "    {}", migration.snapdir.display())?;
                    writeln!(f, "  the roots of {family}:")?;
                    for node in &migration.nodes {
                        writeln!(f, "    {}", node.root.display())?;
                    }
                }
            }
            None => writeln!(f, "Nothing is left running, and the files are removed (--keep DIR keeps them).")?,
        }
        writeln!(f, "next, for real:")?;
        writeln!(f, "  regenesis guide lead         # what the lead does, step by step")?;
        writeln!(f, "  regenesis guide validator    # what every validator does")
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, old, new) = (self.family, text::escape(&self.old_chain_id), text::escape(&self.chain_id));
        writeln!(f, "{family}: {old} -> {new}, {} to each in {:.1} s", text::bytes(self.bytes), self.seconds)?;
        let who = self.nodes.iter().map(|one| one.who.len()).max().unwrap_or(0).max(3);
        writeln!(
            f,
            "  {:who$}  {:>7}  {:>6}  {:>7}  {:16}  {:>6}",
            "who", "seconds", "MB/s", "sources", "state hash", "height"
        )?;
        for one in &self.nodes {
            let hash = &one.state_hash.to_string()[..16];
            let height = one.height.map_or_else(|| "-".to_owned(), |height| height.to_string());
            let (name, seconds, rate, sources) = (&one.who, one.seconds, one.megabytes_per_second, one.sources);
            writeln!(f, "  {name:who$}  {seconds:>7.1}  {rate:>6.1}  {sources:>7}  {hash:16}  {height:>6}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fit_and_lose_no_word() {
        let words = "one two three ".repeat(30);
        let wrapped = wrap(words.trim(), "1. ", INDENT);
        assert!(wrapped.lines().all(|row| row.chars().count() <= COLUMNS), "{wrapped}");
        assert!(wrapped.starts_with("1. one two") && wrapped.lines().skip(1).all(|row| row.starts_with("   ")));
        assert_eq!(wrapped[3..].split_whitespace().collect::<Vec<_>>(), words.split_whitespace().collect::<Vec<_>>());
        let long = "x".repeat(200);
        assert_eq!(wrap(&format!("a {long} b"), "", ""), format!("a\n{long}\nb"));
    }
}
