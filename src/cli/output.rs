//! stdout carries the result and nothing else; errors and the log go to stderr.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

use super::{ColorChoice, Globals, LogFormat, OutputFormat, Screen, words};
use crate::base::{Context, Error, Kind, Result};

/// How an error of the system ends that comes of `ulimit -f`.
const FILE_TOO_LARGE: &str = "(os error 27)";

/// Prints a command's result on stdout, in the chosen form.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    format: OutputFormat,
    /// Whether the one JSON object of the command was printed.
    printed: Arc<AtomicBool>,
    /// Where bars may stand that the result must not run into.
    screen: Screen,
}

#[derive(Serialize)]
struct Envelope<T> {
    result: T,
    error: String,
}

impl Output {
    pub(crate) fn new(format: OutputFormat, screen: Screen) -> Self {
        Output { format, printed: Arc::default(), screen }
    }

    /// What stdout carries.
    pub(crate) fn format(&self) -> OutputFormat {
        self.format
    }

    /// Prints a command's one result.
    pub(crate) fn result<T: Serialize + Display>(&self, value: &T) -> Result<()> {
        self.print(value, String::new())
    }

    /// Prints the result of a command that has one and yet fails; gives the error back.
    pub(crate) fn result_with_error<T: Serialize + Display>(&self, value: &T, error: Error) -> Result<()> {
        self.print(value, error.chain().replace('\n', " "))?;
        Err(error)
    }

    fn print<T: Serialize + Display>(&self, value: &T, error: String) -> Result<()> {
        self.printed.store(true, Ordering::Relaxed);
        // A new key may stand in it.
        let text = Zeroizing::new(match self.format {
            OutputFormat::Text => value.to_string(),
            OutputFormat::Json => {
                let envelope = Envelope { result: value, error };
                serde_json::to_string_pretty(&envelope).or_failed(|| "cannot write the result as JSON")?
            }
        });
        let print = || {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush())
        };
        // A pipe that nobody reads holds up nothing that is drawn on the terminal.
        let written = if io::stdout().is_terminal() { self.screen.above(print) } else { print() };
        match written {
            // The reader has seen enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.or_failed(|| "cannot write the result"),
        }
    }

    /// Prints an error on stderr (and as JSON on stdout, if no result is there) and gives its exit code.
    pub(crate) fn error(&self, error: &Error) -> ExitCode {
        let chain = error.chain();
        if self.format == OutputFormat::Json && !self.printed.load(Ordering::Relaxed) {
            let envelope = Envelope { result: (), error: chain.replace('\n', " ") };
            let text = serde_json::to_string_pretty(&envelope).unwrap_or_default();
            let _ = writeln!(io::stdout().lock(), "{text}");
        }
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "error: {chain}");
        if chain.contains(FILE_TOO_LARGE) {
            let _ = writeln!(
                stderr,
                "  next: this process may not write larger files: raise or lift its limit (ulimit -f), then run it again"
            );
        } else if let Some(advice) = error.advice() {
            let _ = writeln!(stderr, "  next: {}", words::advice(advice));
        }
        ExitCode::from(error.kind().exit_code())
    }
}

/// Prints what clap says of the arguments, and gives the exit code: 0 for help and version.
pub(crate) fn usage_error(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 })
}

/// Whether what goes to stderr may be coloured, by the flag, the terminal and `NO_COLOR`.
pub(crate) fn colour(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Starts the log on stderr, by `REGENESIS_LOG` or `--verbose`; without both nothing is logged.
pub(crate) fn start_log(globals: &Globals, screen: &Screen) {
    let default = if globals.verbose { "regenesis=debug" } else { "off" };
    let filter = EnvFilter::try_from_env("REGENESIS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let screen = screen.clone();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || screen.clone())
        .with_ansi(colour(globals.color));
    // A second start only happens in tests.
    let _ = match globals.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
