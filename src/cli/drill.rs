//! `drill`: predicts a swarm's run from declared lines.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;

use super::{
    Session,
    values::{Rate, Size},
    words,
};
use crate::{
    app::drill::{self, Link, NODES_MAX, Plan, Prediction},
    base::{Context, Error, Result, durable, files, task::CancellationToken},
};

/// Bytes of a file with links: some hundred lines.
const LINKS_FILE_SIZE_BYTES_MAX: usize = 256 << 10;
/// Validators and bytes where nothing is said of them.
pub(crate) const PEERS: u16 = 4;
pub(crate) const SIZE_BYTES: u64 = 10 << 30;

/// Flags of `drill`.
#[derive(Debug, Args)]
#[command(after_help = "A file with links has one node a line, and # before what is no link:\n\n  \
    # name        up    down\n  \
    lead          1G    1G     seed\n  \
    validator-1   200M  1G\n  \
    validator-2   25M   100M   joins=600\n\n\
    Rates are bits a second, in powers of 1000. joins= and leaves= are seconds after the beginning.\n\n\
    Example:\n  regenesis drill --peers 50 --up 200M --down 1G --size 50G")]
pub(crate) struct DrillArgs {
    #[command(flatten)]
    links: LinkArgs,
    /// Draw when each node ends, as an SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Which nodes there are, on which lines, and how much goes over them.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Validators that fetch, each on a line of --up and --down [default: 4, or as many as the manifest names]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..NODES_MAX as i64), conflicts_with = "links")]
    peers: Option<u16>,
    /// Uplink of each, in bits a second
    #[arg(long, value_name = "RATE", default_value = "100M", conflicts_with = "links")]
    up: Rate,
    /// Downlink of each
    #[arg(long, value_name = "RATE", default_value = "1G", conflicts_with = "links")]
    down: Rate,
    /// Uplink of the lead [default: as --up]
    #[arg(long, value_name = "RATE", conflicts_with = "links")]
    seed_up: Option<Rate>,
    /// Take nodes and lines from this file
    #[arg(long, value_name = "FILE")]
    links: Option<PathBuf>,
    /// How large the files are together [default: 10G, or what the manifest says]
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// What chance begins with: the same number gives the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed_rng: u64,
}

impl DrillArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let prediction = predict(self.links.plan(PEERS, SIZE_BYTES)?, &session.cancel).await?;
        if let Some(path) = &self.svg {
            durable::write_atomically(path, words::drill::svg(&prediction).as_bytes(), 0o644)?;
        }
        session.output.result(&prediction)
    }
}

/// Predicts beside whatever else goes on.
pub(crate) async fn predict(plan: Plan, cancel: &CancellationToken) -> Result<Prediction> {
    let cancel = cancel.clone();
    let work = move || drill::predict(&plan, &cancel);
    tokio::task::spawn_blocking(work).await.or_failed(|| "the drill ended unexpectedly")?
}

impl LinkArgs {
    /// What is to be predicted; so many validators and bytes where nothing else is said.
    pub(crate) fn plan(&self, peers: u16, size_bytes: u64) -> Result<Plan> {
        let links = match &self.links {
            Some(path) => read_links_of(path)?,
            None => self.equal_links(peers),
        };
        Ok(Plan { links, size_bytes: self.size.map_or(size_bytes, |size| size.0), rng_seed: self.seed_rng })
    }

    fn equal_links(&self, peers: u16) -> Vec<Link> {
        let link =
            |name: String, seed, up: Rate| Link { name, seed, up: up.0, down: self.down.0, joins: 0.0, leaves: None };
        let lead = link("lead".to_owned(), true, self.seed_up.unwrap_or(self.up));
        let peers = self.peers.unwrap_or(peers);
        std::iter::once(lead).chain((1..=peers).map(|n| link(format!("validator {n}"), false, self.up))).collect()
    }
}

/// Says in which file it is.
trait OfFile<T> {
    fn with_context_of(self, path: &Path) -> Result<T>;
}

impl<T> OfFile<T> for std::result::Result<T, String> {
    fn with_context_of(self, path: &Path) -> Result<T> {
        self.map_err(|why| Error::usage(format!("{}: {why}", path.display())))
    }
}

/// The nodes and lines that a file declares.
pub(crate) fn read_links_of(path: &Path) -> Result<Vec<Link>> {
    let bytes = files::read_bounded(path, LINKS_FILE_SIZE_BYTES_MAX, "a file with links")?;
    let text = String::from_utf8(bytes).map_err(|_| Error::usage("the file with links is no text"))?;
    read_links(&text).with_context_of(path)
}

fn read_links(text: &str) -> std::result::Result<Vec<Link>, String> {
    let mut links: Vec<Link> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        if line.trim().is_empty() {
            continue;
        }
        let link = read_link(line).map_err(|why| format!("line {}: {why}", number + 1))?;
        if links.iter().any(|other| other.name == link.name) {
            return Err(format!("line {}: there is another {}", number + 1, link.name));
        }
        links.push(link);
        if links.len() > NODES_MAX {
            return Err(format!("more than {NODES_MAX} nodes"));
        }
    }
    Ok(links)
}

fn read_link(line: &str) -> std::result::Result<Link, String> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(up), Some(down)) = (words.next(), words.next(), words.next()) else {
        return Err("expected a name, an uplink and a downlink".to_owned());
    };
    let name = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let mut link =
        Link { name, seed: false, up: Rate::from_str(up)?.0, down: Rate::from_str(down)?.0, joins: 0.0, leaves: None };
    for word in words {
        let seconds = |text: &str| match text.parse::<f64>() {
            Ok(seconds) if (0.0..1e8).contains(&seconds) => Ok(seconds),
            _ => Err(format!("expected seconds, not {text}")),
        };
        match word.split_once('=') {
            None if word == "seed" => link.seed = true,
            Some(("joins", text)) => link.joins = seconds(text)?,
            Some(("leaves", text)) => link.leaves = Some(seconds(text)?),
            _ => return Err(format!("expected seed, joins=SECONDS or leaves=SECONDS, not {word}")),
        }
    }
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read() {
        let links = read_links("# all\nlead 1G 1G seed leaves=90 # the lead\n\nv1 25M 100M joins=60\n").unwrap();
        let lead = Link { name: "lead".into(), seed: true, up: 1e9, down: 1e9, joins: 0.0, leaves: Some(90.0) };
        let v1 = Link { name: "v1".into(), seed: false, up: 25e6, down: 100e6, joins: 60.0, leaves: None };
        assert_eq!(links, [lead, v1]);
        for (bad, why) in [
            ("a 1G", "line 1: expected a name"),
            ("\na x 1G", "line 2: expected a rate"),
            ("a 1G 1G sed", "not sed"),
            ("a 1G 1G joins=soon", "expected seconds"),
            ("a 1G 1G\na 1G 1G", "line 2: there is another a"),
        ] {
            let said = read_links(bad).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let many: String = (0..=NODES_MAX).map(|n| format!("v{n} 1G 1G\n")).collect();
        assert!(read_links(&many).is_err());
    }
}
