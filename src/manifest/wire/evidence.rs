//! The bytes of what is proved to others: readiness statements, certificates, a lead's two faces, newer manifests, revocations.

use kwil_formats::{base::limits::PEER_ADDRESSES_EACH_MAX, formats::config::parse_place};

use super::{
    super::{
        certificate::Certificate,
        evidence::{Evidence, HeadSignatures, SignedHead},
        signed::Head,
        signing::Refusal,
        statement::{Readiness, Stage, SwarmIdentity},
    },
    DecodeError, PublicKey, Result, array, blake3, check_format, decode_cosigner, decode_parts, decode_signature,
    decode_strictly, encode, encode_cosigner, encode_parts, encode_signature, proto, required, sha256,
};
use crate::base::limits;

/// The number of the format of evidence, which says what its fields mean.
const EVIDENCE_FORMAT: u32 = 1;

pub(in super::super) fn encode_head(head: &Head<'_>) -> Vec<u8> {
    encode(&head_message(head))
}

/// What is signed to take a validator's access to a manifest's swarm back.
pub(in super::super) fn encode_exclusion_head(head: &Head<'_>, validator: &PublicKey) -> Vec<u8> {
    encode(&proto::ExclusionHead { manifest: Some(head_message(head)), validator: Some(encode_cosigner(validator)) })
}

fn head_message(head: &Head<'_>) -> proto::ManifestHead {
    proto::ManifestHead {
        manifest_id: head.manifest_id.as_bytes().to_vec(),
        sequence: head.sequence,
        new_chain_id: head.new_chain_id.to_owned(),
        lead: Some(encode_cosigner(head.lead)),
    }
}

pub(in super::super) fn encode_readiness(readiness: &Readiness) -> Vec<u8> {
    encode(&proto::Readiness {
        manifest_id: readiness.manifest_id.as_bytes().to_vec(),
        created_unix_seconds: readiness.created_unix_seconds,
        places: readiness.places.clone(),
        genesis_sha256: readiness.genesis_sha256.as_bytes().to_vec(),
        stage: match readiness.stage {
            Stage::RootReady => proto::Stage::RootReady.into(),
            Stage::Confirmed => proto::Stage::Confirmed.into(),
            Stage::Differs => proto::Stage::Differs.into(),
        },
        differs: encode_parts(&readiness.differs),
        kwild_version: readiness.kwild_version.clone().unwrap_or_default(),
        swarm: readiness
            .swarm
            .as_ref()
            .map(|swarm| proto::SwarmIdentity { key: swarm.key.to_vec(), signature: swarm.signature.clone() }),
    })
}

pub(in super::super) fn decode_readiness(payload: &[u8]) -> Result<Readiness> {
    let raw: proto::Readiness = decode_strictly(payload, "readiness statement")?;
    let rule = |field, problem| Err(DecodeError::Rule { field, problem });
    let written = |place: &String| parse_place(place).is_ok_and(|(host, port)| format!("{host}:{port}") == *place);
    if raw.places.len() > PEER_ADDRESSES_EACH_MAX || !raw.places.iter().all(written) {
        return rule("places", "too many, or one is no host and port");
    }
    if raw.created_unix_seconds > limits::UNIX_SECONDS_MAX {
        return rule("created_unix_seconds", "after the year 9999");
    }
    let differs = decode_parts(raw.differs)?;
    if differs.is_empty() == (raw.stage == i32::from(proto::Stage::Differs)) {
        return rule("differs", "named where nothing differs, or not named where something does");
    }
    let version = Some(raw.kwild_version).filter(|version| !version.is_empty());
    if version.as_deref().is_some_and(|version| !Readiness::is_version(version)) {
        return rule("kwild_version", "too long, or with characters that no version has");
    }
    Ok(Readiness {
        manifest_id: blake3("manifest_id", &raw.manifest_id)?,
        genesis_sha256: sha256("genesis_sha256", &raw.genesis_sha256)?,
        stage: match proto::Stage::try_from(raw.stage) {
            Ok(proto::Stage::RootReady) => Stage::RootReady,
            Ok(proto::Stage::Confirmed) => Stage::Confirmed,
            Ok(proto::Stage::Differs) => Stage::Differs,
            Ok(proto::Stage::Unspecified) | Err(_) => {
                return Err(DecodeError::UnknownValue { field: "stage", value: raw.stage });
            }
        },
        kwild_version: version,
        differs,
        places: raw.places,
        created_unix_seconds: raw.created_unix_seconds,
        swarm: match raw.swarm {
            Some(swarm) => Some(SwarmIdentity { key: array("swarm.key", &swarm.key)?, signature: swarm.signature }),
            None => None,
        },
    })
}

pub(in super::super) fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    encode(&proto::Refusal {
        manifest_id: refusal.manifest_id.as_bytes().to_vec(),
        created_unix_seconds: refusal.created_unix_seconds,
        reason: refusal.reason.clone(),
    })
}

pub(in super::super) fn decode_refusal(payload: &[u8]) -> Result<Refusal> {
    let raw: proto::Refusal = decode_strictly(payload, "refusal")?;
    if raw.created_unix_seconds > limits::UNIX_SECONDS_MAX {
        return Err(DecodeError::Rule { field: "created_unix_seconds", problem: "after the year 9999" });
    }
    if raw.reason.is_empty() || raw.reason != Refusal::harmless(&raw.reason) {
        return Err(DecodeError::Rule { field: "reason", problem: "empty, too long, or with control characters" });
    }
    Ok(Refusal {
        manifest_id: blake3("manifest_id", &raw.manifest_id)?,
        created_unix_seconds: raw.created_unix_seconds,
        reason: raw.reason,
    })
}

fn statement(bytes: &[u8]) -> proto::SignedStatement {
    decode_strictly(bytes, "signed statement").expect("each was read or written before it came into a certificate")
}

fn head_signatures(head: &HeadSignatures) -> proto::HeadSignatures {
    proto::HeadSignatures {
        manifest_id: head.manifest_id.as_bytes().to_vec(),
        sequence: head.sequence,
        new_chain_id: head.new_chain_id.clone(),
        lead: Some(encode_cosigner(&head.lead)),
        signatures: head.signatures.iter().map(encode_signature).collect(),
    }
}

fn decode_head_signatures(raw: proto::HeadSignatures) -> Result<HeadSignatures> {
    Ok(HeadSignatures {
        manifest_id: blake3("evidence's manifest_id", &raw.manifest_id)?,
        sequence: raw.sequence,
        new_chain_id: raw.new_chain_id,
        lead: decode_cosigner("evidence's lead", raw.lead)?,
        signatures: raw.signatures.iter().map(decode_signature).collect::<Result<_>>()?,
    })
}

pub(in super::super) fn encode_evidence(evidence: &Evidence) -> Vec<u8> {
    use proto::evidence::What;
    let what = match evidence {
        Evidence::Certificate(certificate) => What::Certificate(proto::Certificate {
            manifest_id: certificate.manifest_id.as_bytes().to_vec(),
            genesis_sha256: certificate.genesis_sha256.as_bytes().to_vec(),
            statements: certificate.statements.iter().map(|bytes| statement(bytes)).collect(),
        }),
        Evidence::Equivocation(equivocation) => {
            let head = |head: &SignedHead| proto::SignedHead {
                manifest_id: head.manifest_id.as_bytes().to_vec(),
                signature: head.signature.to_vec(),
            };
            let [first, second] = equivocation.heads().each_ref().map(head);
            What::Equivocation(proto::Equivocation {
                new_chain_id: equivocation.new_chain_id().to_owned(),
                lead: Some(encode_cosigner(equivocation.lead())),
                sequence: equivocation.sequence(),
                first: Some(first),
                second: Some(second),
            })
        }
        Evidence::Issue(head) => What::Issue(head_signatures(head)),
        Evidence::Revocation(head) => What::Revocation(head_signatures(head)),
        Evidence::Exclusion(exclusion) => What::Exclusion(proto::Exclusion {
            head: Some(head_signatures(exclusion.head())),
            validator: Some(encode_cosigner(exclusion.validator())),
        }),
    };
    encode(&proto::Evidence { format: EVIDENCE_FORMAT, what: Some(what) })
}

/// What the fields of a file of evidence are; what they prove is looked at by whoever makes its type of them.
pub(in super::super) enum RawEvidence {
    Certificate(Certificate),
    Equivocation { new_chain_id: String, lead: PublicKey, sequence: u64, heads: [SignedHead; 2] },
    Issue(HeadSignatures),
    Revocation(HeadSignatures),
    Exclusion(HeadSignatures, PublicKey),
}

pub(in super::super) fn decode_evidence(bytes: &[u8]) -> Result<RawEvidence> {
    use proto::evidence::What;
    check_format(bytes, "evidence", EVIDENCE_FORMAT)?;
    let raw: proto::Evidence = decode_strictly(bytes, "evidence")?;
    match required("what it is evidence of", raw.what)? {
        What::Certificate(raw) => Ok(RawEvidence::Certificate(Certificate {
            manifest_id: blake3("certificate.manifest_id", &raw.manifest_id)?,
            genesis_sha256: sha256("certificate.genesis_sha256", &raw.genesis_sha256)?,
            statements: raw.statements.iter().map(encode).collect(),
        })),
        What::Equivocation(raw) => {
            let head = |head: Option<proto::SignedHead>| {
                let head = required("equivocation.first or second", head)?;
                let manifest_id = blake3("equivocation.manifest_id", &head.manifest_id)?;
                Ok(SignedHead { manifest_id, signature: array("equivocation.signature", &head.signature)? })
            };
            Ok(RawEvidence::Equivocation {
                new_chain_id: raw.new_chain_id,
                lead: decode_cosigner("equivocation.lead", raw.lead)?,
                sequence: raw.sequence,
                heads: [head(raw.first)?, head(raw.second)?],
            })
        }
        What::Issue(raw) => decode_head_signatures(raw).map(RawEvidence::Issue),
        What::Revocation(raw) => decode_head_signatures(raw).map(RawEvidence::Revocation),
        What::Exclusion(raw) => {
            let head = decode_head_signatures(required("exclusion.head", raw.head)?)?;
            Ok(RawEvidence::Exclusion(head, decode_cosigner("exclusion.validator", raw.validator)?))
        }
    }
}
