//! What the demo tells at its end.

use std::fmt;

use crate::{
    app::demo::{Demonstration, Migration},
    base::text,
};

impl fmt::Display for Demonstration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for migration in &self.families {
            write!(f, "{migration}")?;
        }
        match &self.kept {
            Some(directory) => {
                writeln!(
                    f,
                    "everything is in {}; the throw-away Postgres is gone, so before a node",
                    directory.display()
                )?;
                writeln!(f, "starts, its config.toml needs a database of your own (empty)")?;
            }
            None => writeln!(f, "nothing is left running, and the files are removed (--keep DIR keeps them)")?,
        }
        Ok(())
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, old, new) = (self.family, text::escape(&self.old_chain_id), text::escape(&self.chain_id));
        writeln!(f, "{family}: {old} -> {new}, {} to each in {:.1} s", text::bytes(self.bytes), self.seconds)?;
        let who = self.validators.iter().map(|v| v.who.len()).max().unwrap_or(0).max(3);
        writeln!(f, "  {:who$}  {:>7}  {:>6}  {:>8}  {:16}  root", "who", "seconds", "MB/s", "sources", "state hash")?;
        for one in &self.validators {
            let rate = one.megabytes_per_second.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
            let sources = if one.lead { "database".to_owned() } else { one.sources.to_string() };
            let hash = &one.state_hash.to_string()[..16];
            let (name, seconds, root) = (&one.who, one.seconds, one.root.display());
            writeln!(f, "  {name:who$}  {seconds:>7.1}  {rate:>6}  {sources:>8}  {hash:16}  {root}")?;
        }
        writeln!(f, "  every state hash is {}", self.state_hash)?;
        writeln!(f, "  the roots are equal but for key and ports")?;
        writeln!(f, "  next, on each validator's machine:")?;
        for one in &self.validators {
            writeln!(f, "    {:who$}  {}", one.who, one.next)?;
        }
        writeln!(f)
    }
}
