//! Draws progress items on stderr: lines that are drawn anew on a terminal, a line every few seconds otherwise.

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{Globals, ProgressStyle, meter::Meter, screen::Screen, words};
use crate::base::{Notice, Progress, clock, progress::Item};

/// Time between two JSON lines about one task, at least.
const JSON_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two plain lines about one task, at least.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Where plain lines go. In a file or a pipe each begins with its time; the journal of a service adds its own.
#[derive(Clone)]
struct Paper {
    screen: Screen,
    stamped: bool,
}

impl Paper {
    fn new(screen: &Screen, is_story: bool) -> Self {
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        let stamped = !screen.has_lines() && !io::stderr().is_terminal() && !journal && !is_story;
        Paper { screen: screen.clone(), stamped }
    }

    fn say(&self, line: &str) {
        match self.stamped {
            true => self.screen.say(&format!("{} {line}", humantime::format_rfc3339_seconds(clock::wall()))),
            false => self.screen.say(line),
        }
    }
}

/// The progress that fits the flags and the terminal. A story is read as a whole, and its lines have no times.
pub(crate) fn sink(globals: &Globals, screen: &Screen, is_story: bool) -> Progress {
    let (screen, paper) = (screen.clone(), Paper::new(screen, is_story));
    match globals.progress {
        _ if globals.is_quiet() => without_bars(true, paper),
        ProgressStyle::None => without_bars(false, paper),
        ProgressStyle::Json => json_lines(screen),
        _ if screen.has_lines() => lines(screen),
        _ => plain_lines(paper),
    }
}

fn warning(notice: &Notice) -> String {
    format!("warning: {}", words::notice(notice))
}

/// A notice as a line of JSON, under the name of its kind.
fn notice_json(kind: &str, notice: &Notice) -> serde_json::Value {
    match &notice.next {
        Some(next) => serde_json::json!({kind: notice.text, "next": words::advice(next)}),
        None => serde_json::json!({kind: notice.text}),
    }
}

/// Draws no task's progress; warnings are always told, steps and notes unless `quiet`.
fn without_bars(quiet: bool, paper: Paper) -> Progress {
    Progress::new(move |item| match item {
        Item::Warning(notice) => paper.say(&warning(&notice)),
        Item::Step(t) if !quiet => paper.say(&t),
        Item::Note(notice) if !quiet => paper.say(&words::notice(&notice)),
        _ => {}
    })
}

fn json_lines(screen: Screen) -> Progress {
    let shown: Mutex<HashMap<&'static str, Instant>> = Mutex::default();
    Progress::new(move |item| {
        if let Item::Bytes { task, done, total, .. } = &item {
            let mut shown = shown.lock().expect("no panic while held");
            let now = clock::now();
            let due = shown.get(task).is_none_or(|last| now.duration_since(*last) >= JSON_INTERVAL);
            if !due && *total != Some(*done) {
                return;
            }
            shown.insert(task, now);
        }
        let value = match item {
            Item::Step(t) => serde_json::json!({"step": t}),
            Item::Note(notice) => notice_json("note", &notice),
            Item::Warning(notice) => notice_json("warning", &notice),
            Item::Bytes { task, done, total, detail } => {
                serde_json::json!({"task": task, "done": done, "total": total, "detail": detail})
            }
            Item::Done(task) => serde_json::json!({"task": task, "finished": true}),
        };
        screen.say(&timed(value).to_string());
    })
}

/// What is told, and when, as RFC 3339 with milliseconds.
fn timed(mut value: serde_json::Value) -> serde_json::Value {
    value["time"] = humantime::format_rfc3339_millis(clock::wall()).to_string().into();
    value
}

fn plain_lines(paper: Paper) -> Progress {
    let tasks: Mutex<HashMap<&'static str, (Meter, Instant)>> = Mutex::default();
    Progress::new(move |item| match item {
        Item::Step(t) => paper.say(&t),
        Item::Note(notice) => paper.say(&words::notice(&notice)),
        Item::Warning(notice) => paper.say(&warning(&notice)),
        Item::Done(task) => {
            tasks.lock().expect("no panic while held").remove(task);
        }
        Item::Bytes { task, done, total, detail } => {
            let now = clock::now();
            let mut tasks = tasks.lock().expect("no panic while held");
            let (meter, shown) = tasks.entry(task).or_insert_with(|| (Meter::new(now, done), now));
            meter.saw(now, done);
            if now.duration_since(*shown) >= PLAIN_INTERVAL {
                *shown = now;
                paper.say(&meter.words(now, task, total, &detail, usize::MAX));
            }
        }
    })
}

fn lines(screen: Screen) -> Progress {
    let tasks: Mutex<HashMap<&'static str, Meter>> = Mutex::default();
    Progress::new(move |item| match item {
        Item::Step(t) => screen.say(&t),
        Item::Note(notice) => screen.say(&words::notice(&notice)),
        Item::Warning(notice) => screen.say(&warning(&notice)),
        Item::Done(task) => {
            tasks.lock().expect("no panic while held").remove(task);
            screen.remove(task);
        }
        Item::Bytes { task, done, total, detail } => {
            let now = clock::now();
            let mut tasks = tasks.lock().expect("no panic while held");
            let meter = tasks.entry(task).or_insert_with(|| Meter::new(now, done));
            meter.saw(now, done);
            screen.show(now, task, meter.line(now, task, total, &detail, Screen::line_columns()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_for_machines_has_its_time() {
        let told = timed(serde_json::json!({"step": "fetching"}));
        assert_eq!(told["step"], "fetching");
        let time = told["time"].as_str().unwrap();
        assert!(time.len() == "2026-11-26T18:16:32.123Z".len() && humantime::parse_rfc3339(time).is_ok(), "{time}");
    }
}
