//! The terminal, and the lines at its end that show how tasks go. Whatever else is printed goes above them, and at the end they
//! are gone.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use console::Term;

use super::{Globals, ProgressStyle, output};

/// Columns where the terminal does not say how many it has.
const COLUMNS: usize = 80;
/// Columns that a line leaves free: a terminal shows Ctrl-C as `^C` behind it, and that must not begin a new row.
const FREE_COLUMNS: usize = 3;
/// Time between two drawings, at least.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// What stderr is: with lines of tasks, or without.
#[derive(Debug, Clone)]
pub(crate) struct Screen(Option<Arc<Mutex<Lines>>>);

#[derive(Debug)]
struct Lines {
    colour: bool,
    /// Each task and its line.
    tasks: Vec<(&'static str, String)>,
    /// Columns of the lines that stand on the screen now.
    drawn: Vec<usize>,
    drawn_at: Option<Instant>,
}

impl Screen {
    /// With lines of tasks, if they are asked for or if they fit where stderr goes.
    pub(crate) fn new(globals: &Globals) -> Self {
        let able = || io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let lines = match globals.progress {
            ProgressStyle::Bar => true,
            ProgressStyle::Auto => able(),
            ProgressStyle::Plain | ProgressStyle::Json | ProgressStyle::None => false,
        };
        let colour = output::colour(globals.color);
        Screen(
            (lines && !globals.is_quiet())
                .then(|| Arc::new(Mutex::new(Lines { colour, tasks: Vec::new(), drawn: Vec::new(), drawn_at: None }))),
        )
    }

    /// Without lines of tasks.
    pub(crate) fn without_lines() -> Self {
        Screen(None)
    }

    /// Whether tasks have lines here.
    pub(crate) fn has_lines(&self) -> bool {
        self.0.is_some()
    }

    fn lines(&self) -> Option<MutexGuard<'_, Lines>> {
        self.0.as_ref().map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Columns that a task's line may take.
    pub(crate) fn line_columns() -> usize {
        columns().saturating_sub(FREE_COLUMNS)
    }

    /// Shows how a task goes, or will with the next drawing.
    pub(crate) fn show(&self, now: Instant, task: &'static str, line: String) {
        let Some(mut lines) = self.lines() else { return };
        match lines.tasks.iter_mut().find(|(name, _)| *name == task) {
            Some((_, shown)) => *shown = line,
            None => lines.tasks.push((task, line)),
        }
        if lines.drawn_at.is_none_or(|at| now.duration_since(at) >= DRAW_INTERVAL) {
            lines.drawn_at = Some(now);
            let mut text = lines.erased();
            lines.draw(&mut text);
            write_stderr(&text);
        }
    }

    /// Removes a task's line.
    pub(crate) fn remove(&self, task: &str) {
        let Some(mut lines) = self.lines() else { return };
        let mut text = lines.erased();
        lines.tasks.retain(|(name, _)| *name != task);
        lines.draw(&mut text);
        write_stderr(&text);
    }

    /// Prints something on the terminal above the lines.
    pub(crate) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        let Some(mut lines) = self.lines() else { return print() };
        write_stderr(&lines.erased());
        let printed = print();
        let mut text = String::new();
        lines.draw(&mut text);
        write_stderr(&text);
        printed
    }

    /// A line on stderr, above those of the tasks.
    pub(crate) fn say(&self, line: &str) {
        self.above(|| write_stderr(&format!("{line}\n")));
    }

    /// Removes all lines.
    pub(crate) fn close(&self) {
        let Some(mut lines) = self.lines() else { return };
        let text = lines.erased();
        lines.tasks.clear();
        write_stderr(&text);
    }
}

impl Lines {
    /// What takes the lines away that stand there now. Where the terminal has become narrower, each takes more rows.
    fn erased(&mut self) -> String {
        let columns = columns();
        let rows: usize = self.drawn.drain(..).map(|wide| wide.div_ceil(columns).max(1)).sum();
        match rows {
            0 => String::new(),
            1 => "\r\x1b[J".to_owned(),
            _ => format!("\r\x1b[{}A\x1b[J", rows - 1),
        }
    }

    fn draw(&mut self, text: &mut String) {
        for (i, (_, line)) in self.tasks.iter().enumerate() {
            let (begin, end) = if self.colour { ("\x1b[36m", "\x1b[0m") } else { ("", "") };
            let _ = write!(text, "{}{begin}{line}{end}", if i > 0 { "\r\n" } else { "" });
            self.drawn.push(line.chars().count());
        }
    }
}

fn columns() -> usize {
    match Term::stderr().size_checked() {
        Some((_, columns @ 1..)) => usize::from(columns),
        _ => COLUMNS,
    }
}

fn write_stderr(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Lines of the log go above those of the tasks as well.
impl Write for Screen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.above(|| io::stderr().lock().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
