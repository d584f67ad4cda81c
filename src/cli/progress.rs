//! Draws progress items on stderr: bars on a terminal, a line every few seconds otherwise.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle as BarStyle};

use super::{Globals, ProgressStyle, output, words};
use crate::base::{
    Notice, Progress, clock,
    progress::Item,
    text::{self, megabytes_per_second},
};

/// Time between two JSON lines about one task, at least.
const JSON_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two plain lines about one task, at least.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The progress that fits the flags and the terminal.
pub(crate) fn sink(globals: &Globals) -> Progress {
    let quiet = globals.quiet || globals.silence;
    let terminal = io::stderr().is_terminal();
    match globals.progress {
        ProgressStyle::None => undrawn(quiet),
        _ if quiet => undrawn(true),
        ProgressStyle::Json => json(),
        ProgressStyle::Bar => bars(output::colour(globals.color)),
        ProgressStyle::Auto if terminal => bars(output::colour(globals.color)),
        ProgressStyle::Plain | ProgressStyle::Auto => plain(),
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn warning(notice: &Notice) -> String {
    format!("warning: {}", words::notice(notice))
}

/// A notice as a line of JSON, under the name of its kind.
fn told(kind: &str, notice: &Notice) -> serde_json::Value {
    match &notice.next {
        Some(next) => serde_json::json!({kind: notice.text, "next": words::advice(next)}),
        None => serde_json::json!({kind: notice.text}),
    }
}

/// Draws no task's progress; warnings are always told, steps and notes unless `quiet`.
fn undrawn(quiet: bool) -> Progress {
    Progress::new(move |item| match item {
        Item::Warning(notice) => say(&warning(&notice)),
        Item::Step(t) if !quiet => say(&t),
        Item::Note(notice) if !quiet => say(&words::notice(&notice)),
        _ => {}
    })
}

fn json() -> Progress {
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
            Item::Note(notice) => told("note", &notice),
            Item::Warning(notice) => told("warning", &notice),
            Item::Bytes { task, done, total, detail } => {
                serde_json::json!({"task": task, "done": done, "total": total, "detail": detail})
            }
            Item::Done(task) => serde_json::json!({"task": task, "finished": true}),
        };
        say(&value.to_string());
    })
}

struct Task {
    began: Instant,
    first: u64,
    shown: Instant,
}

fn plain() -> Progress {
    let tasks: Mutex<HashMap<&'static str, Task>> = Mutex::default();
    Progress::new(move |item| match item {
        Item::Step(t) => say(&t),
        Item::Note(notice) => say(&words::notice(&notice)),
        Item::Warning(notice) => say(&warning(&notice)),
        Item::Done(task) => {
            tasks.lock().expect("no panic while held").remove(task);
        }
        Item::Bytes { task, done, total, detail } => {
            let now = clock::now();
            let mut tasks = tasks.lock().expect("no panic while held");
            let entry = tasks.entry(task).or_insert(Task { began: now, first: done, shown: now });
            if now.duration_since(entry.shown) < PLAIN_INTERVAL {
                return;
            }
            entry.shown = now;
            let seconds = now.duration_since(entry.began).as_secs_f64();
            let rate = megabytes_per_second(done - entry.first.min(done), seconds);
            let mut line = format!("{task}: {}", text::bytes(done));
            if let Some(total) = total.filter(|t| *t > 0) {
                let percent = done as f64 * 100.0 / total as f64;
                line.push_str(&format!(" of {} ({percent:.0}%)", text::bytes(total)));
                if rate > 0.0 && total > done {
                    let left = Duration::from_secs(((total - done) as f64 / 1e6 / rate) as u64);
                    line.push_str(&format!(", {} left", humantime::format_duration(left)));
                }
            }
            line.push_str(&format!(", {rate:.0} MB/s"));
            if !detail.is_empty() {
                line.push_str(&format!(", {detail}"));
            }
            say(&line);
        }
    })
}

fn bars(colour: bool) -> Progress {
    let multi = MultiProgress::new();
    let bars: Mutex<HashMap<&'static str, ProgressBar>> = Mutex::default();
    let bar_template = if colour {
        "{prefix:9} [{bar:32.cyan}] {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}"
    } else {
        "{prefix:9} [{bar:32}] {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}"
    };
    let with_total = BarStyle::with_template(bar_template).expect("a fixed template").progress_chars("=> ");
    let without_total = BarStyle::with_template("{prefix:9} {spinner} {bytes}  {binary_bytes_per_sec}  {msg}")
        .expect("a fixed template");
    Progress::new(move |item| match item {
        Item::Step(t) => {
            let _ = multi.println(t);
        }
        Item::Note(notice) => {
            let _ = multi.println(words::notice(&notice));
        }
        Item::Warning(notice) => {
            let _ = multi.println(warning(&notice));
        }
        Item::Done(task) => {
            if let Some(bar) = bars.lock().expect("no panic while held").remove(task) {
                bar.finish_and_clear();
            }
        }
        Item::Bytes { task, done, total, detail } => {
            let mut bars = bars.lock().expect("no panic while held");
            let bar = bars.entry(task).or_insert_with(|| {
                let bar = multi.add(ProgressBar::no_length().with_position(done));
                bar.reset_eta();
                bar.set_prefix(task);
                bar
            });
            match total {
                Some(total) if bar.length() != Some(total) => {
                    bar.set_length(total);
                    bar.set_style(with_total.clone());
                }
                None if bar.length().is_none() => bar.set_style(without_total.clone()),
                _ => {}
            }
            bar.set_position(done);
            bar.set_message(detail);
        }
    })
}
