//! `status`: who has how much, who has confirmed, who is ready, when it ends, and what that hangs on.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use console::Term;
use serde::Serialize;

use super::{
    OutputFormat, Session,
    swarm::{SeenArgs, SwarmArgs, read_ticket},
    ticket::TicketArgs,
    words,
};
use crate::{
    app::status::{
        Status, Told,
        address::Address,
        ask::{self, ObserveOptions},
    },
    base::{Context, Error, Progress, Result},
};

/// How long somebody is looked for in a swarm, unless it is said.
const SEARCH_TIME: Duration = Duration::from_secs(60);
/// Columns and rows where nobody says how many there are.
const SIZE: (usize, usize) = (80, usize::MAX);

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Asks the process that works in a directory, without a flag of its own; where none does, tells what the directory \
    says. With a ticket it looks at the swarm as a member that fetches nothing, and gives up (exit 5) when nobody is reached for a \
    minute (--timeout).\n\n\
    Examples:\n  regenesis status --dir ./network_snapshot --watch\n  \
    regenesis status --dir ~/.kwild-new --output json\n  \
    regenesis status --addr http://192.0.2.1:9184/?token=0123456789abcdef0123456789abcdef\n  \
    regenesis status --ticket-file ticket.txt"
)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    ticket: TicketArgs,
    /// Directory of a publish, a seed or a fetch, or the root of a join, also while that is being made
    #[arg(long, value_name = "DIR", conflicts_with_all = ["ticket", "ticket_file"])]
    dir: Option<PathBuf>,
    /// Address of a node's status page, as the node told it, with its token: for a node on another machine. REGENESIS_ADDR keeps
    /// the token out of the list of processes
    #[arg(long, value_name = "URL", conflicts_with_all = ["dir", "ticket", "ticket_file"])]
    addr: Option<Address>,
    /// Go on looking, each second, until Ctrl-C: drawn anew on a terminal, otherwise a block of lines whenever something has
    /// changed; with --output json one object a line
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    swarm: SwarmArgs,
}

impl StatusArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let mut shown = Shown { session, watch: self.watch, last: Vec::new(), drawn: false };
        let mut show = |status: &Status| shown.show(status);
        if let Some(directory) = &self.dir {
            return match self.watch {
                true => ask::watch(async || ask::of_directory(directory).await, &session.cancel, &mut show).await,
                false => show(&ask::of_directory(directory).await?).map(drop),
            };
        }
        if let Some(address) = &self.addr {
            return match self.watch {
                true => ask::watch(async || ask::of_address(address).await, &session.cancel, &mut show).await,
                false => show(&ask::of_address(address).await?).map(drop),
            };
        }
        let ticket = read_ticket(&self.ticket, &self.swarm).map_err(|e| match self.ticket.is_given() {
            true => e,
            false => Error::usage("nothing is named to look at")
                .hint("name the directory with --dir DIR, a node's status address with --addr URL, or the swarm with --ticket-file FILE"),
        })?;
        let mut swarm = self.swarm.options(session)?;
        swarm.timeout = swarm.timeout.or(Some(SEARCH_TIME));
        let options = ObserveOptions { swarm, state: self.seen.state()?, watch: self.watch };
        // What the node tells is part of the status.
        let progress = session.board.tap(&Progress::silent());
        ask::observe(&ticket, options, &progress, &session.cancel, &mut show).await
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::status::lines(self.status, &self.next, SIZE.0).join("\n"))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    result: Told<'a>,
    error: &'static str,
}

struct Shown<'a> {
    session: &'a Session,
    watch: bool,
    /// What was printed last, but for the time.
    last: Vec<String>,
    drawn: bool,
}

impl Shown<'_> {
    /// Prints a status; false where nobody reads it any more.
    fn show(&mut self, status: &Status) -> Result<bool> {
        let told = Told::new(status, words::advice);
        let json = self.session.output.format() == OutputFormat::Json;
        if !self.watch && json {
            return self.session.output.result(&told).map(|()| true);
        }
        if json {
            let line = Line { result: told, error: "" };
            return print(&serde_json::to_string(&line).or_failed(|| "cannot write the status as JSON")?);
        }
        let terminal = io::stdout().is_terminal();
        let (columns, rows) = if terminal { size() } else { SIZE };
        let lines = words::status::lines(status, &told.next, columns);
        if !self.watch {
            return print(&lines.join("\n"));
        }
        if terminal {
            return self.draw(&words::status::cut(lines, rows.saturating_sub(1)));
        }
        // The first line is the time.
        if self.drawn && self.last.get(1..) == lines.get(1..) {
            return Ok(true);
        }
        let text = format!("{}{}", if self.drawn { "\n" } else { "" }, lines.join("\n"));
        (self.last, self.drawn) = (lines, true);
        print(&text)
    }

    /// Draws lines in the place of those that stand there.
    fn draw(&mut self, lines: &[String]) -> Result<bool> {
        let mut text = if std::mem::replace(&mut self.drawn, true) { "\x1b[H" } else { "\x1b[2J\x1b[H" }.to_owned();
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        write(text.as_bytes())
    }
}

fn size() -> (usize, usize) {
    match Term::stdout().size_checked() {
        Some((rows @ 1.., columns @ 1..)) => (usize::from(columns), usize::from(rows)),
        _ => SIZE,
    }
}

fn print(text: &str) -> Result<bool> {
    write(format!("{text}\n").as_bytes())
}

fn write(bytes: &[u8]) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        // The reader has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e).or_failed(|| "cannot write the status"),
    }
}
