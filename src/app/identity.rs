//! The key of a node in the swarm: kept with the data that it serves, so that its peer id can be told before the night.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::node::IDENTITY_NAME;
use crate::{
    base::{Error, Result, durable, files::read_bounded, limits},
    setup,
    store::PrivateDirectory,
    swarm::Identity,
};

/// Whose identity is meant.
#[derive(Debug, Clone)]
pub enum NodeOf {
    /// The node that serves or fills this directory.
    Directory(PathBuf),
    /// The node of the root that stands here, or is still to be joined.
    Root(PathBuf),
    /// A file of its own.
    File(PathBuf),
}

/// An identity, as others see it.
#[derive(Debug, Clone, Serialize)]
pub struct Known {
    /// The peer id.
    pub peer_id: String,
    /// Where the key is kept.
    pub identity: PathBuf,
    /// Whether it was made just now.
    pub made: bool,
}

/// The identity of a node that may not have run yet: made where there is none, and the one that it will have.
///
/// # Errors
/// When it cannot be read or made; refused where a root cannot be made there.
pub fn known(of: &NodeOf) -> Result<Known> {
    let kept_in = |directory: &Path| directory.join(durable::PRIVATE_DIRECTORY_NAME).join(IDENTITY_NAME);
    let directory = match of {
        NodeOf::File(path) => return of_file(path),
        NodeOf::Directory(directory) => directory.clone(),
        NodeOf::Root(root) if kept_in(root).exists() => root.clone(),
        NodeOf::Root(root) => {
            setup::staging_directory(&std::path::absolute(root).map_err(|e| Error::failed("no such root").because(e))?)?
        }
    };
    let identity = kept_in(&directory);
    // A node that runs has its directory locked, and has one.
    let made = !identity.exists();
    let found = match made {
        false => Identity::from_bytes(&read_bounded(&identity, limits::KEY_FILE_SIZE_BYTES_MAX, "swarm identity")?)?,
        true => kept(&PrivateDirectory::lock(&directory)?)?,
    };
    Ok(Known { peer_id: found.peer_id(), identity, made })
}

fn of_file(path: &Path) -> Result<Known> {
    let made = !path.exists();
    let identity = match made {
        false => from_file(path)?,
        true => {
            let identity = Identity::generate();
            durable::write_atomically(path, &identity.to_bytes()?, 0o600)?;
            identity
        }
    };
    Ok(Known { peer_id: identity.peer_id(), identity: path.to_owned(), made })
}

/// The identity in a file.
///
/// # Errors
/// When the file cannot be read or holds none.
pub(super) fn from_file(path: &Path) -> Result<Identity> {
    Identity::from_bytes(&read_bounded(path, limits::KEY_FILE_SIZE_BYTES_MAX, "swarm identity")?)
}

/// The identity of the directory whose private one this is, made where there is none.
///
/// # Errors
/// When it cannot be read or kept.
pub(super) fn kept(private: &PrivateDirectory) -> Result<Identity> {
    if let Some(bytes) = private.read(IDENTITY_NAME)? {
        return Identity::from_bytes(&bytes).map_err(|e| {
            e.hint(format!(
                "remove {} to get a new one; tickets that name this node are then no longer good",
                private.file(IDENTITY_NAME).display()
            ))
        });
    }
    let identity = Identity::generate();
    private.write(IDENTITY_NAME, &identity.to_bytes()?)?;
    Ok(identity)
}
