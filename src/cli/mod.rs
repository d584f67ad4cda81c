//! Arguments in, words out. One file per command: what was typed, `run`, and the words of its result.
//! The only place that names clap and prints.

mod attest;
mod bind;
mod bundle;
mod clean;
mod completions;
mod config;
mod config_flags;
mod cosign;
mod database;
mod defaults;
mod demo;
mod digest;
mod drill;
mod evidence;
mod genesis;
mod genesis_flags;
mod genesis_values;
mod guide;
mod join;
mod key;
mod man;
mod manifest;
mod meter;
mod output;
mod plan;
mod progress;
mod publish;
mod report;
mod revoke;
mod screen;
mod service;
mod setup;
mod setup_check;
mod setup_confirm;
mod setup_genesis;
mod setup_init;
mod setup_restore;
mod setup_testnet;
mod signals;
mod snapshot;
mod spelled;
mod status;
mod swarm;
mod ticket;
mod values;
mod wait;
mod words;

use std::{
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use defaults::Defaults;
pub(crate) use output::Output;
use screen::Screen;
use service::Service;
#[doc(hidden)]
pub use spelled::{misspelt, unknown_flags};

use crate::{
    app::{
        events::Notifier,
        status::{Board, Role},
    },
    base::{Progress, Result, task::CancellationToken},
};

/// What `--version` prints after the program's name: version, commit, and features that are built in.
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("REGENESIS_COMMIT"), "; features: ", env!("REGENESIS_FEATURES"), ")");

/// Moves a Kwil network to a new genesis, peer-to-peer.
#[derive(Debug, Parser)]
#[command(
    name = "regenesis",
    version = VERSION,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Two commands make a migration:\n  \
        lead$       regenesis publish --dbname kwild --user kwild --key lead.key --snapdir ./network_snapshot\n  \
        validator$  regenesis join --ticket-file ticket.txt --root-dir ~/.kwild-new --key-file ./private_key\n\n\
        Step by step: regenesis guide lead, regenesis guide validator, regenesis guide relay\n\
        Try it on this machine first: regenesis demo"
)]
struct Program {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// What stdout carries: words for people, or one JSON object {"result": …, "error": ""}
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text, hide_possible_values = true, value_name = "text|json")]
    output: OutputFormat,
    /// Less on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// As --quiet (Kwil's spelling)
    #[arg(short = 'S', long, global = true, hide = true)]
    silence: bool,
    /// More on stderr
    #[arg(long, global = true)]
    verbose: bool,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum, default_value_t = ProgressStyle::Auto, hide_possible_values = true, value_name = "auto|bar|plain|json|none")]
    progress: ProgressStyle,
    /// Colour on stderr; NO_COLOR is respected
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, hide_possible_values = true, value_name = "auto|always|never")]
    color: ColorChoice,
    /// Form of the log on stderr (what is logged: REGENESIS_LOG, a tracing filter)
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, hide_possible_values = true, value_name = "text|json")]
    log_format: LogFormat,
    /// File with values of flags that are not typed [default: regenesis/regenesis.toml in ~/.config, then in /etc]
    #[arg(long, global = true, value_name = "FILE", env = defaults::VARIABLE, hide_env = true)]
    config: Option<PathBuf>,
}

impl Globals {
    /// Whether only warnings and errors are told.
    fn is_quiet(&self) -> bool {
        self.quiet || self.silence
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    Auto,
    Bar,
    Plain,
    Json,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What a running command has at hand to print, tell and be ended with.
#[derive(Debug)]
pub(crate) struct Session {
    /// Prints the command's result on stdout.
    pub(crate) output: Output,
    /// Tells the command's progress on stderr.
    pub(crate) progress: Progress,
    /// Where the command writes down how it stands, for those who ask.
    pub(crate) board: Board,
    /// What files say of flags that are not typed.
    pub(crate) defaults: Defaults,
    /// The service manager, if one started this process.
    pub(crate) service: Service,
    /// Tells a program what happens, if one is named.
    notifier: OnceLock<Notifier>,
    /// Token that the first signal cancels; commands end with an error then.
    pub(crate) cancel: CancellationToken,
    /// The first signal that came; 0 before.
    signal: Arc<AtomicU8>,
    /// The exit code of a command that goes well.
    code: AtomicU8,
}

impl Session {
    /// The number of the first signal that came; 0 before.
    pub(crate) fn signal(&self) -> u8 {
        self.signal.load(Ordering::SeqCst)
    }

    /// From now on the program with these arguments is told what happens; none where there are none.
    pub(crate) fn tell_events(&self, argv: Vec<OsString>) -> Result<()> {
        if !argv.is_empty() && self.notifier.get().is_none() {
            let notifier = Notifier::start(argv, &self.board, &self.progress)?;
            // Nobody else starts one meanwhile: a command enters one swarm.
            let _ = self.notifier.set(notifier);
        }
        Ok(())
    }

    /// The command goes well, and its exit code is that of a program that it started.
    pub(crate) fn end_with(&self, code: u8) {
        self.code.store(code, Ordering::SeqCst);
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lead: snapshot the old database, sign it, serve it, print the ticket
    Publish(Box<publish::PublishArgs>),
    /// Validator: fetch what a ticket names, verify it, and set the new node's root up
    Join(Box<join::JoinArgs>),
    /// Serve a directory that is complete and signed; prints the ticket
    Seed(Box<swarm::SeedArgs>),
    /// Fetch and verify what a ticket names, without setting anything up
    Fetch(Box<swarm::FetchArgs>),
    /// Fetch what a ticket names and serve it on, without being a validator; prints a ticket that leads here
    Relay(Box<swarm::RelayArgs>),
    /// Block until a swarm can do without its lead, or until enough validators are ready; write the certificate
    Wait(Box<wait::WaitArgs>),
    /// Show who has how much, who has confirmed, who is ready, when it ends, and what that hangs on
    Status(Box<status::StatusArgs>),
    /// Carry a migration on removable media: out, in, and the small way back
    #[command(subcommand, arg_required_else_help = true)]
    Bundle(bundle::BundleCommand),
    /// Make and check snapshots
    #[command(subcommand, arg_required_else_help = true)]
    Snapshot(snapshot::SnapshotCommand),
    /// Sign, read and check the manifest: what the files are, and whose word that is
    #[command(subcommand, arg_required_else_help = true)]
    Manifest(manifest::ManifestCommand),
    /// Check a certificate that a network is ready, or a proof against a lead
    #[command(subcommand, arg_required_else_help = true)]
    Evidence(evidence::EvidenceCommand),
    /// Read a ticket: which network and manifest, whom it trusts, where it leads
    #[command(subcommand, arg_required_else_help = true)]
    Ticket(ticket::TicketCommand),
    /// Read, edit and check a genesis of either family
    #[command(subcommand, arg_required_else_help = true)]
    Genesis(genesis::GenesisCommand),
    /// Make a node's root from files
    #[command(subcommand, arg_required_else_help = true)]
    Setup(setup::SetupCommand),
    /// Make and read keys of both families
    #[command(subcommand, arg_required_else_help = true)]
    Key(key::KeyCommand),
    /// List what killed runs have left, and remove it when asked
    Clean(clean::CleanArgs),
    /// Predict how long a swarm takes on declared lines, and what holds it up
    Drill(drill::DrillArgs),
    /// Tell what a run was like, from the logs that its nodes keep: who had what when, from whom, who was last, and why
    Report(report::ReportArgs),
    /// Write what the lead posts to the validators: times, six words, who must attest, everyone's commands, the way back
    Plan(plan::PlanArgs),
    /// The steps of a part in a migration, with commands to copy: guide lead, guide validator, guide relay
    Guide(guide::GuideArgs),
    /// Show a whole migration on this machine, on a throw-away Postgres
    Demo(demo::DemoArgs),
    /// Print what a shell completes: completions bash, completions zsh, completions fish
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write those of all commands into a directory
    Man(man::ManArgs),
    /// Say where the values of flags come from that are not typed: regenesis.toml, variables
    #[command(subcommand, arg_required_else_help = true)]
    Config(config::ConfigCommand),
}

impl Command {
    /// The part that the command has in a swarm, where it enters one.
    fn role(&self) -> Role {
        match self {
            Command::Publish(_) => Role::Publish,
            Command::Join(_) => Role::Join,
            Command::Seed(_) => Role::Seed,
            Command::Fetch(_) => Role::Fetch,
            Command::Relay(_) => Role::Relay,
            _ => Role::Watch,
        }
    }

    async fn run(self, session: &Session) -> Result<()> {
        match self {
            Command::Publish(args) => args.run(session).await,
            Command::Join(args) => args.run(session).await,
            Command::Seed(args) => args.run(session).await,
            Command::Fetch(args) => args.run(session).await,
            Command::Relay(args) => args.run(session).await,
            Command::Wait(args) => args.run(session).await,
            Command::Status(args) => args.run(session).await,
            Command::Bundle(command) => command.run(session).await,
            Command::Snapshot(command) => command.run(session).await,
            Command::Manifest(command) => command.run(session).await,
            Command::Evidence(command) => command.run(session).await,
            Command::Ticket(command) => command.run(session).await,
            Command::Genesis(command) => command.run(session).await,
            Command::Setup(command) => command.run(session).await,
            Command::Key(command) => command.run(session).await,
            Command::Clean(args) => args.run(session).await,
            Command::Drill(args) => args.run(session).await,
            Command::Report(args) => args.run(session).await,
            Command::Plan(args) => args.run(session).await,
            Command::Guide(args) => args.run(session).await,
            Command::Demo(args) => args.run(session).await,
            Command::Completions(args) => args.run(session).await,
            Command::Man(args) => args.run(session).await,
            Command::Config(command) => command.run(session).await,
        }
    }
}

/// Parses the arguments, runs the command, prints its error if there is one, and gives the exit code that belongs to
/// it.
pub fn main() -> ExitCode {
    let (matches, defaults) = match read_arguments() {
        Ok(read) => read,
        Err(code) => return code,
    };
    let program = match Program::from_arg_matches(&matches) {
        Ok(program) => program,
        Err(e) => return output::usage_error(&e),
    };
    let globals = &program.globals;
    let screen = Screen::new(globals);
    output::start_log(globals, &screen);
    let output = Output::new(globals.output, screen.clone());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let error = crate::base::Error::failed("cannot start the runtime").because(e);
            return output.error(&error);
        }
    };
    let code = runtime.block_on(async {
        let signals = signals::Signals::install();
        let board = Board::new(program.command.role());
        let is_story = matches!(program.command, Command::Demo(_));
        let (service, told) = Service::start();
        service.watch(&board);
        let mut session = Session {
            output: output.clone(),
            progress: board.tap(&service.tap(&progress::sink(globals, &screen, is_story))),
            service,
            notifier: OnceLock::new(),
            board,
            defaults,
            cancel: signals.cancel.clone(),
            signal: signals.seen(),
            code: AtomicU8::new(0),
        };
        let result = program.command.run(&session).await;
        told.end(&session.service);
        if let Some(notifier) = session.notifier.take() {
            notifier.finish(session.signal() != 0).await;
        }
        // No bar hides the error or what to do about it.
        screen.close();
        match result {
            Ok(()) => ExitCode::from(session.code.load(Ordering::SeqCst)),
            Err(e) => output.error(&signals.explain(e)),
        }
    });
    // A blocking thread stuck in a system call must not hold up the exit.
    runtime.shutdown_background();
    code
}

/// What is typed, with what variables and files say of the rest; an exit code where that cannot be, or nothing more is to be done.
fn read_arguments() -> Result<(ArgMatches, Defaults), ExitCode> {
    let plain = values::expand_paths(Program::command());
    let command = defaults::with_variables(plain.clone());
    let parse = |command: clap::Command| command.try_get_matches().map_err(|e| output::usage_error(&e));
    let Ok(given) = defaults::without_demands(command.clone()).try_get_matches() else {
        // Help, the version, or what no file can put right.
        return parse(command).map(|matches| (matches, Defaults::default()));
    };
    let named = given.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let read = Defaults::read(named, &plain);
    let applied = read.and_then(|defaults| defaults.apply(command, &given).map(|command| (command, defaults)));
    match applied {
        Ok((command, defaults)) => parse(command).map(|matches| (matches, defaults)),
        Err(e) => {
            let format = given.get_one("output").copied().unwrap_or(OutputFormat::Text);
            Err(Output::new(format, Screen::without_lines()).error(&e))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_well_formed() {
        defaults::with_variables(values::expand_paths(Program::command())).debug_assert();
    }

    #[test]
    fn the_version_names_the_features() {
        let version = Program::command().render_version();
        let features = if cfg!(feature = "isal") { "; features: isal)" } else { "; features: none)" };
        assert!(version.trim_end().ends_with(features), "{version}");
    }
}
