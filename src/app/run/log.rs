//! PURE: the run log. It is lines of JSON: a head, then in turn who was met, how it stood at a moment, which chunks came from
//! whom, and what happened. Every number that grows is told whole and not as what was added, so that moments may be left out: a long
//! run has as many as a short one, further apart.
//!
//! A log in memory is bounded whatever is put into it, so that a reader needs no more than who writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    app::status::Role,
    base::{Error, Result, text},
    schedule,
};

/// The form of the log; a reader refuses one that it does not know.
const VERSION: u32 = 2;
/// Moments that are kept; where there are more, every other one is left out.
pub(super) const MOMENTS_MAX: usize = 512;
/// Members that are kept apart, of validators' nodes and of others: of more their number is told.
const VALIDATORS_MAX: usize = 256;
const OTHERS_MAX: usize = 64;
/// How often one member may change its name.
const NAMES_MAX: u32 = 8;
/// Events that are kept in all, and of one kind about one member.
const EVENTS_MAX: usize = 1024;
const EVENTS_OF_ONE_MAX: u32 = 8;
/// Bytes of a log that was put together anew; what grows on it is put together again in time.
pub(super) const SIZE_BYTES_MAX: usize = 2 << 20;
/// The time between two moments is never longer, so that what a file says of it cannot overflow anything.
const STRIDE_MS_MAX: u64 = 1 << 40;
/// The year 9999: no time in a log is later.
const MS_MAX: u64 = 253_402_300_799_000;

/// What a log is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) manifest_id: String,
    pub(super) chain_id: String,
    /// Bytes and number of all chunks.
    pub(super) bytes: u64,
    pub(super) chunks: u32,
    /// The node whose log it is.
    pub(super) peer: String,
    pub(super) role: Option<Role>,
    /// Milliseconds that two moments are apart at least.
    pub(super) stride_ms: u64,
    /// Members and events that found no room.
    pub(super) left_out: u64,
}

/// A member, under the number by which the log speaks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Who {
    pub(super) n: u16,
    pub(super) peer: String,
    pub(super) name: String,
    /// Its validator's key.
    pub(super) validator: Option<String>,
}

/// How it stood at a moment, in UNIX milliseconds. Of members only those of whom something changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    pub(super) ms: u64,
    /// Bytes of chunks that the node has, and that it has sent and received.
    pub(super) have: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Chunks that one node has and no other.
    pub(super) single: u32,
    /// By number: chunks, bytes that went to it, bytes that came from it.
    pub(super) members: BTreeMap<u16, (u32, u64, u64)>,
}

/// Which chunks came from a member: how many of each cell of the picture into which they are cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gave {
    pub(super) n: u16,
    pub(super) cells: Vec<u32>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// When, in UNIX milliseconds.
    pub ms: u64,
    /// What.
    pub what: What,
    /// To whom; empty: to the node whose log it is, or to all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// More of it, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// See [`Happened`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The node began, or began again.
    Began,
    /// The node ended in order.
    Ended,
    /// A member came.
    Joined,
    /// A member went.
    Left,
    /// A member was kept out for wrong bytes, or for breaking the protocol.
    KeptOut,
    /// The node has everything, checked.
    Complete,
    /// Nothing came any more, though something was missing.
    Stalled,
    /// Something came again.
    Moved,
    /// Every chunk was with two others.
    Out,
    /// A validator of the old network holds the same state.
    Agrees,
    /// It holds another one.
    Dissents,
    /// What the manifest demands of old validators was met.
    Attested,
    /// It cannot be met any more.
    Lost,
    /// A validator of the new network is ready.
    Ready,
    /// Its started node holds what was signed.
    Confirmed,
    /// Its started node holds something else.
    Differs,
    /// The new network makes blocks.
    Quorum,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Record {
    Head(Head),
    Who(Who),
    Moment(Moment),
    Gave(Gave),
    Happened(Happened),
}

impl Record {
    pub(super) fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// A whole log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) head: Head,
    pub(super) whos: Vec<Who>,
    pub(super) moments: Vec<Moment>,
    pub(super) happened: Vec<Happened>,
    /// By number: which chunks came from it.
    pub(super) gave: BTreeMap<u16, Vec<u32>>,
    renamed: BTreeMap<u16, u32>,
    counts: BTreeMap<(What, String), u32>,
}

impl Log {
    /// An empty log.
    pub(super) fn new(head: Head) -> Self {
        let stride_ms = head.stride_ms.clamp(1, STRIDE_MS_MAX);
        Log { head: Head { version: VERSION, stride_ms, ..head }, ..Log::default() }
    }

    /// Reads a log. A last line that was cut off, as a crash leaves it, is left out.
    ///
    /// # Errors
    /// What is wrong with which line.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let mut log: Option<Log> = None;
        for (number, line) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
            let wrong = |why: String| Error::verify(format!("line {} of the run log is none: {why}", number + 1));
            let record: Record = serde_json::from_slice(line).map_err(|e| wrong(text::escape(&e.to_string())))?;
            match (&mut log, record) {
                (None, Record::Head(head)) if head.version > VERSION => {
                    return Err(Error::verify("the run log was made by a newer version of this program")
                        .hint("use that version, or a newer one"));
                }
                (None, Record::Head(head)) => log = Some(Log::new(head.harmless())),
                (None, _) => return Err(wrong("it begins without its head".to_owned())),
                (Some(_), Record::Head(_)) => return Err(wrong("there is a second head".to_owned())),
                (Some(log), record) => log.take(record).map_err(wrong)?,
            }
        }
        log.ok_or_else(|| Error::verify("the run log is empty"))
    }

    fn take(&mut self, record: Record) -> std::result::Result<(), String> {
        match record {
            Record::Head(_) => {}
            Record::Who(who) => {
                let known = usize::from(who.n) < self.whos.len();
                if usize::from(who.n) > self.whos.len() || self.whos.len() >= VALIDATORS_MAX + OTHERS_MAX && !known {
                    return Err("its members are not numbered in order".to_owned());
                }
                self.put_who(who);
            }
            Record::Moment(moment) => {
                if moment.members.keys().any(|n| usize::from(*n) >= self.whos.len()) {
                    return Err("it speaks of a member that was not named".to_owned());
                }
                if moment.ms > MS_MAX || self.moments.last().is_some_and(|last| moment.ms < last.ms) {
                    return Err("its time is before that of the line above".to_owned());
                }
                self.add(moment);
            }
            Record::Gave(gave) => {
                if usize::from(gave.n) >= self.whos.len() {
                    return Err("it speaks of a member that was not named".to_owned());
                }
                if gave.cells.len() != schedule::cells(self.head.chunks).count() {
                    return Err("it does not cut the chunks as this log's others".to_owned());
                }
                self.gave.insert(gave.n, gave.cells);
            }
            Record::Happened(happened) if happened.ms > MS_MAX => return Err("its time is none".to_owned()),
            Record::Happened(happened) => _ = self.happen(happened),
        }
        Ok(())
    }

    /// The number of a member, and the line that names it where it is new or is called otherwise than before; `None`: there is no room.
    pub(super) fn meet(&mut self, peer: &str, name: &str, validator: Option<&str>) -> Option<(u16, Option<Record>)> {
        let peer = harmless(peer);
        let at = self.whos.iter().position(|who| who.peer == peer);
        let n = match at {
            Some(at) => at,
            None => {
                let (of_kind, max) = match validator {
                    Some(_) => (self.whos.iter().filter(|who| who.validator.is_some()).count(), VALIDATORS_MAX),
                    None => (self.whos.iter().filter(|who| who.validator.is_none()).count(), OTHERS_MAX),
                };
                if of_kind >= max || self.whos.len() >= VALIDATORS_MAX + OTHERS_MAX {
                    return None;
                }
                self.whos.len()
            }
        };
        let number = u16::try_from(n).ok()?;
        let who = Who { n: number, peer, name: harmless(name), validator: validator.map(harmless) };
        if at.is_some_and(|at| self.whos[at] == who)
            || self.renamed.get(&number).is_some_and(|times| *times >= NAMES_MAX)
        {
            return Some((number, None));
        }
        self.put_who(who.clone());
        Some((number, Some(Record::Who(who))))
    }

    fn put_who(&mut self, who: Who) {
        let (n, who) = (usize::from(who.n), who.harmless());
        *self.renamed.entry(who.n).or_default() += 1;
        match self.whos.get_mut(n) {
            Some(known) => *known = who,
            None => self.whos.push(who),
        }
    }

    /// Adds what happened; false: there is no room for it.
    pub(super) fn happen(&mut self, happened: Happened) -> bool {
        let happened = Happened { who: harmless(&happened.who), text: harmless(&happened.text), ..happened };
        let key = (happened.what, happened.who.clone());
        let known = self.counts.get(&key).copied().unwrap_or(0);
        if self.happened.len() >= EVENTS_MAX || known >= EVENTS_OF_ONE_MAX {
            self.head.left_out = self.head.left_out.saturating_add(1);
            return false;
        }
        self.counts.insert(key, known + 1);
        self.happened.push(happened);
        true
    }

    /// Adds a moment, which is not before the last one.
    pub(super) fn add(&mut self, moment: Moment) {
        self.put(moment);
        while self.moments.len() > MOMENTS_MAX && self.head.stride_ms < STRIDE_MS_MAX {
            self.thin();
        }
        // Times a thousand years apart are nobody's run.
        if self.moments.len() > MOMENTS_MAX {
            self.moments.drain(1..=self.moments.len() - MOMENTS_MAX);
        }
    }

    fn put(&mut self, mut moment: Moment) {
        let span = |ms: u64| ms / self.head.stride_ms;
        // The first one stays: it tells what was there at the beginning.
        if self.moments.len() > 1
            && let Some(last) = self.moments.pop_if(|last| span(last.ms) == span(moment.ms))
        {
            for (n, state) in last.members {
                moment.members.entry(n).or_insert(state);
            }
        }
        self.moments.push(moment);
    }

    /// Leaves moments out, so that about every other one stays.
    fn thin(&mut self) {
        self.head.stride_ms = (self.head.stride_ms * 2).min(STRIDE_MS_MAX);
        for moment in std::mem::take(&mut self.moments) {
            self.put(moment);
        }
    }

    /// The log as a file has it, no larger than a log is put together.
    pub(super) fn text(&mut self) -> String {
        loop {
            let mut out = Record::Head(self.head.clone()).line();
            let whos = self.whos.iter().cloned().map(Record::Who);
            let moments = self.moments.iter().cloned().map(Record::Moment);
            let happened = self.happened.iter().cloned().map(Record::Happened);
            let gave = self.gave.iter().map(|(n, cells)| Record::Gave(Gave { n: *n, cells: cells.clone() }));
            whos.chain(moments).chain(gave).chain(happened).for_each(|record| out.push_str(&record.line()));
            if out.len() <= SIZE_BYTES_MAX || self.moments.len() <= 2 || self.head.stride_ms >= STRIDE_MS_MAX {
                return out;
            }
            self.thin();
        }
    }
}

/// A text that is bounded and drives no terminal, and stays as it is when it is read again.
pub(super) fn harmless(text: &str) -> String {
    // What the first pass has made longer is cut by the second.
    text::escape(&text::escape(text))
}

impl Head {
    fn harmless(self) -> Self {
        let [manifest_id, chain_id, peer] = [self.manifest_id, self.chain_id, self.peer].map(|text| harmless(&text));
        Head { manifest_id, chain_id, peer, ..self }
    }
}

impl Who {
    fn harmless(self) -> Self {
        let validator = self.validator.as_deref().map(harmless);
        Who { peer: harmless(&self.peer), name: harmless(&self.name), validator, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        let head = Head { manifest_id: "m".to_owned(), bytes: 1000, chunks: 10, stride_ms: 1000, ..Head::default() };
        Log::new(head)
    }

    fn moment(ms: u64, have: u64, members: &[(u16, (u32, u64, u64))]) -> Moment {
        Moment { ms, have, members: members.iter().copied().collect(), ..Moment::default() }
    }

    #[test]
    fn a_log_is_read_as_it_was_written_and_a_torn_end_is_left_out() {
        let mut log = log();
        log.meet("p0", "peer 0", None).unwrap();
        log.add(moment(5000, 0, &[(0, (1, 0, 0))]));
        log.add(moment(6000, 100, &[(0, (2, 0, 100))]));
        log.gave.insert(0, vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let joined = Happened { ms: 5000, what: What::Joined, who: "peer 0".to_owned(), text: String::new() };
        assert!(log.happen(joined));
        let text = log.text();
        let read = Log::read(text.as_bytes()).unwrap();
        assert_eq!((&read.head, &read.whos, &read.moments), (&log.head, &log.whos, &log.moments));
        assert_eq!(read.gave, log.gave);
        assert_eq!(read.happened, log.happened);
        // Wherever a crash cuts it, all lines before are there.
        let begin = text.find('\n').unwrap() + 1;
        for end in begin..text.len() {
            let whole = text[..end].matches('\n').count();
            let read = Log::read(&text.as_bytes()[..end]).unwrap();
            assert_eq!(1 + read.whos.len() + read.moments.len() + read.gave.len() + read.happened.len(), whole);
        }
    }

    #[test]
    fn a_long_run_has_as_many_moments_as_a_short_one_and_none_of_what_came_is_lost() {
        let mut log = log();
        for n in 0..2u16 {
            log.meet(&format!("p{n}"), "peer", None).unwrap();
        }
        const SECONDS: u64 = 100_000;
        for second in 0..=SECONDS {
            // The members change in turn.
            log.add(moment(1000 * second, second, &[((second % 2) as u16, (second as u32, second, 0))]));
            assert!(log.moments.len() <= MOMENTS_MAX);
        }
        assert!(log.moments.len() > MOMENTS_MAX / 4, "{}", log.moments.len());
        assert_eq!((log.moments[0].ms, log.moments.last().unwrap().ms), (0, 1000 * SECONDS));
        let mut last = BTreeMap::new();
        for moment in &log.moments {
            last.extend(moment.members.clone());
        }
        assert_eq!((last[&0].1, last[&1].1), (SECONDS, SECONDS - 1));
        // And as a file: written, read, and gone on with.
        let mut again = Log::read(log.text().as_bytes()).unwrap();
        assert_eq!(again.moments, log.moments);
        again.add(moment(1000 * (SECONDS + 1), 7, &[]));
        assert_eq!(again.head.stride_ms, log.head.stride_ms);
    }

    #[test]
    fn however_many_come_and_whatever_they_are_called_the_log_stays_small() {
        let mut log = log();
        let evil = "<script>\u{202e}\u{1b}[2J".repeat(1000);
        let mut met = 0;
        for n in 0..5000 {
            let validator = (n % 2 == 0).then(|| format!("{n}{evil}"));
            met += usize::from(log.meet(&format!("{n}{evil}"), &evil, validator.as_deref()).is_some());
        }
        assert_eq!(met, VALIDATORS_MAX + OTHERS_MAX);
        // Who is called otherwise all the time is written so often and no more.
        let peer = log.whos[0].peer.clone();
        let renames = (0..100).filter(|n| log.meet(&peer, &format!("name {n}"), None).unwrap().1.is_some()).count();
        assert!(renames < NAMES_MAX as usize, "{renames}");
        for n in 0..100_000u64 {
            log.happen(Happened { ms: n, what: What::Joined, who: format!("{}", n % 7), text: evil.clone() });
            log.happen(Happened { ms: n, what: What::Left, who: format!("{n}"), text: String::new() });
        }
        assert!(log.happened.len() <= EVENTS_MAX && log.head.left_out > 100_000);
        for second in 0..2000 {
            let members = (0..320).map(|n| (n, (u32::MAX, u64::MAX - second, u64::MAX)));
            log.add(Moment { ms: 1000 * second, members: members.collect(), ..Moment::default() });
        }
        log.head.chunks = 1 << 20;
        log.gave = (0..320).map(|n| (n, vec![u32::MAX; 128])).collect();
        let text = log.text();
        assert!(text.len() <= SIZE_BYTES_MAX, "{}", text.len());
        assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}'));
        assert!(Log::read(text.as_bytes()).unwrap().moments.len() > 10);
    }

    #[test]
    fn what_is_no_log_is_refused_with_its_line() {
        let head = log().text();
        let said = |text: &str| Log::read(text.as_bytes()).unwrap_err().chain();
        assert!(said("").contains("empty"));
        assert!(said("{\"moment\":{}}\n").contains("line 1"));
        assert!(said(&format!("{head}{head}")).contains("line 2 of the run log is none: there is a second head"));
        assert!(said(&format!("{head}nothing\n")).contains("line 2"));
        assert!(said(&head.replace("\"version\":2", "\"version\":9")).contains("newer"));
        let met = Record::Who(Who { n: 0, peer: "p".to_owned(), name: "n".to_owned(), validator: None }).line();
        let cut = Record::Gave(Gave { n: 0, cells: vec![0; 11] }).line();
        assert!(said(&format!("{head}{met}{cut}")).contains("does not cut"));
        let stranger = Record::Moment(moment(1, 1, &[(3, (1, 1, 1))])).line();
        assert!(said(&format!("{head}{stranger}")).contains("not named"));
        let whose = Record::Gave(Gave { n: 0, cells: vec![0; 10] }).line();
        assert!(said(&format!("{head}{whose}")).contains("not named"));
        let (late, early) = (Record::Moment(moment(9, 1, &[])).line(), Record::Moment(moment(8, 1, &[])).line());
        assert!(said(&format!("{head}{late}{early}")).contains("line 3"));
        // Times at both ends of what there is keep it bounded.
        let far: String = (0..2000).map(|n| Record::Moment(moment(n * (MS_MAX / 2000), 1, &[])).line()).collect();
        assert!(Log::read(format!("{head}{far}").as_bytes()).unwrap().moments.len() <= MOMENTS_MAX);
        assert!(said(&format!("{head}{}", Record::Moment(moment(u64::MAX, 1, &[])).line())).contains("line 2"));
    }
}
