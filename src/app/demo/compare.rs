//! Compares the roots that a demo has made: they must be equal but for key, ports and whom each of them dials.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kwil_formats::formats::config::CONFIG_FILE_NAME;

use crate::{
    base::{
        Blake3Hash, Context, Error, Next, Result,
        durable::{PART_SUFFIX, PRIVATE_DIRECTORY_NAME},
    },
    manifest::MANIFEST_FILE_NAME,
};

/// A node's root, and the configuration values that are its own.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Configuration values that differ from node to node: key and value.
    pub(super) own: Vec<(String, String)>,
}

/// Compares every root with the first one, byte for byte.
///
/// # Errors
/// When a file is missing, differs where it must not, or a key is the same twice.
pub(super) fn compare(roots: &[Root], key_file: &str) -> Result<()> {
    let Some((first, others)) = roots.split_first() else { return Ok(()) };
    let names = entry_names(&first.path)?;
    let mut keys = BTreeSet::from([hash(&first.path.join(key_file))?]);
    for other in others {
        let differ = |what: &str| {
            Error::verify(format!("the roots of {} and {} differ: {what}", first.name, other.name))
                .hint(Next::ReportDemo)
        };
        let theirs = self::entry_names(&other.path)?;
        if let Some(name) = names.symmetric_difference(&theirs).next() {
            return Err(differ(&format!("only one has {name}")));
        }
        for name in &names {
            if name == key_file {
                if !keys.insert(hash(&other.path.join(name))?) {
                    return Err(differ("they have the same key, each must have its own"));
                }
            } else if name == CONFIG_FILE_NAME {
                if normal_config(first)? != normal_config(other)? {
                    return Err(differ(&format!("{name}, and not in addresses alone")));
                }
            } else if hash(&first.path.join(name))? != hash(&other.path.join(name))? {
                return Err(differ(name));
            }
        }
    }
    Ok(())
}

/// The names in a root, without what regenesis keeps there for itself.
fn entry_names(root: &Path) -> Result<BTreeSet<String>> {
    let what = || format!("cannot read the root {}", root.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root).or_failed(what)? {
        let name = entry.or_failed(what)?.file_name().to_string_lossy().into_owned();
        // A node that serves writes anew whom it dials, whenever it hears of another one.
        let being_written = name == format!("{CONFIG_FILE_NAME}{PART_SUFFIX}");
        if name != PRIVATE_DIRECTORY_NAME && name != MANIFEST_FILE_NAME && !being_written {
            names.insert(name);
        }
    }
    Ok(names)
}

fn hash(path: &Path) -> Result<Blake3Hash> {
    let mut hasher = blake3::Hasher::new();
    let what = || format!("cannot read {}", path.display());
    if fs::metadata(path).or_failed(what)?.is_file() {
        hasher.update_reader(fs::File::open(path).or_failed(what)?).or_failed(what)?;
    }
    Ok(Blake3Hash::from_bytes(*hasher.finalize().as_bytes()))
}

/// A root's configuration with its own values taken out; an error where one of them is missing.
fn normal_config(root: &Root) -> Result<String> {
    let path = root.path.join(CONFIG_FILE_NAME);
    let mut text = fs::read_to_string(&path).or_failed(|| format!("cannot read {}", path.display()))?;
    for (key, value) in &root.own {
        let before = text.len();
        for quote in ['"', '\''] {
            text = text.replace(&format!("{quote}{value}{quote}"), "\"\"");
        }
        if text.len() == before {
            return Err(Error::verify(format!("{} does not have {key} = {value}", path.display()))
                .hint("this should never happen: please report it"));
        }
    }
    // Nobody dials itself, and who came first knew fewer others.
    let of_peers = |line: &&str| line.starts_with("persistent_peers = ") || line.starts_with("bootnodes = ");
    Ok(text.lines().filter(|line| !of_peers(line)).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(parent: &Path, name: &str, port: u16) -> Root {
        let path = parent.join(name);
        fs::create_dir(&path).unwrap();
        fs::create_dir(path.join(PRIVATE_DIRECTORY_NAME)).unwrap();
        fs::write(path.join("genesis.json"), "{}").unwrap();
        fs::write(path.join("key"), format!("key of {name}")).unwrap();
        fs::write(path.join(CONFIG_FILE_NAME), format!("a = 1\nlisten = '127.0.0.1:{port}'\n")).unwrap();
        Root { name: name.to_owned(), path, own: vec![("p2p.listen".into(), format!("127.0.0.1:{port}"))] }
    }

    fn outcome(change: impl FnOnce(&mut [Root])) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut roots = [root(dir.path(), "one", 1), root(dir.path(), "two", 2)];
        change(&mut roots);
        compare(&roots, "key").map_or_else(|e| e.chain(), |()| "equal".to_owned())
    }

    #[test]
    fn roots_that_differ_in_key_and_ports_alone_are_equal() {
        assert_eq!(outcome(|_| ()), "equal");
        assert_eq!(outcome(|roots| fs::write(roots[1].path.join(MANIFEST_FILE_NAME), "m").unwrap()), "equal");
        let part = format!("{CONFIG_FILE_NAME}{PART_SUFFIX}");
        assert_eq!(
            outcome(|roots| fs::write(roots[1].path.join(part), "a =").unwrap()),
            "equal",
            "it is being written"
        );
        let peers = "a = 1\nlisten = '127.0.0.1:2'\nbootnodes = ['x']\n";
        assert_eq!(outcome(|roots| fs::write(roots[1].path.join(CONFIG_FILE_NAME), peers).unwrap()), "equal");
    }

    #[test]
    fn every_other_difference_is_found() {
        let write = |name: &'static str, text: &'static str| {
            move |roots: &mut [Root]| fs::write(roots[1].path.join(name), text).unwrap()
        };
        assert!(outcome(write("genesis.json", "{ }")).contains("differ: genesis.json"));
        assert!(outcome(write("more", "")).contains("only one has more"));
        assert!(outcome(write("key", "key of one")).contains("same key"));
        assert!(outcome(write(CONFIG_FILE_NAME, "a = 2\nlisten = '127.0.0.1:2'\n")).contains("not in addresses alone"));
        assert!(
            outcome(write(CONFIG_FILE_NAME, "a = 1\nlisten = '127.0.0.1:1'\n")).contains("does not have p2p.listen")
        );
        assert!(outcome(|roots| fs::remove_file(roots[1].path.join("genesis.json")).unwrap()).contains("only one has"));
    }
}
