//! Media that only some can read: the key of an export's chunks, and what goes under seal.

use std::path::Path;

use super::{Exporting, Planned};
use crate::{
    base::{Error, Result},
    bundle::{
        DataKey, Index, Paper,
        seal::{self, SEALED_NAME},
    },
};

impl Exporting<'_> {
    /// What the chunks are encrypted with, where they are.
    pub(super) fn key(&self) -> Option<&DataKey> {
        self.sealed.as_ref().map(|(key, _)| key)
    }

    /// Seals what goes with the chunks, once the set is known. An export that goes on has the key of its first run: it follows from a secret of
    /// this machine and from the set.
    pub(super) fn seal(&mut self) -> Result<()> {
        let (Some(to), Some(set), None) = (&self.options.seal, &self.set, &self.sealed) else { return Ok(()) };
        let key = DataKey::of(&*self.options.state.media_secret()?, set, &self.signed.id());
        let bytes = seal::seal(to, &key, &self.carried)?;
        self.sealed = Some((key, Paper { name: SEALED_NAME.to_owned(), bytes }));
        Ok(())
    }

    /// Every volume of the set is encrypted with this run's key, or none is.
    pub(super) fn check_keys<'a>(&self, mut planned: impl Iterator<Item = &'a Planned>) -> Result<()> {
        planned.try_for_each(|planned| self.check_key(&planned.directory, &planned.index))
    }

    /// A volume that was begun is encrypted as this run encrypts.
    pub(super) fn check_key(&self, directory: &Path, index: &Index) -> Result<()> {
        let at = directory.display();
        let what = match (index.key_mark, self.key().map(DataKey::mark)) {
            (None, None) => return Ok(()),
            (Some(begun), Some(now)) if begun == now => return Ok(()),
            (None, Some(_)) => format!("the volume at {at} was begun without encryption"),
            (Some(_), None) => format!("the volume at {at} was begun with encryption"),
            (Some(_), Some(_)) => {
                format!("the volume at {at} was begun with a key of another machine or state directory")
            }
        };
        Err(Error::refused(what).hint(
            "go on as it was begun, on the same machine; or use empty media, or remove the files of this volume where nobody needs them",
        ))
    }
}
