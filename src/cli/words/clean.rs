//! What `clean` tells of what was left behind.

use std::fmt;

use crate::{app::clean::Cleaned, base::text};

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for held in &self.held {
            writeln!(f, "in use       {}", held.display())?;
        }
        let word = if self.removed { "removed" } else { "left behind" };
        for left in &self.left {
            writeln!(f, "{word:<12} {} ({})", left.path.display(), text::bytes(left.bytes))?;
        }
        match (self.left.is_empty(), self.removed) {
            (true, _) => writeln!(f, "nothing was left behind"),
            (false, true) => Ok(()),
            (false, false) => writeln!(f, "Nothing was removed; the same with --yes removes what was left behind."),
        }
    }
}
