//! Media: a served or fetched directory becomes volumes, and volumes become such a directory again.

mod export;
mod import;
mod join;
mod media;
mod taking;
mod verify;

pub use self::{
    export::{Ask, ExportOptions, Exported, ExportedVolume, FileFacts, NextMedium, VolumeFacts, export},
    import::{ImportOptions, Imported, import},
    join::JoinMedia,
    media::MediumReport,
    verify::{CheckedMedium, VerifiedMedia, verify},
};

use crate::manifest::{SignedManifest, TrustPolicy, phrase};

/// The six words by which a manifest is compared over the phone.
fn words_of(signed: &SignedManifest) -> String {
    phrase::of_ticket(&super::manifest::ticket(signed))
}

/// The trust in whoever a manifest itself names as its lead: for those who only carry.
fn lead_itself(signed: &SignedManifest) -> TrustPolicy {
    TrustPolicy { keys: vec![signed.manifest().trust.lead], ..TrustPolicy::default() }
}
