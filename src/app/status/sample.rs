//! Once a second, what the swarm's driver sees and what the work wrote down become one [`Status`], with the rates of the last while.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::{
    Board, Chunks, Member, OnMedia, Own, Status, Tried, VERSION,
    board::Known,
    directory::on_media,
    estimate::{Growth, Seen},
    socket::Socket,
    watchers::Shown,
};
use crate::{
    app::run::Keeper,
    base::{
        Progress, clock,
        task::{CancellationToken, Tasks},
    },
    swarm::{self, MemberView, View, Viewer},
};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks at what the directory knows of media: they are carried, and reading all of it takes a moment.
const MEDIA_INTERVAL: Duration = Duration::from_secs(5);
/// A rate is of the bytes of this last while,
const WINDOW: Duration = Duration::from_secs(10);
/// and counts for what a line can do once it is of so long a while.
const BEST_WINDOW: Duration = Duration::from_secs(3);
/// Without a byte for this long, a node that lacks some counts as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Takes the samples as long as it lives, and answers who asks.
#[derive(Debug)]
pub struct Reporter {
    latest: watch::Sender<Arc<Status>>,
    socket: Option<Socket>,
    board: Board,
    viewer: Viewer,
    keeper: Option<Arc<Mutex<Keeper>>>,
    place: Place,
    _tasks: Tasks,
}

/// The directory that a node works in; none of a node that keeps nothing.
type Place = Arc<Mutex<Option<PathBuf>>>;

/// The directory of which this is the private one.
fn place_of(private: &Path) -> Option<PathBuf> {
    private.parent().map(Path::to_owned)
}

impl Reporter {
    /// Begins; where a private directory is given, others on this machine may ask through it.
    pub(in crate::app) fn start(board: &Board, viewer: Viewer, private: Option<PathBuf>, progress: &Progress) -> Self {
        let mut tasks = Tasks::new(CancellationToken::new());
        let first = Arc::new(Sampler::default().status(Duration::ZERO, &View::default(), board.read()));
        let latest = watch::Sender::new(first);
        let sender = latest.clone();
        let keeper = private.clone().map(|private| Arc::new(Mutex::new(Keeper::new(private))));
        let (board, kept) = (board.clone(), keeper.clone());
        let (looked_at, looking) = (board.clone(), viewer.clone());
        let place: Place = Arc::new(Mutex::new(private.as_deref().and_then(place_of)));
        let worked_in = place.clone();
        tasks.spawn("status", async move {
            let (mut sampler, began) = (Sampler::default(), clock::now());
            let (mut media, mut next_look) = (OnMedia::default(), Duration::ZERO);
            while let Some(view) = viewer.view().await {
                let now = clock::now().duration_since(began);
                if now >= next_look {
                    media = look_for_media(&worked_in, media).await;
                    next_look = now + MEDIA_INTERVAL;
                }
                let status = sampler.status(now, &view, board.read());
                let status = Arc::new(Status { on_media: media.clone(), ..status });
                // Nothing is told after the end.
                let goes_on = sender.send_if_modified(|latest| {
                    let goes_on = latest.running;
                    if goes_on {
                        latest.clone_from(&status);
                    }
                    goes_on
                });
                if !goes_on {
                    return Ok(());
                }
                board.show(&Shown::Sample(&status));
                keep(kept.as_ref(), move |keeper| keeper.take(&status, &view.parts)).await;
                sleep(INTERVAL).await;
            }
            Ok(())
        });
        let socket = private.and_then(|private| match Socket::bind(&private) {
            Ok((socket, listener)) => {
                let latest = latest.subscribe();
                tasks.spawn("status socket", async move { super::socket::answer(listener, latest).await });
                Some(socket)
            }
            Err(error) => {
                progress.note(format!("nobody on this machine can ask how this node stands: {}", error.chain()));
                None
            }
        });
        Reporter { latest, socket, board: looked_at, viewer: looking, keeper, place, _tasks: tasks }
    }

    /// Writes down how the node stands at its end, for a report, and tells it to those who look at its page.
    pub(in crate::app) async fn finish(&self) {
        if let Some(view) = self.viewer.view().await {
            let status = Sampler::default().status(Duration::ZERO, &view, self.board.read());
            let status = Status { on_media: self.latest.borrow().on_media.clone(), ..status };
            // What has happened since the last sample is told as well.
            self.board.show(&Shown::Sample(&status));
            let node = Own { pid: None, ..status.node.clone() };
            self.latest.send_replace(Arc::new(Status { running: false, node, ..status.clone() }));
            keep(self.keeper.as_ref(), move |keeper| keeper.finish(&status, &view.parts)).await;
        }
    }

    /// How it stands, as it was sampled last.
    pub fn status(&self) -> Arc<Status> {
        self.latest.borrow().clone()
    }

    /// The same each time that it is sampled.
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.latest.subscribe()
    }

    /// The private directory stands under another name now.
    pub(in crate::app) fn moved(&mut self, private: PathBuf) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place_of(&private);
        if let Some(keeper) = &self.keeper {
            keeper.lock().unwrap_or_else(PoisonError::into_inner).moved(private.clone());
        }
        if let Some(socket) = &mut self.socket {
            socket.moved(private);
        }
    }
}

/// What media carry for the directory now; what was known of it where that cannot be looked at.
async fn look_for_media(place: &Place, known: OnMedia) -> OnMedia {
    let place = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(place) = place else { return known };
    tokio::task::spawn_blocking(move || on_media(&place)).await.unwrap_or(known)
}

/// Lets the run log be written where a slow disk holds up nobody.
async fn keep(keeper: Option<&Arc<Mutex<Keeper>>>, write: impl FnOnce(&mut Keeper) + Send + 'static) {
    if let Some(keeper) = keeper.cloned() {
        let work = move || write(&mut keeper.lock().unwrap_or_else(PoisonError::into_inner));
        // A write that panicked has left nothing to be told to anybody here.
        let _ = tokio::task::spawn_blocking(work).await;
    }
}

/// What was seen of one counter.
#[derive(Debug, Default)]
struct Meter {
    samples: VecDeque<(Duration, u64)>,
    moved: Duration,
    best: f64,
}

impl Meter {
    /// Takes the counter's value; what it was at first is in no rate.
    fn saw(&mut self, now: Duration, value: u64) {
        if self.samples.back().is_none_or(|(_, last)| *last != value) {
            self.moved = now;
        }
        self.samples.push_back((now, value));
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.samples.pop_front();
        }
        if self.span() >= BEST_WINDOW {
            self.best = self.best.max(self.rate());
        }
    }

    fn span(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some((first, _)), Some((last, _))) => last.saturating_sub(*first),
            _ => Duration::ZERO,
        }
    }

    /// What it grew by in a second of the last while.
    fn rate(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((_, first)), Some((_, last))) if !self.span().is_zero() => {
                last.saturating_sub(*first) as f64 / self.span().as_secs_f64()
            }
            _ => 0.0,
        }
    }

    fn still(&self, now: Duration) -> Duration {
        now.saturating_sub(self.moved)
    }

    fn growth(&self, now: Duration, left: u64) -> Growth {
        Growth { left, rate: self.rate(), best: self.best.max(self.rate()), still_seconds: self.still(now).as_secs() }
    }
}

#[derive(Debug, Default)]
struct MemberMeters {
    sent: Meter,
    received: Meter,
    gained: Meter,
    /// Since when it is known what it has.
    told: bool,
}

/// The rates of one node and of those whom it sees.
#[derive(Debug, Default)]
struct Sampler {
    have: Meter,
    sent: Meter,
    received: Meter,
    members: HashMap<String, MemberMeters>,
}

impl Sampler {
    fn status(&mut self, now: Duration, view: &View, known: Known) -> Status {
        self.measure(now, view);
        let names: Vec<(String, Option<String>)> = view.members.iter().map(|member| name(&known, member)).collect();
        let members =
            view.members.iter().zip(&names).map(|(member, name)| self.member(now, view, &known, member, name));
        let members: Vec<Member> = members.collect();
        let seen = self.seen(now, view, &known, &names);
        let spread = &view.spread;
        let map = |of: fn(&crate::schedule::Cell) -> u8| {
            spread.cells.iter().map(|c| char::from(b'0' + of(c).min(9))).collect()
        };
        Status {
            version: VERSION,
            unix_seconds: clock::unix_seconds(),
            running: true,
            estimate: seen.estimate(),
            chunks: (spread.chunks > 0).then(|| Chunks {
                count: spread.chunks,
                single: spread.single,
                thin: spread.thin,
                out: spread.thin == 0,
                own_map: map(|cell| cell.own),
                others_map: map(|cell| cell.others),
            }),
            // A node in a swarm knows of no media: its directory does.
            on_media: OnMedia::default(),
            members,
            kept_out: view.kept_out.clone(),
            node: self.own(now, view, &known),
            network: known.network,
            signatures: known.signatures,
            attestations: known.attestations,
            readiness: known.readiness,
            log: known.log.into(),
        }
    }

    fn measure(&mut self, now: Duration, view: &View) {
        self.sent.saw(now, view.sent_bytes);
        self.received.saw(now, view.received_bytes);
        // What was there before the node began is in no rate.
        if view.total_bytes > 0 {
            self.have.saw(now, view.have_bytes);
        }
        self.members.retain(|peer, _| view.members.iter().any(|member| member.peer == *peer));
        for member in &view.members {
            let meters = self.members.entry(member.peer.clone()).or_default();
            meters.sent.saw(now, member.sent_bytes);
            meters.received.saw(now, member.received_bytes);
            // A member tells what it has some time after it came.
            meters.told |= member.chunks > 0;
            let value = u64::from(member.chunks) * view.chunk_size_bytes;
            if meters.told || meters.gained.samples.is_empty() {
                let first = meters.gained.samples.len() == 1 && meters.gained.samples[0].1 == 0;
                if first {
                    meters.gained = Meter::default();
                }
                meters.gained.saw(now, value);
            }
        }
    }

    fn growth_of(&self, now: Duration, view: &View, member: &MemberView) -> Growth {
        let lacks = u64::from(view.spread.chunks.saturating_sub(member.chunks));
        // The last chunk of a file is shorter.
        let left = (lacks * view.chunk_size_bytes).min(view.total_bytes);
        self.members
            .get(&member.peer)
            .map_or(Growth { left, ..Growth::default() }, |meters| meters.gained.growth(now, left))
    }

    fn own_growth(&self, now: Duration, view: &View) -> Growth {
        let left = if view.watches { 0 } else { view.total_bytes - view.have_bytes.min(view.total_bytes) };
        let still = self.have.still(now).min(self.received.still(now)).as_secs();
        Growth { still_seconds: still, ..self.have.growth(now, left) }
    }

    fn own(&self, now: Duration, view: &View, known: &Known) -> Own {
        let growth = self.own_growth(now, view);
        let still = growth.still_seconds;
        let validator = known.peer.as_ref().and_then(|peer| known.names.get(peer));
        Own {
            role: known.role,
            pid: Some(std::process::id()),
            peer: known.peer.clone(),
            name: validator.map(|(name, _)| name.clone()),
            validator: validator.map(|(_, key)| key.clone()),
            directory: known.directory.clone(),
            doing: known.doing.clone(),
            seconds: known.began.map_or(0, |began| clock::now().duration_since(began).as_secs()),
            have_bytes: view.have_bytes,
            total_bytes: view.total_bytes,
            complete: view.total_bytes > 0 && growth.left == 0 && !view.watches && !known.checks(),
            work: known.work(),
            sent_bytes: view.sent_bytes,
            received_bytes: view.received_bytes,
            out_rate: self.sent.rate() as u64,
            in_rate: self.received.rate() as u64,
            stalled_seconds: (growth.left > 0 && still >= STALLED_AFTER.as_secs()).then_some(still),
            tried: view.tried.iter().map(|(place, why)| Tried { place: place.clone(), why: why.clone() }).collect(),
        }
    }

    fn member(
        &self,
        now: Duration,
        view: &View,
        known: &Known,
        member: &MemberView,
        (name, key): &(String, Option<String>),
    ) -> Member {
        let growth = self.growth_of(now, view, member);
        let meters = self.members.get(&member.peer);
        let rate = |of: fn(&MemberMeters) -> &Meter| meters.map_or(0, |meters| of(meters).rate() as u64);
        let seats = known.readiness.iter().flat_map(|readiness| &readiness.seats);
        let seat = key.as_ref().and_then(|key| seats.clone().find(|seat| seat.key == *key));
        Member {
            name: name.clone(),
            peer: member.peer.clone(),
            validator: key.clone(),
            power: seat.map(|seat| seat.power),
            place: member.place.clone(),
            chunks: member.chunks,
            rate: growth.rate as u64,
            out_rate: rate(|meters| &meters.sent),
            in_rate: rate(|meters| &meters.received),
            sent_bytes: member.sent_bytes,
            received_bytes: member.received_bytes,
            answer_ms: member.flight.map(|flight| u64::try_from(flight.as_millis()).unwrap_or(u64::MAX)),
            seconds: (growth.left > 0 && growth.rate >= 1.0).then(|| (growth.left as f64 / growth.rate).ceil() as u64),
            ready: seat.is_some_and(|seat| seat.ready),
        }
    }

    fn seen(&self, now: Duration, view: &View, known: &Known, names: &[(String, Option<String>)]) -> Seen {
        let own = self.own_growth(now, view);
        let chunks = view.spread.chunks;
        let members = || view.members.iter().zip(names).filter(|(member, _)| member.ready);
        let lacked = (own.left.div_ceil(view.chunk_size_bytes.max(1))).max(1);
        let lacking = members().filter(|(member, _)| member.chunks < chunks);
        let missing = known.readiness.iter().flat_map(|readiness| readiness.missing());
        Seen {
            manifest: chunks > 0,
            watches: view.watches,
            own,
            members: view.members.len(),
            others: lacking.map(|(member, (name, _))| (name.clone(), self.growth_of(now, view, member))).collect(),
            seeds: members().filter(|(member, _)| member.chunks == chunks).map(|(_, (name, _))| name.clone()).collect(),
            single_bytes: u64::from(view.spread.single) * view.chunk_size_bytes,
            behind_seeds: f64::from(view.spread.behind_seeds) / lacked as f64,
            nowhere: view.spread.nowhere,
            out_rate: self.sent.rate(),
            out_best: self.sent.best,
            checks: known.checks(),
            unsigned: known.signatures.as_ref().map(super::Signatures::lacking).unwrap_or_default(),
            silent: known.attestations.as_ref().map(super::Attestations::silent).unwrap_or_default(),
            lost: known.attestations.as_ref().map(super::Attestations::lost).unwrap_or_default(),
            differing: (known.readiness.iter().flat_map(|readiness| readiness.differing()))
                .map(|seat| seat.name.clone())
                .collect(),
            not_ready: missing.map(|seat| seat.name.clone()).collect(),
            quorum: known.readiness.as_ref().is_some_and(|readiness| readiness.quorum),
        }
    }
}

/// By what name people know a member, and the key of its validator.
fn name(known: &Known, member: &MemberView) -> (String, Option<String>) {
    match known.names.get(&member.peer) {
        Some((name, key)) => (name.clone(), Some(key.clone())),
        None => (format!("peer {}", swarm::short_peer(&member.peer)), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::status::By, schedule::Spread};

    const CHUNK: u64 = 1000;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn member(peer: &str, chunks: u32, sent_bytes: u64) -> MemberView {
        MemberView {
            peer: peer.to_owned(),
            place: "192.0.2.1:1".to_owned(),
            ready: true,
            chunks,
            sent_bytes,
            received_bytes: 0,
            flight: None,
        }
    }

    fn view(have_bytes: u64, members: Vec<MemberView>) -> View {
        View {
            have_bytes,
            total_bytes: 100 * CHUNK,
            chunk_size_bytes: CHUNK,
            sent_bytes: members.iter().map(|member| member.sent_bytes).sum(),
            received_bytes: have_bytes,
            is_incomplete: have_bytes < 100 * CHUNK,
            spread: Spread { chunks: 100, ..Spread::default() },
            members,
            ..View::default()
        }
    }

    #[test]
    fn rates_are_of_what_came_since_and_not_of_what_was_there() {
        let mut sampler = Sampler::default();
        for second in 0..=6u32 {
            // It had 20 chunks from an earlier run, and tells so a second after it came.
            let chunks = if second == 0 { 0 } else { 20 + 2 * second };
            let seen = view(100 * CHUNK, vec![member("a", chunks, 3 * CHUNK * u64::from(second)), member("new", 0, 0)]);
            let status = sampler.status(at(second.into()), &seen, Known::default());
            if second == 6 {
                let [a, new] = &status.members[..] else { panic!("{status:?}") };
                assert_eq!((a.rate, a.out_rate, a.chunks), (2 * CHUNK, 3 * CHUNK, 32));
                assert_eq!((a.seconds, new.seconds, new.rate), (Some(34), None, 0));
                assert_eq!((a.name.as_str(), status.node.out_rate), ("peer a", 3 * CHUNK));
                assert!(status.node.complete && status.node.stalled_seconds.is_none());
            }
        }
        // Who leaves is forgotten.
        let status = sampler.status(at(7), &view(100 * CHUNK, vec![]), Known::default());
        assert!(status.members.is_empty() && sampler.members.is_empty());
    }

    #[test]
    fn a_fetch_that_gets_nothing_says_since_when_and_from_whom() {
        let mut sampler = Sampler::default();
        let mut last = Status::default();
        for second in 0..20 {
            let have = 10 * CHUNK * second.min(4);
            let mut seen = view(have, vec![member("a", 100, 0)]);
            seen.spread.behind_seeds = 60;
            last = sampler.status(at(second), &seen, Known::default());
            if second == 4 {
                assert_eq!(last.node.in_rate, 10 * CHUNK);
                assert_eq!((last.estimate.own_seconds, last.estimate.limit.by), (Some(6), By::Uplink));
            }
        }
        assert_eq!(last.node.stalled_seconds, Some(15));
        assert_eq!(last.estimate.limit.words, "peer a: nothing comes from there");
        assert_eq!(last.estimate.own_seconds, None);
    }
}
