//! The check of the snapshot's text, while its chunks still come.

use std::{path::Path, sync::Arc};

use tokio::task::JoinHandle;

use super::Signed;
use crate::{
    app::status::Board,
    base::{Notice, Progress, Result, task::CancellationToken},
    manifest::ArtifactName,
    snapshot::{self, ReadOptions, Verified, VerifyOptions, digest::check_signed},
    store::{ArtifactReader, Frontier, Store},
};

/// What is checked, and for what.
pub(in crate::app) struct Checking<'a> {
    pub(in crate::app) signed: &'a Signed,
    pub(in crate::app) directory: &'a Path,
    /// kwild will be started on it.
    pub(in crate::app) guarded_only: bool,
    pub(in crate::app) board: &'a Board,
    pub(in crate::app) progress: &'a Progress,
    pub(in crate::app) cancel: &'a CancellationToken,
}

impl Checking<'_> {
    /// The snapshot's text against the genesis, on a thread of its own; `complete`: all chunks are there already.
    pub(in crate::app) fn start(
        &self,
        store: &Arc<Store>,
        frontier: &Arc<Frontier>,
        complete: bool,
    ) -> JoinHandle<Result<Verified>> {
        let reader = |artifact| ArtifactReader::new(store.clone(), frontier.clone(), artifact);
        let manifest = self.signed.manifest.manifest().clone();
        let place = manifest.artifacts.iter().position(|artifact| artifact.name == ArtifactName::Snapshot);
        let snapshot = reader(place.unwrap_or_default());
        let options = VerifyOptions {
            read: ReadOptions { max_bytes: manifest.text_size_bytes, cancel: self.cancel.clone() },
            // Beside what is fetched: there must be room for it anyway.
            spill: manifest.state_digest.as_ref().map(|_| self.directory.to_owned()),
            guarded_only: self.guarded_only,
            ..VerifyOptions::default()
        };
        let told = self.progress.clone();
        // While chunks come, their progress says enough.
        let progress = if complete { self.progress.clone() } else { self.board.tap(&Progress::silent()) };
        let genesis = self.signed.genesis.clone();
        tokio::task::spawn_blocking(move || {
            let verified = snapshot::verify_reader(snapshot, &genesis, &options, &progress)?;
            for finding in verified.findings.iter().filter(|finding| finding.code == "unguarded") {
                told.warning(Notice { text: finding.text.clone(), next: finding.fix.clone() });
            }
            // The file is what was attested, or it is not used.
            if let Some(text) = &verified.digest {
                check_signed(text, &manifest)?;
            }
            Ok(verified)
        })
    }
}
