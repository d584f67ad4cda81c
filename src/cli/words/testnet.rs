//! What `setup testnet` tells of a network that it made.

use std::fmt;

use kwil_formats::formats::Family;

use super::advice;
use crate::{app::testnet::Testnet, base::text};

impl fmt::Display for Testnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.directory.display();
        match self.family {
            Family::V09 => writeln!(f, "Successfully initialized {} node directories: {place}", self.nodes.len())?,
            Family::V010 => writeln!(f, "Generated testnet configuration in {place}")?,
        }
        writeln!(f, "  network {} ({})", text::escape(&self.chain_id), self.family)?;
        if let Some(hash) = &self.state_hash {
            writeln!(f, "  state hash {hash}")?;
        }
        for node in &self.nodes {
            let part = match (node.leader, node.validator) {
                (true, _) => "leader",
                (_, true) => "validator",
                _ => "follows",
            };
            let name = node.root.file_name().unwrap_or_default().to_string_lossy();
            writeln!(f, "  {name:<8} {part:<9} peers {}  RPC {}", node.address, node.rpc_port)?;
            writeln!(f, "  {:<8} database {}", "", node.database)?;
        }
        if self.rehearsal {
            writeln!(
                f,
                "Validators of the given genesis were replaced by these nodes, each of power 1, and the network has the \
                 name above: its transactions are none of the real network's."
            )?;
        }
        let many = self.nodes.len() > 1;
        writeln!(f, "{}", if many { "Next, for each node:" } else { "Next:" })?;
        for node in &self.nodes {
            if many {
                writeln!(f, "{}:", node.root.file_name().unwrap_or_default().to_string_lossy())?;
            }
            for step in &node.next {
                writeln!(f, "  {}", advice(step))?;
            }
        }
        if self.shared && many && self.family == Family::V09 {
            writeln!(
                f,
                "On one Postgres server, v0.9 nodes of a new network can wait for each other for ever: start one, wait for \
                 \"ABCI application is ready\" in its log, stop it, do the next, then start all together."
            )?;
        }
        Ok(())
    }
}
