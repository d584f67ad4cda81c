//! The bytes of `proto/bundle.proto`, strictly. The only place of this room that names the generated types.

use std::{collections::BTreeMap, ops::Range};

use prost::Message;
use zeroize::Zeroizing;

use super::{
    Paper,
    index::{DataFile, Index, OtherVolume},
};
use crate::{base::Blake3Hash, manifest::DecodeError};

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/regenesis.bundle.v1.rs"));
}

/// The number of the format; a newer regenesis writes a higher one.
const FORMAT: u32 = 1;
const DOMAIN: &[u8] = b"regenesis/bundle-index/v1\0";
const INDEX: &str = "index of a volume";
const SEALED: &str = "sealed part of a volume";

fn checksum(payload: &[u8]) -> Vec<u8> {
    blake3::Hasher::new().update(DOMAIN).update(payload).finalize().as_bytes().to_vec()
}

pub(super) fn encode(index: &Index) -> Vec<u8> {
    let ranges = |ranges: &[Range<u32>]| {
        ranges.iter().map(|r| proto::ChunkRange { first: r.start, count: r.end - r.start }).collect()
    };
    let payload = proto::Index {
        format: FORMAT,
        manifest_id: index.manifest_id.as_bytes().to_vec(),
        set: index.set.to_vec(),
        number: index.number,
        files: index
            .files
            .iter()
            .map(|file| proto::DataFile { size_bytes: file.size_bytes, chunks: ranges(&file.chunks) })
            .collect(),
        others: index
            .others
            .iter()
            .map(|other| proto::OtherVolume { number: other.number, chunks: ranges(&other.chunks) })
            .collect(),
        key_mark: index.key_mark.map(|mark| mark.to_vec()).unwrap_or_default(),
    }
    .encode_to_vec();
    proto::SealedIndex { checksum: checksum(&payload), payload }.encode_to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Index, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let sealed: proto::SealedIndex = decode_strictly(bytes, INDEX)?;
    if sealed.checksum != checksum(&sealed.payload) {
        return Err(DecodeError::Rule { field: "checksum", problem: "its bytes were damaged" });
    }
    // A newer one may have fields that this one does not know: its number is said first.
    let loose = proto::Index::decode(&sealed.payload[..]).map_err(|e| not_protobuf(INDEX, &e))?;
    if loose.format > FORMAT {
        return Err(DecodeError::Newer(loose.format));
    }
    let raw: proto::Index = decode_strictly(&sealed.payload, INDEX)?;
    if raw.format != FORMAT {
        return Err(DecodeError::Missing("format"));
    }
    Ok(Index {
        manifest_id: Blake3Hash::from_bytes(array("manifest_id", &raw.manifest_id)?),
        set: array("set", &raw.set)?,
        number: raw.number,
        files: raw
            .files
            .iter()
            .map(|file| Ok(DataFile { size_bytes: file.size_bytes, chunks: ranges(&file.chunks)? }))
            .collect::<Result<_, _>>()?,
        others: raw
            .others
            .iter()
            .map(|other| Ok(OtherVolume { number: other.number, chunks: ranges(&other.chunks)? }))
            .collect::<Result<_, _>>()?,
        key_mark: match raw.key_mark.as_slice() {
            [] => None,
            mark => Some(array("key_mark", mark)?),
        },
    })
}

/// The bytes that are sealed: the key, and the small files by name.
pub(super) fn encode_sealed(key: &[u8; 32], files: &[Paper]) -> Zeroizing<Vec<u8>> {
    let mut files: Vec<proto::SealedFile> =
        files.iter().map(|file| proto::SealedFile { name: file.name.clone(), content: file.bytes.clone() }).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Zeroizing::new(proto::Sealed { key: key.to_vec(), files }.encode_to_vec())
}

/// A key, and small files by name.
pub(super) type Unsealed = (Zeroizing<[u8; 32]>, BTreeMap<String, Vec<u8>>);

/// What [`encode_sealed`] has written.
pub(super) fn decode_sealed(bytes: &[u8]) -> Result<Unsealed, DecodeError> {
    let mut raw: proto::Sealed = decode_strictly(bytes, SEALED)?;
    let key = Zeroizing::new(std::mem::take(&mut raw.key));
    if raw.files.windows(2).any(|pair| pair[0].name >= pair[1].name) {
        return Err(DecodeError::Rule { field: "files", problem: "their names do not ascend" });
    }
    let files = raw.files.into_iter().map(|file| (file.name, file.content)).collect();
    Ok((Zeroizing::new(array("key", &key)?), files))
}

fn decode_strictly<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M, DecodeError> {
    let message = M::decode(bytes).map_err(|e| not_protobuf(what, &e))?;
    if message.encode_to_vec() != bytes {
        return Err(DecodeError::NotCanonical { what });
    }
    Ok(message)
}

fn not_protobuf(what: &'static str, error: &prost::DecodeError) -> DecodeError {
    DecodeError::NotProtobuf { what, problem: error.to_string() }
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length { field, expected: N, got: bytes.len() })
}

fn ranges(raw: &[proto::ChunkRange]) -> Result<Vec<Range<u32>>, DecodeError> {
    let range = |r: &proto::ChunkRange| r.first.checked_add(r.count).filter(|_| r.count > 0).map(|end| r.first..end);
    let all = raw.iter().map(range).collect::<Option<_>>();
    all.ok_or(DecodeError::Rule { field: "chunks", problem: "a range is empty or has no end" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_newer_program_is_said_to_be_that() {
        let payload = proto::Index { format: FORMAT + 1, ..Default::default() }.encode_to_vec();
        let bytes = proto::SealedIndex { checksum: checksum(&payload), payload }.encode_to_vec();
        assert_eq!(decode(&bytes), Err(DecodeError::Newer(FORMAT + 1)));
    }
}
