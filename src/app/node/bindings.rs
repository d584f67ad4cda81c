//! Whose a node is: what this one shows to members, and what they have shown to it.

use std::collections::BTreeMap;

use kwil_formats::formats::key::{KeyType, PublicKey};

use super::{Node, SwarmOptions};
use crate::{
    app::short,
    base::{Error, Next, Result, clock, limits, text},
    manifest::{Binding, BindingError, Ticket},
    swarm::Identity,
};

/// How long the word of a node that holds its validator's key counts; it gives another one whenever it is started.
const OWN_WORD_SECONDS: u64 = 30 * 86_400;
/// Members of whom is remembered whose they are.
const BOUND_MAX: usize = 4096;

/// What this node shows: the bindings that the operator gave, and those by keys that it holds itself.
///
/// # Errors
/// When a binding that was given does not say of this node, here and now, whose it is.
pub(super) fn shown(identity: &Identity, ticket: &Ticket, options: &SwarmOptions) -> Result<Vec<Vec<u8>>> {
    let (peer, now) = (identity.peer_id(), clock::unix_seconds());
    let mut all = options.bindings.clone();
    for bytes in &all {
        Binding::of_node(bytes, &peer, &ticket.new_chain_id, now).map_err(|e| unfit(&e, &peer))?;
    }
    // An identity of another kind says nothing of itself; then its keys do not, either.
    if let Ok(node) = PublicKey::from_peer_id(&peer)
        && node.key_type() == KeyType::Ed25519
    {
        let binding = Binding {
            node,
            created_unix_seconds: now,
            not_after_unix_seconds: now.saturating_add(OWN_WORD_SECONDS).min(limits::UNIX_SECONDS_MAX),
            new_chain_id: Some(ticket.new_chain_id.clone()),
        };
        for key in &options.own_keys {
            all.extend(binding.sign(key).ok().filter(|bytes| !all.contains(bytes)));
        }
    }
    if all.len() > limits::BINDINGS_SHOWN_MAX {
        let (given, most) = (text::count(all.len() as u64, "binding"), limits::BINDINGS_SHOWN_MAX);
        return Err(Error::usage(format!("{given}: a node shows {most} at most"))
            .hint("give those that the other members ask for"));
    }
    Ok(all)
}

/// Whose node it is that shows these.
pub(super) fn validators(shown: &[Vec<u8>]) -> Vec<PublicKey> {
    shown.iter().filter_map(|bytes| Binding::verify(bytes).ok()).map(|signed| signed.signer).collect()
}

fn unfit(error: &BindingError, peer: &str) -> Error {
    let told = Error::verify(format!("the binding that is given does not say whose this node is: {error}"));
    match error {
        BindingError::Statement(_) => told.hint("give the whole file, as it was written where the validator's key is"),
        _ => told.hint(Next::BindThisNode { peer: peer.to_owned() }),
    }
}

impl Node {
    /// A member has shown whose it is.
    pub(super) fn bound(&mut self, peer: String, validators: &[PublicKey]) {
        let Some(first) = validators.first() else { return };
        if self.bound.len() < BOUND_MAX || self.bound.contains_key(&peer) {
            // One that votes is what others know it by.
            let listed = validators.iter().find(|key| self.is_listed(key)).unwrap_or(first);
            self.bound.insert(peer, *listed);
            self.write_down();
        }
    }

    fn is_listed(&self, key: &PublicKey) -> bool {
        self.roster.as_ref().is_some_and(|roster| roster.is_validator(key))
            || self.voices.as_ref().is_some_and(|voices| voices.is_elector(key))
    }

    /// The peer ids of nodes that are validators', and whose they are: as they say in what they sign, and as they have shown.
    pub(super) fn nodes(&self) -> BTreeMap<String, PublicKey> {
        let bound = self.bound.iter().filter(|(_, key)| self.is_listed(key)).map(|(peer, key)| (peer.clone(), *key));
        let said = self.roster.iter().flat_map(|roster| roster.nodes()).map(|(peer, key)| (peer, *key));
        bound.chain(said).collect()
    }

    /// Tells the swarm who its validators are, and by what names their nodes are known.
    ///
    /// # Errors
    /// When the node ended.
    pub(super) async fn tell_whose(&mut self) -> Result<()> {
        for validator in self.against.take_excluded() {
            let words = format!(
                "the access of validator {} to this swarm was taken back: its nodes are not let in any more; what it has signed of the \
                 state counts on",
                short::key(&validator)
            );
            self.progress.warning(words);
        }
        let standing = self.against.standing();
        if let Some(new) = standing.filter(|standing| self.standing.as_ref() != Some(standing)) {
            // Whoever waits for something else beside this may drop it here: then it stays untold.
            self.handle.stand(new.clone()).await?;
            self.standing = Some(new);
        }
        for (peer, validator) in self.nodes() {
            let name = format!("validator {}", short::key(&validator));
            if self.names.get(&peer) != Some(&name) {
                self.handle.name(&peer, name.clone()).await?;
                self.names.insert(peer, name);
            }
        }
        Ok(())
    }
}
