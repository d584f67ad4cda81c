//! What validators have signed, carried over an air gap: out of a directory as one file, and into another one, whether a node serves it
//! meanwhile or not. So a quorum's certificate forms where nobody hears the others.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{own_manifest, place_of, words_of};
use crate::{
    app::{
        kept::{self, KeptStatements},
        meet,
        node::STATEMENTS_NAME,
        tell,
    },
    base::{
        Blake3Hash, Error, Next, Result,
        durable::{self, PRIVATE_DIRECTORY_NAME},
    },
    manifest::{Ballot, Evidence, Roster, Tally, Verdict, VerifiedManifest, statement},
};

/// Something with statements in it: a list that [`carry`] gave, a single statement, or a certificate.
#[derive(Debug, Clone)]
pub struct Source {
    /// How the operator named it.
    pub name: String,
    /// Its bytes, which nobody has judged yet.
    pub bytes: Vec<u8>,
}

/// What came of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// How the operator named it.
    pub name: String,
    /// Statements that were not known and count now.
    pub new: usize,
    /// Statements that were known.
    pub known: usize,
    /// Statements of other migrations, by others than validators, older than what is known, or damaged.
    pub unused: usize,
}

/// What is known of validators now.
#[derive(Debug, Clone, Serialize)]
pub struct Carried {
    /// The manifest.
    pub manifest_id: Blake3Hash,
    /// The new network.
    pub chain_id: String,
    /// The manifest's six words.
    pub words: String,
    /// What each source gave.
    pub taken: Vec<Taken>,
    /// How many validators of the old network have said what.
    pub attested: Tally,
    /// What that comes to.
    pub verdict: Verdict,
    /// Validators of the new network that are ready.
    pub ready: usize,
    /// All of them.
    pub validators: usize,
    /// So many are ready that they make blocks.
    pub quorum: bool,
    /// The certificate of that, where there is one.
    pub certificate: Option<PathBuf>,
    /// All statements that count, as one file.
    #[serde(skip)]
    pub file: Vec<u8>,
    /// How many those are.
    pub statements: usize,
}

/// Takes statements into a directory, and gives all that are known there then. A node that serves the directory hears of them at
/// its next look, and passes them on.
///
/// # Errors
/// When the directory has no manifest or cannot be written; [`crate::base::Kind::Verify`] when a source has no statement at all, or none
/// about this migration; nothing is taken then.
pub fn carry(directory: &Path, sources: &[Source]) -> Result<Carried> {
    let directory = place_of(directory);
    let manifest = own_manifest(&directory)?;
    let private = directory.join(PRIVATE_DIRECTORY_NAME);
    durable::create_directory(&private, 0o700)?;
    let _lock = durable::Lock::wait(&private.join(kept::CARRIED_LOCK_NAME))?;
    let mut known = Known::new(&manifest);
    known.take(KeptStatements::new(private.join(STATEMENTS_NAME)).read());
    known.take(tell::own_statement(&private).into_iter().collect());
    let taken = sources.iter().map(|source| known.take_source(source, &manifest)).collect::<Result<Vec<_>>>()?;
    let statements = known.statements();
    let file = statement::to_file(&statements);
    if taken.iter().any(|taken| taken.new > 0) {
        durable::write_atomically(&private.join(kept::CARRIED_NAME), &file, 0o600)?;
    }
    let certificate = known.roster.certificate();
    let certificate = match certificate {
        Some(certificate) => {
            let path = meet::certificate_path(&directory);
            durable::write_atomically(&path, &Evidence::Certificate(certificate).to_bytes(), 0o600)?;
            Some(path)
        }
        None => None,
    };
    let (ready, not_ready) = (known.roster.ready().count(), known.roster.missing().count());
    Ok(Carried {
        manifest_id: manifest.id(),
        chain_id: manifest.manifest().network.new_chain_id.clone(),
        words: words_of(&manifest),
        taken,
        attested: known.ballot.tally(),
        verdict: known.ballot.verdict(),
        ready,
        validators: ready + not_ready,
        quorum: known.roster.is_quorum(),
        certificate,
        file,
        statements: statements.len(),
    })
}

/// What is known, of both networks' validators.
struct Known {
    ballot: Ballot,
    roster: Roster,
}

impl Known {
    fn new(manifest: &VerifiedManifest) -> Self {
        Known {
            ballot: Ballot::new(manifest.id(), manifest.manifest()),
            roster: Roster::new(manifest.id(), manifest.manifest()),
        }
    }

    /// Those that are new and count.
    fn take(&mut self, all: Vec<Vec<u8>>) -> usize {
        self.ballot.take(&all).len() + self.roster.take(all).len()
    }

    fn statements(&self) -> Vec<Vec<u8>> {
        self.ballot.statements().into_iter().chain(self.roster.statements()).collect()
    }

    fn take_source(&mut self, source: &Source, manifest: &VerifiedManifest) -> Result<Taken> {
        let refuse = |problem: String| Error::verify(format!("{} cannot be used: {problem}", source.name));
        let all = statements_in(&source.bytes);
        if all.is_empty() {
            return Err(refuse("no validator's statement is in it".to_owned()).hint(Next::StatementsFile));
        }
        let before = self.statements();
        let known = all.iter().filter(|bytes| before.contains(bytes)).count();
        let count = all.len();
        let new = self.take(all);
        if new + known == 0 {
            let chain_id = crate::base::text::escape(&manifest.manifest().network.new_chain_id);
            let what = format!(
                "none of its {count} statements is by a validator about this manifest of {chain_id}, and newer than what is known"
            );
            return Err(refuse(what).hint(Next::DirectoryOfList));
        }
        Ok(Taken { name: source.name.clone(), new, known, unused: count - new - known })
    }
}

/// The statements in a list, in a certificate, or a single one. Whether they hold is judged later.
fn statements_in(bytes: &[u8]) -> Vec<Vec<u8>> {
    if let Ok(Evidence::Certificate(certificate)) = Evidence::decode(bytes) {
        return certificate.statement_bytes().to_vec();
    }
    if statement::is_one(bytes) {
        return vec![bytes.to_vec()];
    }
    let mut all = statement::from_file(bytes).unwrap_or_default();
    all.retain(|bytes| statement::is_one(bytes));
    // Each costs the check of a signature, and that once.
    all.sort_unstable();
    all.dedup();
    all
}
