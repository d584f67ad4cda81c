//! The keys that a join holds itself: by them its node shows to other members whose it is, without any file.

use std::{path::Path, sync::Arc};

use kwil_formats::formats::Family;

use super::JoinOptions;
use crate::{
    app::files::read_private_key,
    base::Result,
    setup::{self, KeySource},
};

/// Reads the node's key, and puts it and the old node's one where the swarm finds them. What cannot be used is said before hours of
/// fetching.
///
/// # Errors
/// When the file that was named cannot be read or holds no key.
pub(super) fn take(options: &mut JoinOptions, root: &Path) -> Result<()> {
    let own = match &options.key {
        KeySource::File(path) => Some(read_private_key(path)?),
        KeySource::InRoot => {
            let paths = [Family::V09, Family::V010].map(|family| root.join(setup::key_file_name(family)));
            // One that is damaged is told of by whoever needs it.
            paths.iter().find(|path| path.exists()).and_then(|path| read_private_key(path).ok())
        }
        KeySource::New => None,
    };
    let keys = &mut options.swarm.own_keys;
    keys.extend(own.map(Arc::new));
    keys.extend(options.old.node.as_ref().and_then(|old| old.key.clone()));
    keys.dedup_by_key(|key| key.public());
    Ok(())
}
