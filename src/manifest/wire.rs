//! Bytes of `proto/manifest.proto`, strictly: only bytes that re-encode to themselves are read. The only place that
//! names the generated types, with `wire/evidence.rs`.

use kwil_formats::{
    base::limits::PEERS_IN_CONFIG_MAX,
    formats::{
        Family, Validator,
        config::PeerAddress,
        key::{KeyError, KeyType, PublicKey},
    },
    judge::collation::Collation,
};
use prost::Message;
use zeroize::Zeroizing;

use super::{
    Artifact, ArtifactName, Attestations, Layout, LayoutError, Manifest, Network, Signature, StateDigest, TableDigest,
    Threshold, Ticket, TrustRules,
    statement::{Attestation, DifferingPart},
};
use crate::base::{
    Blake3Hash, Sha256Hash,
    limits::{DIFFERING_PARTS_MAX, UNIX_SECONDS_MAX},
};

mod binding;
mod evidence;

pub(super) use binding::{decode_binding, encode_binding};
pub(super) use evidence::{
    RawEvidence, decode_evidence, decode_readiness, decode_refusal, encode_evidence, encode_exclusion_head,
    encode_head, encode_readiness, encode_refusal,
};

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/regenesis.manifest.v1.rs"));
}

/// The number of the format, which says what a manifest's fields mean; a newer regenesis writes a higher one.
pub(super) const FORMAT: u32 = 1;
/// The number of the format of a ticket's message, which says what its fields mean.
pub(super) const TICKET_VERSION: u32 = 1;

/// Why bytes are no manifest, statement or ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than are ever read.
    #[error("it has {size} bytes; at most {max} are read")]
    TooLarge {
        /// How many bytes there are.
        size: usize,
        /// The most bytes that are read.
        max: usize,
    },
    /// There are no bytes at all.
    #[error("it is empty")]
    Empty,
    /// The bytes are none of the messages that were looked for.
    #[error("its bytes are no {what} (cut, or something else): {problem}")]
    NotProtobuf {
        /// The message that was looked for.
        what: &'static str,
        /// What the reader of protobuf says.
        problem: String,
    },
    /// Readable, but not the one way to write it: something was added or re-ordered.
    #[error(
        "its bytes are not the ones that regenesis writes for this {what}: something was added, padded or re-ordered"
    )]
    NotCanonical {
        /// The message that was read.
        what: &'static str,
    },
    /// A format number that this program does not know.
    #[error("it was made by a newer regenesis (format {0}, this one reads up to {FORMAT})")]
    Newer(u32),
    /// The field of this name must be there and is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field's bytes have a wrong length.
    #[error("{field} has {got} bytes, not {expected}")]
    Length {
        /// The name of the field.
        field: &'static str,
        /// How many bytes it must have.
        expected: usize,
        /// How many bytes it has.
        got: usize,
    },
    /// An enum value without a meaning.
    #[error("{field} has the unknown value {value}")]
    UnknownValue {
        /// The name of the field.
        field: &'static str,
        /// The number that stands in the field.
        value: i32,
    },
    /// The list of this name must be sorted with each entry once, and is not.
    #[error("{0} are not sorted, or one stands there twice")]
    NotSorted(&'static str),
    /// The bytes of a public key are no key.
    #[error("{field}: {problem}")]
    Key {
        /// The name of the field.
        field: &'static str,
        /// Why the bytes are no key.
        problem: KeyError,
    },
    /// An artifact's size and chunk size do not go together.
    #[error("{artifact}: {problem}")]
    Layout {
        /// The artifact that is at fault.
        artifact: ArtifactName,
        /// Why they do not.
        problem: LayoutError,
    },
    /// An artifact has too few or too many chunk ids.
    #[error("the {artifact} has {got} chunk ids, but its size makes {expected} chunks")]
    ChunkCount {
        /// The artifact that is at fault.
        artifact: ArtifactName,
        /// The number of chunks that its layout makes.
        expected: usize,
        /// The number of chunk ids in the manifest.
        got: usize,
    },
    /// A rule that the fields must keep, alone or among themselves, is broken.
    #[error("{field}: {problem}")]
    Rule {
        /// The name of the field.
        field: &'static str,
        /// What the field is and must not be.
        problem: &'static str,
    },
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Decodes and insists that these bytes are the only way to write what they say.
fn decode_strictly<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M> {
    let message = decode_loosely::<M>(bytes, what)?;
    if message.encode_to_vec() != bytes {
        return Err(DecodeError::NotCanonical { what });
    }
    Ok(message)
}

fn encode(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

fn decode_loosely<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    M::decode(bytes).map_err(|e| DecodeError::NotProtobuf { what, problem: e.to_string() })
}

/// The number that says what all other fields mean; alone, so that it can be read from any later format.
#[derive(Clone, PartialEq, Message)]
struct FormatOnly {
    #[prost(uint32, tag = "1")]
    format: u32,
}

fn check_format(bytes: &[u8], what: &'static str, known: u32) -> Result<()> {
    match decode_loosely::<FormatOnly>(bytes, what)?.format {
        0 => Err(DecodeError::Missing("the format number")),
        newer if newer > known => Err(DecodeError::Newer(newer)),
        _ => Ok(()),
    }
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| DecodeError::Length { field, expected: N, got: bytes.len() })
}

fn blake3(field: &'static str, bytes: &[u8]) -> Result<Blake3Hash> {
    array(field, bytes).map(Blake3Hash::from_bytes)
}

fn sha256(field: &'static str, bytes: &[u8]) -> Result<Sha256Hash> {
    array(field, bytes).map(Sha256Hash::from_bytes)
}

fn required<T>(field: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or(DecodeError::Missing(field))
}

fn encode_key_type(kind: KeyType) -> i32 {
    match kind {
        KeyType::Ed25519 => proto::KeyType::Ed25519.into(),
        KeyType::Secp256k1 => proto::KeyType::Secp256k1.into(),
    }
}

fn decode_key(field: &'static str, kind: i32, bytes: &[u8]) -> Result<PublicKey> {
    let kind = match proto::KeyType::try_from(kind) {
        Ok(proto::KeyType::Ed25519) => KeyType::Ed25519,
        Ok(proto::KeyType::Secp256k1) => KeyType::Secp256k1,
        Ok(proto::KeyType::Unspecified) | Err(_) => return Err(DecodeError::UnknownValue { field, value: kind }),
    };
    PublicKey::new(kind, bytes).map_err(|problem| DecodeError::Key { field, problem })
}

fn encode_cosigner(key: &PublicKey) -> proto::CoSigner {
    proto::CoSigner { key_type: encode_key_type(key.key_type()), public_key: key.bytes().to_vec() }
}

fn decode_cosigner(field: &'static str, key: Option<proto::CoSigner>) -> Result<PublicKey> {
    let key = required(field, key)?;
    decode_key(field, key.key_type, &key.public_key)
}

fn encode_signature(signature: &Signature) -> proto::Signature {
    proto::Signature {
        key_type: encode_key_type(signature.key.key_type()),
        public_key: signature.key.bytes().to_vec(),
        signature: signature.signature.to_vec(),
    }
}

fn decode_signature(signature: &proto::Signature) -> Result<Signature> {
    Ok(Signature {
        key: decode_key("signatures.public_key", signature.key_type, &signature.public_key)?,
        signature: array("signatures.signature", &signature.signature)?,
    })
}

pub(super) fn encode_signed(payload: &[u8], signatures: &[Signature]) -> Vec<u8> {
    let signatures = signatures.iter().map(encode_signature).collect();
    proto::SignedManifest { payload: payload.to_vec(), signatures }.encode_to_vec()
}

pub(super) fn decode_signed(bytes: &[u8]) -> Result<(Vec<u8>, Vec<Signature>)> {
    let signed: proto::SignedManifest = decode_strictly(bytes, "signed manifest")?;
    let signatures = signed.signatures.iter().map(decode_signature).collect::<Result<_>>()?;
    Ok((signed.payload, signatures))
}

pub(super) fn encode_manifest(manifest: &Manifest) -> Vec<u8> {
    proto::Manifest {
        format: FORMAT,
        network: Some(proto::Network {
            family: match manifest.network.family {
                Family::V09 => proto::Family::V09.into(),
                Family::V010 => proto::Family::V010.into(),
            },
            old_chain_id: manifest.network.old_chain_id.clone().unwrap_or_default(),
            new_chain_id: manifest.network.new_chain_id.clone(),
            height: manifest.network.height,
        }),
        sequence: manifest.sequence,
        created_unix_seconds: manifest.created_unix_seconds,
        not_after_unix_seconds: manifest.not_after_unix_seconds.unwrap_or_default(),
        artifacts: manifest.artifacts.iter().map(encode_artifact).collect(),
        state_hash: manifest.state_hash.as_bytes().to_vec(),
        text_size_bytes: manifest.text_size_bytes,
        state_digest: manifest.state_digest.as_ref().map(encode_state_digest),
        old_validators: manifest.old_validators.iter().map(encode_validator).collect(),
        new_validators: manifest.new_validators.iter().map(encode_validator).collect(),
        trust: Some(encode_trust(&manifest.trust, true)),
        supersedes: manifest.supersedes.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        node_addresses: manifest.node_addresses.iter().map(ToString::to_string).collect(),
        collation: manifest.collation.as_ref().map(encode_collation),
        new_leader: manifest.new_leader.as_ref().map(encode_cosigner),
    }
    .encode_to_vec()
}

pub(super) fn decode_manifest(payload: &[u8]) -> Result<Manifest> {
    check_format(payload, "manifest", FORMAT)?;
    let raw: proto::Manifest = decode_strictly(payload, "manifest")?;
    let network = required("network", raw.network)?;
    let family = decode_family(network.family)?;
    if raw.node_addresses.len() > PEERS_IN_CONFIG_MAX {
        return Err(DecodeError::Rule { field: "node_addresses", problem: "more than a configuration takes" });
    }
    let manifest = Manifest {
        network: Network {
            family,
            old_chain_id: Some(network.old_chain_id).filter(|id| !id.is_empty()),
            new_chain_id: network.new_chain_id,
            height: network.height,
        },
        sequence: raw.sequence,
        created_unix_seconds: raw.created_unix_seconds,
        not_after_unix_seconds: Some(raw.not_after_unix_seconds).filter(|t| *t > 0),
        artifacts: raw.artifacts.iter().map(decode_artifact).collect::<Result<_>>()?,
        state_hash: sha256("state_hash", &raw.state_hash)?,
        text_size_bytes: raw.text_size_bytes,
        state_digest: raw.state_digest.map(decode_state_digest).transpose()?,
        old_validators: decode_validators("old_validators", &raw.old_validators)?,
        new_validators: decode_validators("new_validators", &raw.new_validators)?,
        trust: decode_trust(required("trust", raw.trust)?, None)?,
        supersedes: bytes_unless_empty(&raw.supersedes).map(|id| blake3("supersedes", id)).transpose()?,
        node_addresses: raw.node_addresses.iter().map(|text| decode_peer(family, text)).collect::<Result<_>>()?,
        collation: raw.collation.map(decode_collation).transpose()?,
        new_leader: raw.new_leader.map(|key| decode_cosigner("new_leader", Some(key))).transpose()?,
    };
    manifest.check()?;
    Ok(manifest)
}

/// An address that is written as a configuration has it; nothing else of it is ever written there.
fn decode_peer(family: Family, text: &str) -> Result<PeerAddress> {
    let unfit = DecodeError::Rule { field: "node_addresses", problem: "one is no address of a node of this family" };
    PeerAddress::parse(family, text).ok().filter(|peer| peer.to_string() == *text).ok_or(unfit)
}

fn encode_collation(collation: &Collation) -> proto::Collation {
    let Collation { encoding, provider, collate, ctype, icu_locale, icu_rules, version, server_major, .. } =
        collation.clone();
    proto::Collation {
        encoding,
        provider,
        collate,
        ctype,
        icu_locale,
        icu_rules,
        version,
        server_major,
        text_keys: collation.text_keys,
        text_key_tables: collation.text_key_tables.clone(),
    }
}

fn decode_collation(raw: proto::Collation) -> Result<Collation> {
    let collation = Collation {
        encoding: raw.encoding,
        provider: raw.provider,
        collate: raw.collate,
        ctype: raw.ctype,
        icu_locale: raw.icu_locale,
        icu_rules: raw.icu_rules,
        version: raw.version,
        server_major: raw.server_major,
        text_keys: raw.text_keys,
        text_key_tables: raw.text_key_tables,
    };
    if collation.is_plain() {
        Ok(collation)
    } else {
        Err(DecodeError::Rule { field: "collation", problem: "too long, or with characters that no locale has" })
    }
}

fn bytes_unless_empty(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

fn decode_family(value: i32) -> Result<Family> {
    match proto::Family::try_from(value) {
        Ok(proto::Family::V09) => Ok(Family::V09),
        Ok(proto::Family::V010) => Ok(Family::V010),
        Ok(proto::Family::Unspecified) | Err(_) => Err(DecodeError::UnknownValue { field: "network.family", value }),
    }
}

fn encode_artifact(artifact: &Artifact) -> proto::Artifact {
    proto::Artifact {
        name: match artifact.name {
            ArtifactName::Genesis => proto::ArtifactName::Genesis.into(),
            ArtifactName::Snapshot => proto::ArtifactName::Snapshot.into(),
        },
        size_bytes: artifact.layout.size_bytes(),
        root: artifact.root.as_bytes().to_vec(),
        sha256: artifact.sha256.as_bytes().to_vec(),
        chunk_size_bytes: artifact.layout.chunk_size_bytes(),
        chunk_ids: artifact.chunk_ids.iter().flat_map(|id| *id.as_bytes()).collect(),
    }
}

fn decode_artifact(raw: &proto::Artifact) -> Result<Artifact> {
    let name = match proto::ArtifactName::try_from(raw.name) {
        Ok(proto::ArtifactName::Genesis) => ArtifactName::Genesis,
        Ok(proto::ArtifactName::Snapshot) => ArtifactName::Snapshot,
        Ok(proto::ArtifactName::Unspecified) | Err(_) => {
            return Err(DecodeError::UnknownValue { field: "artifacts.name", value: raw.name });
        }
    };
    let layout = Layout::new(raw.size_bytes, raw.chunk_size_bytes)
        .map_err(|problem| DecodeError::Layout { artifact: name, problem })?;
    let (ids, rest) = raw.chunk_ids.as_chunks::<32>();
    if !rest.is_empty() {
        let expected = layout.chunk_count() as usize * 32;
        return Err(DecodeError::Length { field: "artifacts.chunk_ids", expected, got: raw.chunk_ids.len() });
    }
    // As many as the layout has chunks: `Manifest::check`.
    Ok(Artifact {
        name,
        layout,
        root: blake3("artifacts.root", &raw.root)?,
        sha256: sha256("artifacts.sha256", &raw.sha256)?,
        chunk_ids: ids.iter().copied().map(Blake3Hash::from_bytes).collect(),
    })
}

fn encode_state_digest(digest: &StateDigest) -> proto::StateDigest {
    let table = |t: &TableDigest| proto::Table {
        name: t.name.clone(),
        rows: t.rows,
        digest: t.digest.as_bytes().to_vec(),
        columns: t.columns.clone(),
    };
    proto::StateDigest {
        digest: digest.digest.as_bytes().to_vec(),
        schema_digest: digest.schema_digest.as_bytes().to_vec(),
        server_major: digest.server_major,
        dump_major: digest.dump_major,
        tables: digest.tables.iter().map(table).collect(),
    }
}

fn decode_state_digest(raw: proto::StateDigest) -> Result<StateDigest> {
    let table = |t: proto::Table| {
        let digest = blake3("state_digest.tables.digest", &t.digest)?;
        Ok(TableDigest { name: t.name, columns: t.columns, rows: t.rows, digest })
    };
    Ok(StateDigest {
        digest: blake3("state_digest.digest", &raw.digest)?,
        schema_digest: blake3("state_digest.schema_digest", &raw.schema_digest)?,
        server_major: raw.server_major,
        dump_major: raw.dump_major,
        tables: raw.tables.into_iter().map(table).collect::<Result<_>>()?,
    })
}

fn encode_validator(validator: &Validator) -> proto::Validator {
    proto::Validator {
        key_type: encode_key_type(validator.key.key_type()),
        public_key: validator.key.bytes().to_vec(),
        power: validator.power,
    }
}

fn decode_validators(field: &'static str, raw: &[proto::Validator]) -> Result<Vec<Validator>> {
    let validator = |v: &proto::Validator| {
        decode_key(field, v.key_type, &v.public_key).map(|key| Validator { key, power: v.power })
    };
    raw.iter().map(validator).collect()
}

/// `with_lead`: a ticket names its lead elsewhere and is kept short.
fn encode_trust(rules: &TrustRules, with_lead: bool) -> proto::TrustRules {
    use proto::attestations::Rule;
    let rule = match &rules.attestations {
        Attestations::None => Rule::None(proto::NoAttestations {}),
        Attestations::PowerOver { numerator, denominator } => {
            Rule::PowerOver(proto::Fraction { numerator: *numerator, denominator: *denominator })
        }
        Attestations::Count(n) => Rule::Count(*n),
        Attestations::LeaderAndMajority { leader } => {
            Rule::LeaderAndMajority(proto::LeaderAndMajority { leader: Some(encode_cosigner(leader)) })
        }
    };
    proto::TrustRules {
        threshold: match rules.threshold {
            Threshold::Count(n) => n,
            Threshold::PowerOver { .. } => 0,
        },
        threshold_of_power: match rules.threshold {
            Threshold::Count(_) => None,
            Threshold::PowerOver { numerator, denominator } => Some(proto::Fraction { numerator, denominator }),
        },
        cosigners: rules.cosigners.iter().map(encode_cosigner).collect(),
        attestations: Some(proto::Attestations { rule: Some(rule) }),
        lead: with_lead.then(|| encode_cosigner(&rules.lead)),
    }
}

/// `lead`: of a ticket, which names it elsewhere.
fn decode_trust(raw: proto::TrustRules, lead: Option<PublicKey>) -> Result<TrustRules> {
    use proto::attestations::Rule;
    let lead = match (lead, raw.lead) {
        (Some(_), Some(_)) => return Err(DecodeError::Rule { field: "policy.lead", problem: "named twice" }),
        (Some(lead), None) => lead,
        (None, raw) => decode_cosigner("trust.lead", raw)?,
    };
    let rule = required("trust.attestations", raw.attestations.and_then(|a| a.rule))?;
    let cosigners = raw.cosigners.into_iter().map(|key| decode_cosigner("trust.cosigners", Some(key)));
    Ok(TrustRules {
        lead,
        threshold: match (raw.threshold, raw.threshold_of_power) {
            (n, None) => Threshold::Count(n),
            (0, Some(f)) => Threshold::PowerOver { numerator: f.numerator, denominator: f.denominator },
            _ => return Err(DecodeError::Rule { field: "trust.threshold", problem: "a number and a fraction" }),
        },
        cosigners: cosigners.collect::<Result<_>>()?,
        attestations: match rule {
            Rule::None(_) => Attestations::None,
            Rule::PowerOver(f) => Attestations::PowerOver { numerator: f.numerator, denominator: f.denominator },
            Rule::Count(n) => Attestations::Count(n),
            Rule::LeaderAndMajority(l) => {
                Attestations::LeaderAndMajority { leader: decode_cosigner("trust.attestations.leader", l.leader)? }
            }
        },
    })
}

pub(super) fn encode_ticket(ticket: &Ticket) -> Zeroizing<Vec<u8>> {
    let mut raw = proto::Ticket {
        version: TICKET_VERSION,
        new_chain_id: ticket.new_chain_id.clone(),
        manifest_id: ticket.manifest_id.as_bytes().to_vec(),
        lead: Some(encode_cosigner(&ticket.lead)),
        policy: Some(encode_trust(&ticket.policy, false)),
        secret: ticket.secret.as_ref().map(|s| s.to_vec()).unwrap_or_default(),
        addresses: ticket.addresses.clone(),
    };
    let bytes = Zeroizing::new(raw.encode_to_vec());
    zeroize::Zeroize::zeroize(&mut raw.secret);
    bytes
}

/// The fields alone; [`Ticket`] checks them among themselves.
pub(super) fn decode_ticket(bytes: &[u8]) -> Result<Ticket> {
    check_format(bytes, "ticket", TICKET_VERSION)?;
    let raw: proto::Ticket = decode_strictly(bytes, "ticket")?;
    let secret = Zeroizing::new(raw.secret);
    let lead = decode_cosigner("lead", raw.lead)?;
    Ok(Ticket {
        new_chain_id: raw.new_chain_id,
        manifest_id: blake3("manifest_id", &raw.manifest_id)?,
        policy: decode_trust(required("policy", raw.policy)?, Some(lead))?,
        lead,
        secret: bytes_unless_empty(&secret).map(|s| array("secret", s).map(Zeroizing::new)).transpose()?,
        addresses: raw.addresses,
    })
}

pub(super) fn encode_attestation(attestation: &Attestation) -> Vec<u8> {
    proto::Attestation {
        manifest_id: attestation.manifest_id.as_bytes().to_vec(),
        state_digest: attestation.state_digest.as_bytes().to_vec(),
        height: attestation.height,
        created_unix_seconds: attestation.created_unix_seconds,
        differs: encode_parts(&attestation.differs),
    }
    .encode_to_vec()
}

pub(super) fn decode_attestation(payload: &[u8]) -> Result<Attestation> {
    let raw: proto::Attestation = decode_strictly(payload, "attestation")?;
    if raw.created_unix_seconds > UNIX_SECONDS_MAX {
        return Err(DecodeError::Rule { field: "created_unix_seconds", problem: "after the year 9999" });
    }
    Ok(Attestation {
        manifest_id: blake3("manifest_id", &raw.manifest_id)?,
        state_digest: blake3("state_digest", &raw.state_digest)?,
        height: raw.height,
        created_unix_seconds: raw.created_unix_seconds,
        differs: decode_parts(raw.differs)?,
    })
}

fn encode_parts(parts: &[DifferingPart]) -> Vec<proto::DifferingPart> {
    parts.iter().map(|part| proto::DifferingPart { name: part.name.clone(), rows: part.rows }).collect()
}

fn decode_parts(raw: Vec<proto::DifferingPart>) -> Result<Vec<DifferingPart>> {
    let part = |proto::DifferingPart { name, rows }| DifferingPart { name, rows };
    let parts: Vec<DifferingPart> = raw.into_iter().map(part).collect();
    if parts.len() > DIFFERING_PARTS_MAX || !parts.iter().all(DifferingPart::is_harmless) {
        return Err(DecodeError::Rule { field: "differs", problem: "too many, or one has no name that is shown" });
    }
    Ok(parts)
}

pub(super) fn encode_statements(statements: &[Vec<u8>]) -> Vec<u8> {
    proto::Statements { statements: statements.to_vec() }.encode_to_vec()
}

pub(super) fn decode_statements(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    decode_strictly::<proto::Statements>(bytes, "list of statements").map(|raw| raw.statements)
}

pub(super) fn encode_statement(payload: &[u8], signature: &Signature) -> Vec<u8> {
    proto::SignedStatement { payload: payload.to_vec(), signature: Some(encode_signature(signature)) }.encode_to_vec()
}

pub(super) fn decode_statement(bytes: &[u8]) -> Result<(Vec<u8>, Signature)> {
    let raw: proto::SignedStatement = decode_strictly(bytes, "signed statement")?;
    Ok((raw.payload, decode_signature(&required("signature", raw.signature)?)?))
}
