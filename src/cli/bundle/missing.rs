//! `bundle missing`: the way back of an air gap.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

use clap::Args;

use crate::{
    app::bundle,
    base::{Error, Result, durable},
    bundle::missing::{Fit, Picture, as_png, pictures},
    cli::{
        Session,
        words::media::{self, ShownMissing},
    },
};

/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;

#[derive(Debug, Args)]
#[command(
    after_help = "Whoever has the chunks gives it to `regenesis bundle export --missing-from FILE --dir DIR --to MEDIUM`.\n\n\
    Examples:\n  regenesis bundle missing --dir ./new -o missing.bin\n  \
    regenesis bundle missing --dir ./new\n  \
    regenesis bundle missing --dir ./new --svg -o missing.svg\n  \
    regenesis bundle missing --dir ./new --png -o missing.png"
)]
pub(crate) struct MissingArgs {
    /// The directory that is incomplete
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where it is written; without this it is printed, as lines
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// As lines that can be typed or read over the telephone; a wrong letter is found by whoever reads them in
    #[arg(long, conflicts_with_all = ["qr", "svg", "png"])]
    text: bool,
    /// As codes of pixels on the terminal, to photograph
    #[arg(long, conflicts_with_all = ["svg", "png"])]
    qr: bool,
    /// As codes of pixels in a picture, to print
    #[arg(long, conflicts_with = "png")]
    svg: bool,
    /// As codes of pixels in a picture, to send or to show
    #[arg(long = "png", id = "png", requires = "out")]
    pixels: bool,
}

impl MissingArgs {
    pub(crate) fn run(self, session: &Session) -> Result<()> {
        let missing = bundle::missing(&self.dir)?;
        let draw = |fit| {
            pictures(&missing.lines, fit).map_err(|e| {
                Error::failed(e.to_string()).hint("write a file instead: -o FILE, or print the codes: --svg -o FILE")
            })
        };
        if let (true, Some(path)) = (self.pixels, &self.out) {
            durable::write_atomically(path, &as_png(&draw(Fit::Paper)?)?, 0o644)?;
            return session.output.result(&ShownMissing { missing, file: self.out, body: None });
        }
        let body = if self.qr {
            on_screen(&draw(Fit::Columns(columns()))?, self.out.is_none() && io::stdout().is_terminal())
        } else if self.svg {
            media::missing_svg(&missing, &draw(Fit::Paper)?)
        } else {
            media::missing_text(&missing)
        };
        let Some(path) = self.out else {
            return session.output.result(&ShownMissing { missing, file: None, body: Some(body) });
        };
        let bytes = if self.qr || self.svg || self.text { body.as_bytes() } else { &missing.file };
        durable::write_atomically(&path, bytes, 0o644)?;
        session.output.result(&ShownMissing { missing, file: Some(path), body: None })
    }
}

fn columns() -> u16 {
    console::Term::stdout().size_checked().map_or(COLUMNS, |(_, columns)| columns)
}

/// Codes one below the other. On a terminal their colours are set: on a light one they would be read the wrong way round.
fn on_screen(pictures: &[Picture], coloured: bool) -> String {
    let mut out = String::new();
    for (at, picture) in pictures.iter().enumerate() {
        out += &format!("{}\n", media::words_of_code(at, pictures.len(), picture));
        for row in picture.rows() {
            out += &if coloured { format!("\u{1b}[97;40m{row}\u{1b}[0m\n") } else { row + "\n" };
        }
    }
    out
}
