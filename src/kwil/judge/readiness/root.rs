//! The node's root directory.

use super::{super::quote::shell_word, Check, Expected, Remedy, error, note, warning};
use crate::{
    base::{
        Next,
        text::{bytes, escape},
    },
    formats::{Family, GENESIS_STATE_FILE_NAME},
};

/// The root's config.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootConfig {
    /// The root has no config.toml; kwild takes its defaults.
    Missing,
    /// It cannot be read, for this reason.
    Bad(String),
    /// It was read.
    Good {
        /// The family that the file is of.
        family: Family,
        /// Its mode.
        mode: u32,
        /// A password stands in it.
        has_secret: bool,
        /// Keys that kwild refuses.
        unknown: Vec<String>,
    },
}

/// The root's genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootGenesis {
    /// The root has no genesis.
    Missing,
    /// It cannot be read, for this reason.
    Bad(String),
    /// It was read.
    Good {
        /// The family that the file is of.
        family: Family,
        /// The network.
        chain_id: String,
        /// Whether it pins a snapshot.
        state_hash: Option<String>,
        /// What kwild refuses in it.
        wrong: Option<String>,
    },
}

/// The snapshot that config.toml names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootState {
    /// config.toml names no snapshot.
    NotNamed {
        /// One lies in the root all the same.
        lies_there: bool,
    },
    /// The file cannot be read, for this reason.
    Bad {
        /// Where it should be.
        path: String,
        /// Why.
        why: String,
    },
    /// It is there.
    File {
        /// Where.
        path: String,
        /// Its size.
        size_bytes: u64,
        /// It begins as gzip does.
        gzip: bool,
    },
}

/// The node's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKey {
    /// The file cannot be read, for this reason.
    Bad {
        /// Where it should be.
        path: String,
        /// Why.
        why: String,
    },
    /// It was read.
    Good {
        /// Where.
        path: String,
        /// Its mode.
        mode: u32,
        /// Its place among the validators, in words.
        seat: Option<String>,
    },
}

/// What a look at a root saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The root is no directory, or cannot be looked into, for this reason.
    Bad {
        /// Its path.
        path: String,
        /// Why.
        why: String,
    },
    /// A directory.
    There {
        /// Its path.
        path: String,
        /// This user may write into it.
        writable: bool,
        /// Its config.toml.
        config: RootConfig,
        /// Its genesis.
        genesis: RootGenesis,
        /// Its snapshot.
        state: RootState,
        /// Its key.
        key: RootKey,
    },
}

/// What follows.
pub fn judge_root(root: &Root, expected: Expected) -> Vec<Check> {
    let (path, writable, config, genesis, state, key) = match root {
        Root::Bad { path, why } => {
            let text = format!("{}: {why}; kwild would not start from it", escape(path));
            return vec![error("root", text).at(path.clone()).fix(Next::MakeRoot).into()];
        }
        Root::There { path, writable, config, genesis, state, key } => (path, writable, config, genesis, state, key),
    };
    let mut checks = Vec::new();
    checks.push(if *writable {
        Check::good("root", format!("{} is there and can be written", escape(path)))
    } else {
        let text = format!("this user may not write into {}; kwild keeps its blocks there and would end", escape(path));
        let fix = format!("run this check as the user that kwild runs as; or chown -R USER {}", shell_word(path));
        error("root", text).at(path.clone()).fix(fix).into()
    });
    checks.extend(judge_config(config, genesis, path));
    checks.extend(judge_genesis(genesis, expected));
    checks.extend(judge_state(state, genesis, expected));
    checks.extend(judge_key(key));
    if expected.started {
        let text = "the root holds blocks already: this node was started before, and its database belongs to them";
        checks.push(note("chain-data", text).fix("new root and empty database, always together").into());
    }
    checks
}

fn judge_config(config: &RootConfig, genesis: &RootGenesis, root: &str) -> Vec<Check> {
    let path = format!("{}/config.toml", root.trim_end_matches('/'));
    match config {
        RootConfig::Missing => {
            let text = "there is no config.toml: kwild takes its defaults, and names no snapshot, so it loads none";
            vec![warning("config", text).at(path).fix(Next::MakeRootOrConfig).into()]
        }
        RootConfig::Bad(why) => vec![
            error("config", format!("{}; kwild would end", escape(why)))
                .at(path)
                .fix("correct the file, or make the root anew")
                .into(),
        ],
        RootConfig::Good { family, mode, has_secret, unknown } => {
            let mut checks = Vec::new();
            if let RootGenesis::Good { family: of, .. } = genesis
                && of != family
            {
                let text = format!("config.toml is of {family}, but genesis.json of {of}: no kwild starts on both");
                checks.push(
                    error("family", text).at(path.clone()).fix("make the root anew from one family's files").into(),
                );
            }
            if let Some(key) = unknown.first() {
                let more = if unknown.len() > 1 { format!(" and {} more", unknown.len() - 1) } else { String::new() };
                let text = format!(
                    "config.toml has keys that kwild does not know ({}{more}), and it refuses those",
                    escape(key)
                );
                checks.push(error("config", text).at(key.clone()).fix("remove or correct them").into());
            }
            if *has_secret && mode & 0o077 != 0 {
                let fix = format!("chmod 600 {}", shell_word(&path));
                let text = format!("config.toml holds a password and can be read by others (mode {mode:o})");
                checks.push(
                    Check::from(warning("config-mode", text).at(path).fix(fix.clone())).remedy(Remedy::Shell(fix)),
                );
            }
            if checks.is_empty() {
                checks.push(Check::good("config", format!("config.toml of {family}")));
            }
            checks
        }
    }
}

fn judge_genesis(genesis: &RootGenesis, expected: Expected) -> Vec<Check> {
    match genesis {
        RootGenesis::Missing => vec![
            error("genesis", "there is no genesis.json: kwild would end, or make a network of its own")
                .fix("copy the network's genesis.json into the root")
                .into(),
        ],
        RootGenesis::Bad(why) => vec![
            error("genesis", format!("genesis.json: {}; kwild would end", escape(why)))
                .fix("copy the network's genesis.json again")
                .into(),
        ],
        RootGenesis::Good { family, chain_id, wrong, .. } => {
            let mut checks = Vec::new();
            if let Some(wanted) = expected.family.filter(|wanted| wanted != family) {
                let text =
                    format!("genesis.json is of {family}, but the node is to be of {wanted}: its kwild would end");
                checks.push(
                    error("family", text).fix(format!("use the kwild of {family}, or the genesis of {wanted}")).into(),
                );
            }
            checks.push(match wrong {
                Some(why) => error("genesis", format!("genesis.json: {}; kwild would end", escape(why)))
                    .fix("take the genesis that every node of the network has")
                    .into(),
                None => Check::good("genesis", format!("genesis of {} ({family})", escape(chain_id))),
            });
            checks
        }
    }
}

fn judge_state(state: &RootState, genesis: &RootGenesis, expected: Expected) -> Vec<Check> {
    let RootGenesis::Good { state_hash, .. } = genesis else { return Vec::new() };
    match (state_hash, state) {
        (None, RootState::NotNamed { lies_there: false }) => {
            let text = "the genesis pins no snapshot: the network begins empty";
            vec![note("state-hash", text).into()]
        }
        (None, named) => {
            let what = match named {
                RootState::NotNamed { .. } => format!("{GENESIS_STATE_FILE_NAME} lies in the root"),
                RootState::Bad { path, .. } | RootState::File { path, .. } => {
                    format!("config.toml names the snapshot {}", escape(path))
                }
            };
            let text = format!(
                "{what}, but the genesis has no state hash: kwild would ignore the snapshot and start an EMPTY chain, \
                 without a word"
            );
            vec![Check::from(error("state-hash", text).at("genesis.json").fix(Next::GenesisOfSnapshot)).silent()]
        }
        (Some(_), RootState::NotNamed { .. }) if expected.started => Vec::new(),
        (Some(hash), RootState::NotNamed { lies_there }) => {
            let key = match expected.family {
                Some(Family::V09) => "app.genesis_state",
                _ => "genesis_state",
            };
            let text = format!(
                "the genesis pins the snapshot {}, but config.toml names none: kwild would end",
                short_hash(hash)
            );
            let fix = if *lies_there {
                format!("set {key} = \"{GENESIS_STATE_FILE_NAME}\" in config.toml")
            } else {
                format!("put the snapshot into the root and set {key} = \"{GENESIS_STATE_FILE_NAME}\" in config.toml")
            };
            vec![error("snapshot-file", text).at(key).fix(fix).into()]
        }
        (Some(_), RootState::Bad { .. }) if expected.started => Vec::new(),
        (Some(_), RootState::Bad { path, why }) => {
            let text = format!("the snapshot {} cannot be read ({}): kwild would end", escape(path), escape(why));
            vec![
                error("snapshot-file", text)
                    .at(path.clone())
                    .fix("copy the snapshot there, or correct genesis_state in config.toml")
                    .into(),
            ]
        }
        (Some(hash), RootState::File { path, size_bytes, gzip }) => {
            let named_gzip = path.ends_with(".gz");
            if named_gzip && !gzip {
                let text =
                    format!("{} is no gzip file, though its name ends in .gz: kwild could not read it", escape(path));
                let fix = format!("if it is plain SQL: gzip -c {0} > {0}.new && mv {0}.new {0}", shell_word(path));
                return vec![error("snapshot-file", text).at(path.clone()).fix(fix).into()];
            }
            if !named_gzip && *gzip {
                let text = format!(
                    "{} is a gzip file, but its name does not end in .gz (small letters): kwild would feed it to psql as it is",
                    escape(path)
                );
                return vec![
                    error("snapshot-file", text)
                        .at(path.clone())
                        .fix("rename it to end in .gz, and change genesis_state in config.toml")
                        .into(),
                ];
            }
            let text = format!(
                "{}, {}, pinned as {}; the hash is not computed here",
                escape(path),
                bytes(*size_bytes),
                short_hash(hash)
            );
            vec![Check::good("snapshot-file", text).next(Next::VerifySnapshot { path: shell_word(path) })]
        }
    }
}

/// The beginning of a hash.
fn short_hash(hash: &str) -> String {
    format!("{}…", hash.chars().take(12).collect::<String>())
}

fn judge_key(key: &RootKey) -> Vec<Check> {
    match key {
        RootKey::Bad { path, why } => {
            let text = format!("the node's key {}: {}; kwild would not start as this node", escape(path), escape(why));
            let fix = "copy the node's key file there, with mode 600";
            vec![error("node-key", text).at(path.clone()).fix(fix).into()]
        }
        RootKey::Good { path, mode, seat } => {
            let mut checks = Vec::new();
            if mode & 0o077 != 0 {
                let fix = format!("chmod 600 {}", shell_word(path));
                let text = format!("others can read the node's key {} (mode {mode:o})", escape(path));
                checks.push(
                    Check::from(warning("key-mode", text).at(path.clone()).fix(fix.clone())).remedy(Remedy::Shell(fix)),
                );
            }
            checks.push(match seat {
                Some(seat) => Check::good("node-key", format!("the node's key is {seat}")),
                None => note(
                    "node-key",
                    "the node's key is no validator in the genesis: the node follows, but does not vote",
                )
                .into(),
            });
            checks
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Level;

    const FRESH: Expected = Expected { family: Some(Family::V010), truf: None, started: false };

    struct Parts {
        writable: bool,
        config: RootConfig,
        genesis: RootGenesis,
        state: RootState,
        key: RootKey,
    }

    fn good() -> Parts {
        Parts {
            writable: true,
            config: RootConfig::Good { family: Family::V010, mode: 0o644, has_secret: false, unknown: vec![] },
            genesis: RootGenesis::Good {
                family: Family::V010,
                chain_id: "net".into(),
                state_hash: Some("ab".repeat(32)),
                wrong: None,
            },
            state: RootState::File { path: "/r/genesis-state.sql.gz".into(), size_bytes: 5, gzip: true },
            key: RootKey::Good { path: "/r/nodekey.json".into(), mode: 0o600, seat: Some("a validator".into()) },
        }
    }

    fn judge(change: impl Fn(&mut Parts), expected: Expected) -> Vec<Check> {
        let mut parts = good();
        change(&mut parts);
        let Parts { writable, config, genesis, state, key } = parts;
        judge_root(&Root::There { path: "/r".into(), writable, config, genesis, state, key }, expected)
    }

    #[track_caller]
    fn one(code: &str, level: Level, words: &[&str], change: impl Fn(&mut Parts)) {
        let checks = judge(change, FRESH);
        let found: Vec<_> = checks.iter().filter_map(Check::finding).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].code, found[0].level), (code, level));
        let all = format!("{} / {:?}", found[0].text, found[0].fix);
        for word in words {
            assert!(all.contains(word), "no {word:?} in {all}");
        }
    }

    fn no_hash(parts: &mut Parts) {
        if let RootGenesis::Good { state_hash, .. } = &mut parts.genesis {
            *state_hash = None;
        }
    }

    #[test]
    fn a_good_root_has_no_findings() {
        assert_eq!(judge(|_| {}, FRESH).iter().filter_map(Check::finding).count(), 0);
    }

    #[test]
    fn a_snapshot_without_a_hash_comes_first() {
        one("state-hash", Level::Error, &["EMPTY chain", "without a word"], no_hash);
        let mut checks = judge(no_hash, FRESH);
        super::super::sort(&mut checks);
        assert_eq!(checks[0].code(), "state-hash");
        let lies = |lies_there| {
            move |p: &mut Parts| {
                no_hash(p);
                p.state = RootState::NotNamed { lies_there };
            }
        };
        one("state-hash", Level::Error, &["lies in the root"], lies(true));
        one("state-hash", Level::Note, &["begins empty"], lies(false));
    }

    #[test]
    fn snapshots_that_kwild_cannot_read() {
        let file = |path: &str, gzip| {
            let path = path.to_owned();
            move |p: &mut Parts| p.state = RootState::File { path: path.clone(), size_bytes: 1, gzip }
        };
        one("snapshot-file", Level::Error, &["no gzip file", "gzip -c"], file("/r/a b.sql.gz", false));
        one("snapshot-file", Level::Error, &["small letters"], file("/r/a.sql.GZ", true));
        one("snapshot-file", Level::Error, &["names none", "set genesis_state"], |p| {
            p.state = RootState::NotNamed { lies_there: true }
        });
        one("snapshot-file", Level::Error, &["/x", "gone"], |p| {
            p.state = RootState::Bad { path: "/x".into(), why: "gone".into() }
        });
        let plain = judge(file("/r/a.sql", false), FRESH);
        assert_eq!(plain.iter().filter_map(Check::finding).count(), 0, "plain SQL under a plain name is read");
        // A node that was started needs its snapshot no more.
        let started = Expected { started: true, ..FRESH };
        let checks = judge(|p| p.state = RootState::Bad { path: "/x".into(), why: "gone".into() }, started);
        assert_eq!(checks.iter().filter_map(Check::finding).map(|f| f.code).collect::<Vec<_>>(), ["chain-data"]);
    }

    #[test]
    fn each_part_of_a_root() {
        one("root", Level::Error, &["may not write"], |p| p.writable = false);
        one("config", Level::Warning, &["no config.toml"], |p| p.config = RootConfig::Missing);
        one("config", Level::Error, &["line 3"], |p| p.config = RootConfig::Bad("line 3".into()));
        let config = |family, has_secret, unknown: &[&str]| {
            let unknown: Vec<String> = unknown.iter().map(|key| (*key).to_owned()).collect();
            move |p: &mut Parts| {
                p.config = RootConfig::Good { family, mode: 0o644, has_secret, unknown: unknown.clone() }
            }
        };
        one("family", Level::Error, &["v0.9"], config(Family::V09, false, &[]));
        one("config", Level::Error, &["db.hots and 1 more"], config(Family::V010, false, &["db.hots", "x"]));
        one("config-mode", Level::Warning, &["chmod 600 /r/config.toml"], config(Family::V010, true, &[]));
        one("node-key", Level::Error, &["gone"], |p| p.key = RootKey::Bad { path: "/k".into(), why: "gone".into() });
        one("key-mode", Level::Warning, &["chmod 600 '/r/my key'"], |p| {
            p.key = RootKey::Good { path: "/r/my key".into(), mode: 0o644, seat: Some("a validator".into()) };
        });
        one("node-key", Level::Note, &["no validator"], |p| {
            p.key = RootKey::Good { path: "/k".into(), mode: 0o600, seat: None };
        });
        one("genesis", Level::Error, &["leader"], |p| {
            if let RootGenesis::Good { wrong, .. } = &mut p.genesis {
                *wrong = Some("leader: must be there".into());
            }
        });
        one("genesis", Level::Error, &["no genesis.json"], |p| p.genesis = RootGenesis::Missing);
        one("genesis", Level::Error, &["JSON"], |p| p.genesis = RootGenesis::Bad("no JSON".into()));
    }

    #[test]
    fn no_root_at_all() {
        let checks = judge_root(&Root::Bad { path: "/r".into(), why: "is a file".into() }, FRESH);
        assert_eq!((checks.len(), checks[0].code()), (1, "root"));
    }

    #[test]
    fn a_genesis_of_another_family_than_the_kwild() {
        let checks = judge(|_| {}, Expected { family: Some(Family::V09), ..FRESH });
        assert!(checks.iter().filter_map(Check::finding).any(|f| f.code == "family" && f.text.contains("v0.9")));
    }
}
