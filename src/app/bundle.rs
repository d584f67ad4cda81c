//! Media: a served or fetched directory becomes volumes, and volumes become such a directory again.

mod export;
mod import;
mod in_place;
mod join;
mod judging;
mod label;
mod media;
mod missing;
mod needed;
mod noted;
mod restore;
mod statements;
mod taking;
#[cfg(test)]
mod tests;
mod verify;

pub use self::{
    export::{Ask, ExportOptions, Exported, ExportedVolume, FileFacts, NextMedium, VolumeFacts, export},
    import::{ImportOptions, Imported, import},
    join::JoinMedia,
    label::{Sheet, SheetVolume, sheet},
    media::MediumReport,
    missing::{Missing, missing, read_missing},
    statements::{Carried, Source, Taken, carry},
    verify::{CheckedMedium, VerifiedMedia, verify},
};
pub(super) use self::{
    in_place::{lent, lent_chunks},
    noted::{is_noted, on_media},
    taking::Taking,
};

use std::path::Path;

use super::status::{place_of, what_is_there};
use crate::{
    base::{Error, Result, clock, files::read_bounded, limits},
    manifest::{MANIFEST_FILE_NAME, SignedManifest, TrustPolicy, VerifiedManifest, VerifyError, phrase},
};

/// The manifest of a directory that is the operator's own: whoever signed it is taken for its lead.
fn own_manifest(directory: &Path) -> Result<VerifiedManifest> {
    let path = directory.join(MANIFEST_FILE_NAME);
    let advice = "name the one that was published, fetched, imported or joined into";
    if !path.exists() {
        let what = format!("{} is no directory of a migration: it has no manifest", directory.display());
        return Err(Error::failed(what).hint(advice));
    }
    let bytes = read_bounded(&path, limits::MANIFEST_SIZE_BYTES_MAX, "manifest")?;
    let signed = SignedManifest::decode(&bytes).map_err(VerifyError::Decode)?;
    Ok(crate::manifest::verify::verify(&bytes, &lead_itself(&signed), clock::unix_seconds())?)
}

/// The six words by which a manifest is compared over the phone.
fn words_of(manifest: &VerifiedManifest) -> String {
    phrase::of_ticket(&super::manifest::ticket(manifest.signed()))
}

/// The trust in whoever a manifest itself names as its lead: for those who only carry.
fn lead_itself(signed: &SignedManifest) -> TrustPolicy {
    TrustPolicy { keys: vec![signed.manifest().trust.lead], ..TrustPolicy::default() }
}
