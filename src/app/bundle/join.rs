//! Media from which a validator joins: what they hold goes where the fetch of a join would put it, once the preflight has passed, and the
//! join goes on from there.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use kwil_formats::formats::key::PublicKey;
use rand::TryRngCore;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{import::ImportOptions, media::Media, taking::Taking};
use crate::{
    app::{manifest as manifests, node, state::StateDirectory},
    base::{Context, Error, Kind, Next, Progress, Result, task::CancellationToken, text},
    bundle::Unseal,
    manifest::{Ticket, TrustPolicy},
    store::{FileSystem, Outcome, PrivateDirectory, Store, Writer},
};

/// The media of a join, and the ticket of the migration that they carry.
pub struct JoinMedia {
    ticket: Ticket,
    media: Mutex<Media>,
}

impl std::fmt::Debug for JoinMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinMedia")
    }
}

impl JoinMedia {
    /// Looks which migration is meant: that of the ticket, or the newest on the media that one of these keys has signed.
    ///
    /// # Errors
    /// When no medium has it, or it counts no more.
    pub fn look(
        from: &[PathBuf],
        ticket: Option<Ticket>,
        keys: Vec<PublicKey>,
        unseal: &Unseal,
        state: &StateDirectory,
    ) -> Result<Self> {
        let trust = match &ticket {
            Some(ticket) => ImportOptions::trust_of(ticket),
            None => TrustPolicy { keys, ..TrustPolicy::default() },
        };
        let media = Media::look(from, None, Some(&trust), unseal, state)?;
        let mut ticket = ticket.unwrap_or_else(|| manifests::ticket(media.signed.manifest.signed()));
        if ticket.secret.is_none() && ticket.addresses.is_empty() {
            // Without a secret the swarm would be open to everyone: it is one of this node alone.
            let mut secret = Zeroizing::new([0; 32]);
            rand::rngs::OsRng.try_fill_bytes(&mut secret[..]).or_failed(|| "the system gives no randomness")?;
            ticket.secret = Some(secret);
        }
        Ok(JoinMedia { ticket, media: Mutex::new(media) })
    }

    /// The ticket that was given; or, where only a key was, one that identifies the manifest on the media and leads nowhere.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    fn media(&self) -> std::sync::MutexGuard<'_, Media> {
        self.media.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts what is no chunk into the directory that is to become a root, so that nobody has to be asked for it.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn begin(&self, directory: &Path, progress: &Progress) -> Result<()> {
        let private = PrivateDirectory::lock(directory)?;
        let mut media = self.media();
        let contents = node::contents(&media.signed.manifest, true);
        media.keep(directory, &private, &contents, progress)
    }

    /// Takes the chunks that are lacking in the directory, which is locked. `alone`: the ticket leads to nobody who may have the rest.
    ///
    /// # Errors
    /// When the directory fails, or a node that is alone still lacks some.
    pub fn take(
        &self,
        (directory, private): (&Path, &PrivateDirectory),
        alone: bool,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let mut media = self.media();
        let contents = node::contents(&media.signed.manifest, true);
        let opened = Store::open(directory, private, contents, &FileSystem, progress, cancel)?;
        let (store, have) = (opened.store.clone(), opened.have.clone());
        let (sender, outcomes) = mpsc::channel::<Outcome>(256);
        let writer = Writer::start(opened, sender)?;
        let mut taking = Taking::new(&store, &writer, outcomes, have, progress);
        let read = media
            .seen
            .iter_mut()
            .try_for_each(|seen| taking.medium(seen, cancel))
            .and_then(|()| media.restore(&mut taking, progress, cancel));
        progress.done("import");
        let have = taking.have.clone();
        drop(taking);
        // The writer's own error is the cause.
        writer.stop().and(read.map(drop))?;
        media.note(directory);
        if have.is_full() || !alone {
            return Ok(());
        }
        let lacking = (0..have.len()).filter(|chunk| !have.contains(*chunk));
        let bytes = text::bytes(lacking.map(|chunk| store.contents().chunk_len(chunk) as u64).sum());
        let needed = media.still_needed(&have);
        let mut words = match (needed.labels.as_slice(), needed.any) {
            ([], _) => String::new(),
            (labels, None) => format!("; still needed are the volumes {}", labels.join(", ")),
            (labels, Some(any)) => format!("; still needed are any {any} of the volumes {}", labels.join(", ")),
        };
        if !needed.anew.is_empty() {
            words += &format!("; too damaged, and to be made anew, are {}", needed.anew.join(", "));
        }
        Err(Error::new(Kind::GaveUp, format!("the media lack {bytes}{words}")).hint(Next::JoinWithMoreMedia))
    }
}
