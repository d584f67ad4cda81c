//! A genesis and its snapshot together: what was found in the file, and whether the two belong to each other.

#[cfg(test)]
mod tests;

use crate::{
    base::{Finding, Level, Sha256Hash, text::escape},
    dump::scan::{ScanError, ScanReport},
    formats::{
        Family,
        genesis::{
            Genesis,
            lint::{Build, LintOptions, Linted, codes, lint_with},
        },
    },
};

/// What was found in a snapshot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintedSnapshot {
    /// The file's name, without its directory.
    pub name: String,
    /// How it is packed.
    pub packing: Packing,
    /// What is in it, or why it cannot be read to its end.
    pub contents: Result<Contents, String>,
}

/// How a snapshot file is packed, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A gzip stream, as a snapshot should be.
    Gzip,
    /// Plain SQL text.
    Plain,
    /// Something else, by its name.
    Other(&'static str),
}

/// The text of a snapshot that could be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// SHA-256 of the text.
    pub state_hash: Sha256Hash,
    /// Its statements, or the first that does not belong.
    pub scan: Result<ScanReport, ScanError>,
    /// The text begins with a `\restrict` line.
    pub restrict: bool,
    /// Hashes that are easily taken for the state hash, with words for each; only where the state hash is not the one wanted.
    pub mistaken: Vec<(Sha256Hash, &'static str)>,
}

/// TRUF's tables of the reward extension, which upstream does not have.
const TRUF_TABLE: &str = "kwil_erc20_meta.transaction_history";

/// Looks at the bytes of a genesis file, and at it and its snapshot together where it can be read.
pub fn lint_pair(bytes: &[u8], options: &LintOptions, facts: &LintedSnapshot) -> Linted {
    lint_with(bytes, options, |genesis, found| lint_snapshot(genesis, facts, options, found))
}

fn lint_snapshot(genesis: &Genesis, facts: &LintedSnapshot, options: &LintOptions, found: &mut Vec<Finding>) {
    let hash_path = match genesis.family() {
        Family::V09 => "app_hash",
        Family::V010 => "state_hash",
    };
    // A snapshot is given: a genesis that pins none is more than a remark.
    for finding in found.iter_mut().filter(|finding| finding.code == codes::NO_STATE_HASH.name) {
        finding.level = Level::Error;
        finding.text =
            "is not set: kwild would ignore this snapshot without a word and start an empty chain".to_owned();
    }
    let file = escape(&facts.name);
    if !packing(facts, &file, found) {
        return;
    }
    let contents = match &facts.contents {
        Ok(contents) => contents,
        Err(why) => {
            found.push(codes::SNAPSHOT_DAMAGED.error(&file, why));
            return;
        }
    };
    if let Some(wanted) = genesis.state_hash().filter(|wanted| *wanted != contents.state_hash) {
        let taken =
            contents.mistaken.iter().find(|(hash, _)| *hash == wanted).map(|(_, what)| format!(": it is {what}"));
        let text =
            format!("is {wanted}{}, but the text of {file} has {}", taken.unwrap_or_default(), contents.state_hash);
        found.push(codes::SNAPSHOT_HASH.error(hash_path, text));
    }
    if contents.restrict {
        found.push(codes::RESTRICT.note(&file, "begins with a \\restrict line"));
    }
    let report = match &contents.scan {
        Ok(report) => report,
        Err(error) => {
            found.push(refused(error, &file));
            return;
        }
    };
    if report.family != genesis.family() {
        let text = format!("is of family {}, the genesis of {}", report.family, genesis.family());
        found.push(codes::FAMILY_MISMATCH.error(&file, text));
        return;
    }
    heights(genesis, report, &file, found);
    let rows = |table: &str| report.table_rows.get(table).copied().unwrap_or(0);
    if !report.guarded {
        let text = "has no guard: psql passes over a statement that fails, and kwild starts without its rows";
        found.push(codes::UNGUARDED.warning(&file, text));
    }
    if rows("kwild_voting.votes") > 0 && !report.guarded {
        let text = "holds votes without their voters: one foreign key cannot be made, which is expected";
        found.push(codes::VOTES.note(&file, text));
    }
    if let (Genesis::V010(genesis), true) = (genesis, report.table_rows.contains_key(TRUF_TABLE)) {
        truf(genesis.maa_activation_height, options, &file, found);
    }
}

/// Whether kwild unpacks the file by its name and packing; false where nothing inside can be judged.
fn packing(facts: &LintedSnapshot, file: &str, found: &mut Vec<Finding>) -> bool {
    let named_gzip = facts.name.ends_with(".gz");
    match facts.packing {
        Packing::Gzip if !named_gzip => {
            let text = "is a gzip file, but kwild unpacks only what is named .gz, in small letters";
            found.push(codes::SNAPSHOT_NAME.warning(file, text));
        }
        Packing::Plain if named_gzip => {
            found.push(codes::SNAPSHOT_NAME.error(file, "is named .gz but is no gzip file: kwild refuses it"));
        }
        Packing::Other(name) => {
            found.push(codes::SNAPSHOT_COMPRESSION.error(file, format!("is a {name} file; kwild reads gzip only")));
            return false;
        }
        Packing::Gzip | Packing::Plain => {}
    }
    true
}

/// Whether the kwild that shall start can continue a snapshot of TRUF's fork.
fn truf(maa_activation_height: i64, options: &LintOptions, file: &str, found: &mut Vec<Finding>) {
    match options.build {
        Some(Build::Upstream) => {
            found.push(codes::TRUF_SNAPSHOT.error(file, "is of TRUF's fork, and this kwild is not"));
        }
        Some(_) => {}
        None => found.push(codes::TRUF_SNAPSHOT.note(file, "is of TRUF's fork: only its own kwild can continue it")),
    }
    if maa_activation_height == 0 {
        let text = "is not set, and the snapshot is TRUF's: it must be the old network's, if that had one";
        found.push(codes::MAA_LOST.note("maa_activation_height", text));
    }
}

fn refused(error: &ScanError, file: &str) -> Finding {
    const PRIVATE: [&str; 5] =
        ["kwild_chain", "kwild_events", "kwild_peers", "kwild_migrations", "kwild_internal.sentry"];
    let code = if error.reason.contains("voters table holds rows") {
        codes::VOTERS_ROWS
    } else if error.reason.contains("no schema kwild_voting") {
        codes::NO_VOTING_SCHEMA
    } else if PRIVATE.iter().any(|name| error.statement.contains(name) || error.reason.contains(name)) {
        codes::PRIVATE_SCHEMA
    } else {
        codes::SNAPSHOT_STATEMENT
    };
    code.error(file, error.to_string())
}

fn heights(genesis: &Genesis, report: &ScanReport, file: &str, found: &mut Vec<Finding>) {
    let first = genesis.initial_height();
    let Some(height) = report.height else {
        found.push(codes::NO_HEIGHT_LINE.warning(file, "has not the last line that names the old height"));
        return;
    };
    let pending = report.table_rows.get("kwild_voting.resolutions").copied().unwrap_or(0);
    match genesis.family() {
        // A snapshot of a network that goes on counting takes nothing off.
        Family::V09 if height == 0 && first <= 1 => {
            let text = format!("is {first}, but the snapshot was made to go on counting from the old height");
            found.push(codes::INITIAL_HEIGHT.warning("initial_height", text));
        }
        Family::V09 if height > 0 && first > 1 => {
            let text = format!(
                "is {first}, but the snapshot takes {height} blocks off the expiry of {pending} pending resolutions, as \
                 if blocks were counted from 1"
            );
            let level = if pending > 0 { Level::Error } else { Level::Note };
            found.push(Finding { level, ..codes::EXPIRY_TWICE.error("initial_height", text) });
            if first != height + 1 {
                let text = format!("is {first}; the block after the old network's last is {}", height + 1);
                found.push(codes::INITIAL_HEIGHT.warning("initial_height", text));
            }
        }
        Family::V010 if height <= 0 => {
            found.push(codes::EMPTY_CHAIN.warning(file, "was made of a chain without a block"));
        }
        Family::V010 if first != 0 && first != height => {
            let text = format!("is {first}; to go on counting it must be the old network's last block, {height}");
            found.push(codes::INITIAL_HEIGHT.warning("initial_height", text));
        }
        _ => {}
    }
}
