//! Volumes that only some can read. What lies beside the chunks is one age file, for the keys or the passphrase that were named, and with it the
//! key under which the chunks of the whole set are encrypted.
//!
//! Each chunk is ChaCha20 of its own bytes, under the set's key and the chunk's number: as long as before, so that all that is said of chunks,
//! places and parity holds for encrypted ones, too, and what is bad on a medium costs one chunk. A key is never used for another manifest or
//! another set, and a chunk's bytes are always the same: no stretch of the stream covers two texts. It has no seal of its own: what a chunk is
//! proves the id that the lead has signed, as everywhere.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    io::Read,
    iter,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use age::{DecryptError, Decryptor, Encryptor, scrypt, secrecy::SecretString, x25519};
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit, StreamCipher, StreamCipherSeek},
};
use zeroize::Zeroizing;

use super::{Paper, SetId, wire};
use crate::base::{Blake3Hash, Context, Error, Result, limits, text};

/// The name on a volume of what is sealed.
pub const SEALED_NAME: &str = "sealed.age";

/// What tells one key from another, and nothing of the key.
pub type KeyMark = [u8; 8];

const KEY_CONTEXT: &str = "regenesis 2026 media v1, key of the chunks of a set";
const MARK_CONTEXT: &str = "regenesis 2026 media v1, mark of a key";

/// What scrypt takes for a passphrase, as a power of two: 16 MiB of memory, and 50 ms. Each step more doubles both. 64 MiB are what all of this
/// program may have, however large the media: an import takes 40, and the allocator gives what scrypt had back to the system only a second
/// later. So a passphrase is guarded by its length more than by this.
const PASSPHRASE_WORK: u8 = 14;
/// Bytes that scrypt takes for each of its steps, as age calls it.
const PASSPHRASE_STEP_BYTES: u64 = 1 << 10;

/// For whom media are encrypted.
#[derive(Clone)]
pub enum SealTo {
    /// Whoever has the identity of one of these keys.
    Keys(Vec<AgeKey>),
    /// Whoever knows this passphrase.
    Passphrase(SecretString),
}

impl fmt::Debug for SealTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealTo::Keys(keys) => f.debug_tuple("Keys").field(keys).finish(),
            SealTo::Passphrase(_) => f.write_str("Passphrase"),
        }
    }
}

/// A key of age that something is encrypted to: `age1…`.
#[derive(Clone)]
pub struct AgeKey(x25519::Recipient);

impl fmt::Debug for AgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for AgeKey {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        text.trim().parse().map(AgeKey).map_err(|e| format!("it is no key of age (age1…): {e}"))
    }
}

/// What opens encrypted media.
#[derive(Clone, Default)]
pub struct Unseal {
    identities: Vec<x25519::Identity>,
    passphrase: Option<SecretString>,
    /// What was opened last, by the hash of its sealed bytes.
    known: Arc<Mutex<VecDeque<(blake3::Hash, Shared)>>>,
}

/// What all media with the same sealed bytes share.
type Shared = (DataKey, Arc<BTreeMap<String, Vec<u8>>>);

/// How many different ones are kept: media of one export mostly have the same.
const SHARED_MAX: usize = 4;

impl fmt::Debug for Unseal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unseal")
    }
}

impl Unseal {
    /// Takes the identities of a file as age-keygen writes it; gives how many those are.
    ///
    /// # Errors
    /// The line that is none.
    pub fn add_identities(&mut self, text: &str) -> std::result::Result<usize, usize> {
        let mut count = 0;
        for (line, number) in text.lines().map(str::trim).zip(1_usize..) {
            if !line.is_empty() && !line.starts_with('#') {
                self.identities.push(line.parse().map_err(|_| number)?);
                count += 1;
            }
        }
        Ok(count)
    }

    /// [`unseal`], once for all media that have the same: the work of a passphrase is done once, and what is sealed is in memory once.
    ///
    /// # Errors
    /// As [`unseal`].
    pub fn open(&self, sealed: &[u8]) -> std::result::Result<Shared, UnsealError> {
        let hash = blake3::hash(sealed);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, shared)) = known.iter().find(|(of, _)| *of == hash) {
            return Ok(shared.clone());
        }
        let (key, files) = unseal(sealed, self)?;
        let shared = (key, Arc::new(files));
        known.truncate(SHARED_MAX - 1);
        known.push_front((hash, shared.clone()));
        Ok(shared)
    }

    /// Takes a passphrase.
    pub fn set_passphrase(&mut self, passphrase: SecretString) {
        self.passphrase = Some(passphrase);
    }
}

/// The key of a set's chunks.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    /// The key of a set, of an exporter with that secret: an export that goes on has the same one.
    pub fn of(secret: &[u8; 32], set: &SetId, manifest_id: &Blake3Hash) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(secret).update(set).update(manifest_id.as_bytes());
        DataKey(Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    /// What tells it from others.
    pub fn mark(&self) -> KeyMark {
        let mut mark = KeyMark::default();
        blake3::Hasher::new_derive_key(MARK_CONTEXT).update(&self.0[..]).finalize_xof().fill(&mut mark);
        mark
    }

    /// Encrypts bytes of a chunk from `at` on, or decrypts them: both are the same.
    pub fn apply(&self, chunk: u32, at: usize, bytes: &mut [u8]) {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&chunk.to_le_bytes());
        let mut cipher = ChaCha20::new((&*self.0).into(), (&nonce).into());
        // A chunk is a thousandth of what the counter reaches.
        cipher.seek(at as u64);
        cipher.apply_keystream(bytes);
    }
}

/// [`DataKey::apply`] where there is a key.
pub fn apply(key: Option<&DataKey>, chunk: u32, at: usize, bytes: &mut [u8]) {
    if let Some(key) = key {
        key.apply(chunk, at, bytes);
    }
}

/// Seals the key and small files.
///
/// # Errors
/// When age cannot.
pub fn seal(to: &SealTo, key: &DataKey, papers: &[Paper]) -> Result<Vec<u8>> {
    let cannot = || "cannot encrypt for these keys";
    let encryptor = match to {
        SealTo::Keys(keys) => {
            Encryptor::with_recipients(keys.iter().map(|key| &key.0 as &dyn age::Recipient)).or_failed(cannot)?
        }
        SealTo::Passphrase(passphrase) => {
            let mut recipient = scrypt::Recipient::new(passphrase.clone());
            recipient.set_work_factor(PASSPHRASE_WORK);
            Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).or_failed(cannot)?
        }
    };
    let plain = wire::encode_sealed(&key.0, papers);
    let mut sealed = Vec::with_capacity(plain.len() + plain.len() / 1000 + 1024);
    let mut writer = encryptor.wrap_output(&mut sealed).or_failed(cannot)?;
    io::Write::write_all(&mut writer, &plain).and_then(|()| writer.finish()).or_failed(cannot)?;
    Ok(sealed)
}

/// Why sealed bytes cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Nothing was given to open them with.
    #[error("it is encrypted, and no key was given that could open it")]
    NoKey,
    /// What was given is not what they were encrypted to.
    #[error("it is encrypted to other keys than those that were given")]
    OtherKey,
    /// The passphrase is another one.
    #[error("it is encrypted with another passphrase")]
    OtherPassphrase,
    /// Its passphrase takes more memory and time than this program gives it: a stranger's medium could ask for hours and terabytes.
    #[error(
        "its passphrase is said to take 2^{work} steps of scrypt, which is {memory} of memory; this program takes no more than the \
         2^{PASSPHRASE_WORK} that it writes",
        work = .0,
        memory = scrypt_memory(*.0)
    )]
    Work(u8),
    /// The bytes are not what was written.
    #[error("{SEALED_NAME} is damaged: {0}")]
    Damaged(String),
}

/// The memory that so many steps of scrypt take, a power of two, in words.
fn scrypt_memory(work: u8) -> String {
    match PASSPHRASE_STEP_BYTES.checked_shl(work.into()).filter(|bytes| *bytes >= PASSPHRASE_STEP_BYTES) {
        Some(bytes) => text::bytes(bytes),
        None => "more than any machine has".to_owned(),
    }
}

/// What sealed bytes hold: the key of the chunks, and small files by name.
pub type Opened = (DataKey, BTreeMap<String, Vec<u8>>);

/// Opens what [`seal`] has made.
///
/// # Errors
/// When the keys are others, or the bytes were damaged or are none of this program.
pub fn unseal(sealed: &[u8], with: &Unseal) -> std::result::Result<Opened, UnsealError> {
    let damaged = |e: &dyn fmt::Display| UnsealError::Damaged(e.to_string());
    let decryptor = Decryptor::new_buffered(sealed).map_err(|e| damaged(&e))?;
    let by_passphrase = decryptor.is_scrypt();
    let passphrase = with.passphrase.clone().filter(|_| by_passphrase).map(|passphrase| {
        let mut identity = scrypt::Identity::new(passphrase);
        identity.set_max_work_factor(PASSPHRASE_WORK);
        identity
    });
    let keys = with.identities.iter().filter(|_| !by_passphrase).map(|identity| identity as &dyn age::Identity);
    let all: Vec<&dyn age::Identity> =
        passphrase.iter().map(|identity| identity as &dyn age::Identity).chain(keys).collect();
    if all.is_empty() {
        return Err(UnsealError::NoKey);
    }
    let reader = decryptor.decrypt(all.into_iter()).map_err(|e| match e {
        DecryptError::NoMatchingKeys => UnsealError::OtherKey,
        DecryptError::KeyDecryptionFailed | DecryptError::DecryptionFailed if by_passphrase => {
            UnsealError::OtherPassphrase
        }
        DecryptError::ExcessiveWork { required, .. } => UnsealError::Work(required),
        e => damaged(&e),
    })?;
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    reader.take(limits::BUNDLE_SEALED_SIZE_BYTES_MAX as u64).read_to_end(&mut plain).map_err(|e| damaged(&e))?;
    let (key, files) = wire::decode_sealed(&plain).map_err(|e| damaged(&e))?;
    Ok((DataKey(key), files))
}

/// The passphrase that somebody typed or wrote into a file: its first line.
///
/// # Errors
/// When there is none.
pub fn passphrase(text: &str) -> Result<SecretString> {
    match text.lines().next().map(|line| line.trim_end_matches('\r')) {
        None | Some("") => Err(Error::usage("there is no passphrase in the first line")),
        Some(line) => Ok(SecretString::from(line.to_owned())),
    }
}

#[cfg(test)]
mod tests;
