//! What a directory says of itself while no process works in it: what is there of the files, what validators were heard to say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Chunks, Network, OnMedia, Own, Status, VERSION, board::Board};
use crate::{
    app::{
        bundle,
        kept::KeptStatements,
        meet::certificate_path,
        node::{self, STATEMENTS_NAME},
        signatures::Signatures,
        voices::Voices,
    },
    base::{
        Error, Next, Progress, Result, clock,
        durable::{LOCK_FILE_NAME, Lock, PRIVATE_DIRECTORY_NAME},
        files::read_bounded,
        limits,
    },
    manifest::{ChunkSet, MANIFEST_FILE_NAME, Roster, SignedManifest, TrustPolicy, VerifiedManifest, VerifyError},
    schedule, setup,
    store::{self, Contents},
};

/// Where the files of a directory are: in it, or, as long as a root is being made of them, where that is put together.
pub(in crate::app) fn place_of(directory: &Path) -> PathBuf {
    let has_one = |directory: &Path| directory.join(PRIVATE_DIRECTORY_NAME).is_dir();
    if has_one(directory) {
        return directory.to_owned();
    }
    // Of a root that must not be touched there is no such place.
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    match setup::staging_directory(&absolute) {
        Ok(staging) if has_one(&staging) => staging,
        _ => directory.to_owned(),
    }
}

/// What the directory says. `stale`: a process that worked in it was killed.
///
/// # Errors
/// When nothing of a migration is there, or it cannot be read.
pub(super) fn status_of(directory: &Path, stale: bool) -> Result<Status> {
    let private = directory.join(PRIVATE_DIRECTORY_NAME);
    let path = directory.join(MANIFEST_FILE_NAME);
    if !private.is_dir() && !path.exists() {
        let what = match directory.is_dir() {
            true => format!("{} is no directory of a migration: it has no manifest", directory.display()),
            false => format!("there is no directory {}", directory.display()),
        };
        return Err(Error::failed(what).hint("name the one that was published, fetched or joined into"));
    }
    let holder = Lock::holder(&private.join(LOCK_FILE_NAME));
    let doing = match (holder, stale) {
        (Some(pid), _) => format!("process {pid} works there and cannot be asked"),
        (None, true) => "nobody serves it: the process that did was killed".to_owned(),
        (None, false) => "nobody serves it".to_owned(),
    };
    let mut status = Status {
        version: VERSION,
        unix_seconds: clock::unix_seconds(),
        node: Own { pid: holder, directory: Some(directory.to_owned()), doing, ..Own::default() },
        ..Status::default()
    };
    if path.exists() {
        let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")?;
        let signed = SignedManifest::decode(&bytes)
            .map_err(VerifyError::Decode)
            .map_err(|e| Error::from(e).hint(Next::WholeManifest))?;
        // The operator's own file: whoever signed it is taken for its lead.
        let keys = vec![signed.manifest().trust.lead];
        let trust = TrustPolicy { keys, proposals: true, ..TrustPolicy::default() };
        let manifest = crate::manifest::verify::verify(&bytes, &trust, clock::unix_seconds())?;
        tell(&mut status, directory, &private, &manifest);
    }
    if let Some(path) = Some(certificate_path(directory)).filter(|path| fs::exists(path).unwrap_or(false)) {
        status.log.push(format!("certificate: {}", path.display()));
    }
    Ok(status)
}

/// What media carry for a directory in which a process works, which itself does not know of it.
pub(super) fn on_media(directory: &Path) -> OnMedia {
    let read = || -> Option<OnMedia> {
        let bytes =
            read_bounded(&directory.join(MANIFEST_FILE_NAME), limits::MANIFEST_SIZE_BYTES_MAX, "manifest").ok()?;
        let signed = SignedManifest::decode(&bytes).ok()?;
        let keys = vec![signed.manifest().trust.lead];
        let trust = TrustPolicy { keys, proposals: true, ..TrustPolicy::default() };
        let manifest = crate::manifest::verify::verify(&bytes, &trust, clock::unix_seconds()).ok()?;
        let (contents, have) = what_is_there(directory, &manifest);
        Some(bundle::on_media(directory, &contents, &have))
    };
    match bundle::is_noted(directory) {
        true => read().unwrap_or_default(),
        false => OnMedia::default(),
    }
}

/// What is there of the files of a manifest, as names, sizes and the journal tell.
pub(in crate::app) fn what_is_there(directory: &Path, manifest: &VerifiedManifest) -> (Contents, ChunkSet) {
    // While a root is put together, its files have the names of a root and little else tells that it will be one.
    let [data, root] = [false, true].map(|in_root| {
        let contents = node::contents(manifest, in_root);
        let mut have = store::look(directory, &contents);
        if !in_root {
            have.insert_all(&bundle::lent_chunks(directory, &contents));
        }
        (contents, have)
    });
    let bytes = |(contents, have): &(Contents, ChunkSet)| {
        have.iter().map(|chunk| contents.chunk_len(chunk) as u64).sum::<u64>()
    };
    if bytes(&root) >= bytes(&data) { root } else { data }
}

fn tell(status: &mut Status, directory: &Path, private: &Path, manifest: &VerifiedManifest) {
    let (contents, have) = what_is_there(directory, manifest);
    let have_bytes = have.iter().map(|chunk| contents.chunk_len(chunk) as u64).sum();
    let total_bytes = manifest.manifest().size_bytes();
    status.network = Some(Network::new(manifest.id().to_string(), manifest.manifest()));
    (status.node.have_bytes, status.node.total_bytes) = (have_bytes, total_bytes);
    status.node.complete = have.is_full();
    status.on_media = bundle::on_media(directory, &contents, &have);
    status.chunks = Some(Chunks {
        count: have.len(),
        single: have.count(),
        thin: have.len(),
        out: false,
        own_map: schedule::cells(have.len()).map(|range| char::from(b'0' + schedule::ninths(&have, range))).collect(),
        others_map: String::new(),
    });
    let statements = KeptStatements::new(private.join(STATEMENTS_NAME)).read();
    let mut voices = Voices::new(manifest.id(), manifest.manifest());
    voices.take(&statements, &Progress::silent());
    let mut signatures = Signatures::of(manifest);
    signatures.take(&statements, &Progress::silent());
    let mut roster = Roster::new(manifest.id(), manifest.manifest());
    roster.take(statements);
    let board = Board::default();
    let nodes = roster.nodes().map(|(peer, key)| (peer, *key)).collect();
    board.heard(&roster, &voices, &signatures, &nodes);
    let known = board.read();
    status.signatures = known.signatures;
    (status.attestations, status.readiness) = (known.attestations, known.readiness);
}
