//! Publishing: database -> snapshot -> manifest, ready to be seeded.

use std::path::Path;

use super::{
    manifest::{self, SignOptions, Signed},
    state::StateDirectory,
};
use crate::{
    base::{Kind, Progress, Result, task::CancellationToken},
    database::Settings,
    kwil::{GENESIS_FILE_NAME, key::PrivateKey},
    manifest::genesis_validators,
    snapshot::{self, CreateOptions, Created},
};

/// Takes a snapshot of the old database and signs it.
///
/// # Errors
/// As [`snapshot::create`] and [`manifest::sign`]; a snapshot that was made stays when signing fails.
pub async fn from_database(
    settings: &Settings,
    create: CreateOptions,
    mut sign: SignOptions,
    key: &PrivateKey,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(Created, Signed)> {
    let snapdir = create.snapdir.clone();
    progress.step("taking a snapshot of the old database");
    let created = snapshot::create(settings, create, progress, cancel.clone()).await.map_err(|e| match e.advice() {
        Some(advice) if e.kind() == Kind::Refused && snapdir.join(GENESIS_FILE_NAME).exists() => {
            let hint = format!("{advice}; `regenesis publish --dir {}` serves what is there", snapdir.display());
            e.hint(hint)
        }
        _ => e,
    })?;
    // The snapshot's genesis holds the validators that the old database had in its last block.
    let genesis = snapshot::read_genesis(&created.genesis)?;
    sign.old_validators = genesis_validators(&genesis)?.iter().map(|v| (v.key, v.power)).collect();
    sign.state_validators = sign.old_validators.clone();
    sign.digest = created.state_digest.is_some();
    sign.majors = Some((created.server_major, created.dump_major));
    sign.old_chain_id = created.old_chain_id.clone();
    sign.height = Some(created.height);
    let signed = sign_directory(&snapdir, key, &sign, state, progress, cancel).map_err(|e| {
        let advice = e.advice().unwrap_or("see above").to_owned();
        e.hint(format!(
            "{advice}; the snapshot is complete: go on with `regenesis publish --dir {}`",
            snapdir.display()
        ))
    })?;
    Ok((created, signed))
}

/// Signs files that are there already, such as an edited genesis.
///
/// # Errors
/// As [`manifest::sign`].
pub fn sign_directory(
    directory: &Path,
    key: &PrivateKey,
    options: &SignOptions,
    state: &StateDirectory,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Signed> {
    let signed = tokio::task::block_in_place(|| manifest::sign(directory, key, options, state, progress, cancel))?;
    let words = if signed.reused { "nothing changed: the manifest is the one that was there" } else { "signed" };
    progress.note(format!("{words}: {}", signed.path.display()));
    Ok(signed)
}
