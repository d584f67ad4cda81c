//! The events of an open page: the whole status once, then what has changed in it, as JSON merge patches (RFC 7386). A page that is open
//! for a week costs one copy of the status; how much is sent in a second is bounded: what changes more is told less often.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::{Map, Value, json};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    app::status::{Status, Told},
    base::{Advice, clock},
};

/// Pages that are open at once.
const VIEWERS_MAX: usize = 64;
/// Bytes that are sent to one page in a second, on average.
const RATE: usize = 1500;
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long a page waits before it comes again, in milliseconds.
const RETRY_MS: u32 = 1000;
/// Lines of the log that a page is told.
const LOG_LINES: usize = 12;
/// What changes with every byte and is of no use to a page.
const LEFT_OUT: [&str; 4] = ["sent_bytes", "received_bytes", "answer_ms", "place"];

/// The places of open pages.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(watch::Sender<usize>);

/// One of them; it is free again when this goes. The events and their connection share it, or it would be free before the last
/// word has left.
#[derive(Debug)]
pub(super) struct Seat(Seats);

impl Seats {
    pub(super) fn take(&self) -> Option<Seat> {
        let taken = self.0.send_if_modified(|n| {
            let is_free = *n < VIEWERS_MAX;
            *n += usize::from(is_free);
            is_free
        });
        taken.then(|| Seat(self.clone()))
    }

    /// Waits until all are free.
    pub(super) async fn free(&self) {
        // Whoever asks holds the sender.
        let _ = self.0.subscribe().wait_for(|n| *n == 0).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.send_modify(|n| *n -= 1);
    }
}

/// What is sent to one page.
#[derive(Debug)]
pub(super) struct Events {
    _seat: Arc<Seat>,
    latest: watch::Receiver<Arc<Status>>,
    words: fn(&Advice) -> String,
    looks: Interval,
    told: Teller,
    /// The end was told.
    is_over: bool,
}

impl Events {
    pub(super) fn new(seat: Arc<Seat>, latest: watch::Receiver<Arc<Status>>, words: fn(&Advice) -> String) -> Self {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Events { _seat: seat, latest, words, looks, told: Teller::default(), is_over: false }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if self.is_over {
                return Poll::Ready(None);
            }
            if self.looks.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
            // The node is gone: the page says since when nothing has come, and tries again.
            if self.latest.has_changed().is_err() {
                return Poll::Ready(None);
            }
            let status = self.latest.borrow_and_update().clone();
            let value = view(&status, self.words);
            self.is_over = !status.running;
            let text = match self.is_over {
                true => Some(self.told.tell_all(clock::now(), value)),
                false => self.told.tell(clock::now(), value),
            };
            if let Some(text) = text {
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
        }
    }
}

/// The status as a page has it: members by their ids, so that a change of one of them is told alone.
fn view(status: &Status, words: fn(&Advice) -> String) -> Value {
    let mut value = serde_json::to_value(Told::new(status, words)).unwrap_or_default();
    let members: Map<String, Value> = (status.members.iter().zip(value["members"].as_array().into_iter().flatten()))
        .map(|(member, told)| {
            let mut told = told.clone();
            if let Some(told) = told.as_object_mut() {
                LEFT_OUT.iter().for_each(|name| _ = told.remove(*name));
                told.remove("peer");
            }
            (member.peer.clone(), told)
        })
        .collect();
    let skipped = status.log.len().saturating_sub(LOG_LINES);
    value["members"] = Value::Object(members);
    value["log"] = json!(status.log[skipped..]);
    value
}

/// What was told, and when more may be.
#[derive(Debug, Default)]
struct Teller {
    last: Option<Value>,
    next: Option<Instant>,
}

impl Teller {
    /// The next event, if there is one to be sent now.
    fn tell(&mut self, now: Instant, value: Value) -> Option<String> {
        let Some(last) = &self.last else { return Some(self.tell_all(now, value)) };
        if last["unix_seconds"] == value["unix_seconds"] {
            return None;
        }
        if self.next.is_some_and(|next| now < next) {
            // The page hears that the node lives.
            return Some(format!("event: change\ndata: {{\"unix_seconds\":{}}}\n\n", value["unix_seconds"]));
        }
        Some(self.tell_all(now, value))
    }

    /// The next event, with all that there is to tell.
    fn tell_all(&mut self, now: Instant, value: Value) -> String {
        let (text, rest) = match &self.last {
            None => (format!("retry: {RETRY_MS}\nevent: status\ndata: {value}\n\n"), Duration::ZERO),
            Some(last) => {
                let text = format!("event: change\ndata: {}\n\n", patch(last, &value));
                let rest = Duration::from_secs_f64(text.len() as f64 / RATE as f64);
                (text, rest)
            }
        };
        self.next = Some(now + rest);
        self.last = Some(value);
        text
    }
}

/// What makes `after` of `before`.
fn patch(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return after.clone() };
    let mut out = BTreeMap::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        out.insert(name.clone(), Value::Null);
    }
    for (name, new) in after {
        match before.get(name) {
            Some(old) if old == new => {}
            Some(old) => _ = out.insert(name.clone(), patch(old, new)),
            None => _ = out.insert(name.clone(), new.clone()),
        }
    }
    out.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::status::{Member, VERSION};

    fn words(_: &Advice) -> String {
        "go on".to_owned()
    }

    /// As a page does it.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else { return *target = patch.clone() };
        if !target.is_object() {
            *target = json!({});
        }
        let target = target.as_object_mut().unwrap();
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                apply(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }

    fn without_nulls(value: &Value) -> Value {
        match value {
            Value::Object(all) => {
                all.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
            }
            other => other.clone(),
        }
    }

    /// Fifty members, all of whom gain something all the time.
    fn busy(second: u64) -> Status {
        let member = |n: u64| Member {
            name: format!("validator {n:08}"),
            peer: format!("12D3KooWPTamXrDdzWpc5oKGHNGJmHzxhrmoh76p3wxPjoX{n:05}"),
            chunks: (second * 7 + n) as u32,
            rate: 12_345_678 + second * n,
            in_rate: 2_345_678 + second * n,
            out_rate: 3_345_678 + second * n,
            sent_bytes: second * 1_000_000,
            seconds: Some(1000 - second),
            ..Member::default()
        };
        Status {
            version: VERSION,
            unix_seconds: 1_800_000_000 + second,
            running: true,
            members: (0..50).map(member).collect(),
            log: (0..40).map(|n| format!("line {}", n + second)).collect(),
            ..Status::default()
        }
    }

    #[test]
    fn changes_put_together_are_the_status_and_take_no_more_than_their_part_of_the_line() {
        let (mut teller, began) = (Teller::default(), clock::now());
        let (mut page, mut bytes) = (Value::Null, 0);
        for second in 0..100u64 {
            let mut status = busy(second);
            if second >= 60 {
                status.members.truncate(20);
            }
            if second >= 80 {
                // From now on nothing changes, so that the last change is told.
                status = Status { unix_seconds: status.unix_seconds, ..busy(80) };
            }
            let value = view(&status, words);
            let text = teller.tell(began + Duration::from_secs(second), value.clone()).unwrap();
            if second > 0 {
                bytes += text.len();
            }
            let data: Value = serde_json::from_str(text.split_once("data: ").unwrap().1.trim()).unwrap();
            apply(&mut page, &data);
            assert_eq!(page["unix_seconds"], value["unix_seconds"]);
            if second == 99 {
                assert_eq!(without_nulls(&page), without_nulls(&value));
            }
        }
        assert!(bytes / 99 < 2000, "{} bytes a second", bytes / 99);
    }

    #[test]
    fn who_has_heard_a_status_does_not_hear_it_again() {
        let (mut teller, now) = (Teller::default(), clock::now());
        assert!(teller.tell(now, view(&busy(0), words)).unwrap().starts_with("retry: 1000\nevent: status\ndata: {"));
        assert_eq!(teller.tell(now, view(&busy(0), words)), None);
        // Whatever text there is, an event is one line.
        let mut evil = busy(1);
        evil.log = vec!["a\nevent: x\n\n<script>".to_owned()];
        let text = teller.tell(now, view(&evil, words)).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn the_end_is_told_at_once_whatever_was_told_before() {
        let (mut teller, now) = (Teller::default(), clock::now());
        teller.tell(now, view(&busy(0), words)).unwrap();
        teller.tell(now, view(&busy(1), words)).unwrap();
        let end = Status { running: false, log: vec!["the end".to_owned()], ..busy(1) };
        assert_eq!(teller.tell(now, view(&end, words)), None, "as another word in the same second");
        let text = teller.tell_all(now, view(&end, words));
        assert!(text.contains("\"running\":false") && text.contains("the end"), "{text}");
    }

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let seats = Seats::default();
        let taken: Vec<Seat> = std::iter::from_fn(|| seats.take()).collect();
        assert_eq!(taken.len(), VIEWERS_MAX);
        drop(taken);
        assert!(seats.take().is_some());
    }
}
