//! What an operator sees: the real program on terminals of several widths, its screen read as a terminal shows it.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use kwil_formats::formats::Family;
use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::Signal,
        termios::{LocalFlags, tcgetattr},
    },
};
use vt100::{Parser, Screen};

use super::resume::large;
use crate::common::{LOOPBACK, Party};

/// Longer than anything takes on a busy machine; only a hang gets here.
const LIMIT: Duration = Duration::from_secs(180);
/// So many that nothing scrolls away.
const ROWS: u16 = 200;
/// What a keyboard sends for Ctrl-C.
const CTRL_C: &[u8] = &[3];

struct Shown {
    parser: Parser,
    /// The program has closed the terminal.
    closed: bool,
}

/// A program that has a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

impl Terminal {
    fn start(program: &Command, columns: u16) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        // A session of its own, whose terminal this is: Ctrl-C reaches it as from a keyboard.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("TERM", "xterm").current_dir(program.get_current_dir().unwrap());
        let screen = pty.slave;
        command.stdin(Stdio::from(screen.try_clone().unwrap())).stdout(Stdio::from(screen.try_clone().unwrap()));
        let child = command.stderr(Stdio::from(screen)).spawn().unwrap();
        drop(command);
        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().unwrap();
        let shown = Shown { parser: Parser::new(ROWS, columns, 0), closed: false };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let heard = shown.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end is an error on Linux.
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                heard.0.lock().unwrap().parser.process(&bytes[..length]);
                heard.1.notify_all();
            }
            heard.0.lock().unwrap().closed = true;
            heard.1.notify_all();
        });
        Terminal { child, keyboard, shown }
    }

    /// Waits until `look` finds something on the screen.
    #[track_caller]
    fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Screen) -> Option<T>) -> T {
        let mut found = None;
        let (shown, _) = self
            .shown
            .1
            .wait_timeout_while(self.shown.0.lock().unwrap(), LIMIT, |shown| {
                found = look(shown.parser.screen());
                found.is_none() && !shown.closed
            })
            .unwrap();
        let contents = shown.parser.screen().contents();
        drop(shown);
        found.unwrap_or_else(|| panic!("waited for {what}; the screen:\n{contents}"))
    }

    /// Waits for its end; gives the exit code and what stays on the screen.
    #[track_caller]
    fn finish(mut self) -> (i32, String) {
        let shown = self.shown.0.lock().unwrap();
        let (shown, late) = self.shown.1.wait_timeout_while(shown, LIMIT, |shown| !shown.closed).unwrap();
        let contents = shown.parser.screen().contents();
        drop(shown);
        assert!(!late.timed_out(), "it does not end; the screen:\n{contents}");
        let status = self.child.wait().unwrap();
        (status.code().or(status.signal().map(|s| 128 + s)).unwrap(), contents)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The row of a fetch's progress, which has the row for itself.
fn fetch_row(screen: &Screen) -> Option<String> {
    let (_, columns) = screen.size();
    let row = screen.rows(0, columns).find(|row| row.contains("fetch: "))?;
    assert!(row.starts_with("fetch: ") || row.starts_with('['), "something else stands there, too: {row}");
    assert!(row.trim_end().chars().count() < usize::from(columns), "it does not fit: {row}");
    Some(row)
}

#[test]
fn a_status_that_is_watched_is_drawn_in_its_place_on_a_terminal_of_any_width() {
    let lead = Party::new();
    lead.take_recording(Family::V09, "snaps");
    let publish = lead.publish("snaps");
    let ticket = publish.ticket();
    for columns in [60, 80, 200] {
        let command = lead.command(&["status", "--dir", "snaps", "--watch"]);
        let watch = Terminal::start(&command, columns);
        watch.wait_for("nobody", |screen| screen.contents().contains("members      0 here").then_some(()));
        let validator = Party::new();
        let fetch = validator.swarm(&["fetch", &ticket, "--dir", "into", "--linger", "1h"]);
        watch.wait_for("the member", |screen| {
            let all = screen.contents();
            if !all.contains("members      1 here") {
                return None;
            }
            // What stood there before is gone, and each line is one row.
            for once in ["as of ", "members ", "next "] {
                assert_eq!(all.lines().filter(|line| line.starts_with(once)).count(), 1, "{columns}: {all}");
            }
            all.lines().any(|line| line.starts_with("  peer ") && line.contains("100%")).then_some(())
        });
        (&watch.keyboard).write_all(CTRL_C).unwrap();
        let (code, left) = watch.finish();
        assert_eq!(code, 0, "{left}");
        fetch.stop(Signal::SIGTERM);
        let gone = Terminal::start(&command, columns);
        gone.wait_for("nobody", |screen| screen.contents().contains("members      0 here").then_some(()));
    }
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn no_bar_hides_what_is_said_on_a_terminal_of_any_width() {
    let (_lead, publish, ticket) = large();
    for columns in [60, 80, 200] {
        let validator = Party::new();
        validator.write("ticket.txt", format!("> the ticket: \"{ticket}\"\n"));
        let flags = ["join", "--ticket-file", "ticket.txt", "--root-dir", "root", "--new-key", "--linger", "none"];
        let command = validator.command(&[&flags[..], &LOOPBACK, &["--state-dir", "state"]].concat());
        let join = Terminal::start(&command, columns);

        // The lead stands still in the middle of it.
        join.wait_for("the fetch", |screen| screen.contents().contains("\nfetching").then_some(()));
        loop {
            publish.signal(Signal::SIGSTOP);
            let stalled =
                join.wait_for("a stall", |screen| fetch_row(screen).filter(|row| row.contains("stalled for")));
            if !stalled.contains("fetch: 0%") {
                break;
            }
            publish.signal(Signal::SIGCONT);
            join.wait_for("progress", |screen| fetch_row(screen).filter(|row| !row.contains("stalled for")));
        }
        (&join.keyboard).write_all(CTRL_C).unwrap();
        let (code, left) = join.finish();
        publish.signal(Signal::SIGCONT);
        assert_eq!(code, 130, "{left}");
        assert!(!left.contains("fetch: "), "the bar is still there: {left}");
        for words in ["error: interrupted before all was there", "  next: run the same command again"] {
            assert!(left.contains(words), "no {words:?}: {left}");
        }

        // The same command goes on, and what it says in the end is all there, too.
        let (code, left) = Terminal::start(&command, columns).finish();
        assert_eq!(code, 0, "{left}");
        assert!(left.contains("that are already here") && left.contains("state hash"), "{left}");
        assert!(!left.contains("fetch: ") && !left.contains("serve: "), "a bar is still there: {left}");
    }
    publish.stop(Signal::SIGTERM).done();
}

#[test]
fn a_passphrase_is_asked_for_on_the_terminal_and_not_shown() {
    let party = Party::new();
    party.take_recording(Family::V010, "snaps");
    party.run(&["manifest", "sign", "--snapdir", "snaps", "--key", "lead.key", "--state-dir", "state"]).done();
    let typed = |args: &[&str], passphrase: &str| {
        let args = [args, &["--passphrase-file", "-", "--state-dir", "state"]].concat();
        let terminal = Terminal::start(&party.command(&args), 80);
        terminal.wait_for("the question", |screen| {
            screen.contents().contains("type the passphrase of the media").then_some(())
        });
        (&terminal.keyboard).write_all(format!("{passphrase}\r").as_bytes()).unwrap();
        let (code, screen) = terminal.finish();
        assert!(!passphrase.split(' ').any(|word| screen.contains(word)), "{screen}");
        (code, screen)
    };
    let export = ["bundle", "export", "--dir", "snaps", "--to", "stick"];
    // None of its words is one of those that a manifest is called by, which stand on the screen, too.
    let (code, screen) = typed(&export, "Mumble7 Fumble8 Tumble9");
    assert!(code == 0 && screen.contains("safe to unmount"), "{screen}");
    let import = ["bundle", "import", "stick", "--dir", "out"];
    let (code, screen) = typed(&import, "Mumble7 Rumble8 Tumble9");
    assert!(code == 3 && screen.contains("another passphrase"), "{screen}");
    let (code, screen) = typed(&import, "Mumble7 Fumble8 Tumble9");
    assert!(code == 0 && party.read("out/snapshot.sql.gz") == party.read("snaps/snapshot.sql.gz"), "{screen}");
    // Ctrl-C ends the question, and the terminal shows again what is typed.
    let args = [&import[..], &["--passphrase-file", "-", "--state-dir", "state"]].concat();
    let terminal = Terminal::start(&party.command(&args), 80);
    terminal.wait_for("the question", |screen| {
        screen.contents().contains("type the passphrase of the media").then_some(())
    });
    let shows = || tcgetattr(&terminal.keyboard).unwrap().local_flags.contains(LocalFlags::ECHO);
    assert!(!shows());
    (&terminal.keyboard).write_all(CTRL_C).unwrap();
    terminal.wait_for("what to do next", |screen| screen.contents().contains("next: ").then_some(()));
    let keyboard = terminal.keyboard.try_clone().unwrap();
    let (code, screen) = terminal.finish();
    assert_eq!(code, 130, "{screen}");
    assert!(tcgetattr(&keyboard).unwrap().local_flags.contains(LocalFlags::ECHO), "{screen}");
}
