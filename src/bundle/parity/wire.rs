//! The bytes of `proto/parity.proto`, strictly. The only place of this room that names the generated types.

use std::ops::Range;

use prost::Message;

use super::ParityIndex;
use crate::{base::Blake3Hash, manifest::DecodeError};

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/regenesis.parity.v1.rs"));
}

/// The number of the format; a newer regenesis writes a higher one.
const FORMAT: u32 = 1;
const DOMAIN: &[u8] = b"regenesis/parity/v1\0";
const WHAT: &str = "index of parity";
const ID_BYTES: usize = 32;

fn checksum(payload: &[u8]) -> Vec<u8> {
    blake3::Hasher::new().update(DOMAIN).update(payload).finalize().as_bytes().to_vec()
}

pub(super) fn encode(index: &ParityIndex) -> Vec<u8> {
    let ranges = |ranges: &Vec<Range<u32>>| {
        ranges.iter().map(|r| proto::ParityRange { first: r.start, count: r.end - r.start }).collect()
    };
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let payload = proto::Parity {
        format: FORMAT,
        manifest_id: index.manifest_id.as_bytes().to_vec(),
        set: index.set.to_vec(),
        data: index.data.iter().map(|volume| proto::DataVolume { chunks: ranges(volume) }).collect(),
        parity_count: number(index.parity_count),
        parity_number: number(index.parity_number),
        shard_ids: index.shard_ids.iter().flat_map(|id| *id.as_bytes()).collect(),
    }
    .encode_to_vec();
    proto::SealedParity { checksum: checksum(&payload), payload }.encode_to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Result<ParityIndex, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let sealed: proto::SealedParity = decode_strictly(bytes)?;
    if sealed.checksum != checksum(&sealed.payload) {
        return Err(DecodeError::Rule { field: "checksum", problem: "its bytes were damaged" });
    }
    // A newer one may have fields that this one does not know: its number is said first.
    let loose = proto::Parity::decode(&sealed.payload[..]).map_err(not_protobuf)?;
    if loose.format > FORMAT {
        return Err(DecodeError::Newer(loose.format));
    }
    let raw: proto::Parity = decode_strictly(&sealed.payload)?;
    if raw.format != FORMAT {
        return Err(DecodeError::Missing("format"));
    }
    let (ids, rest) = raw.shard_ids.as_chunks::<ID_BYTES>();
    if !rest.is_empty() {
        return Err(DecodeError::Rule { field: "shard_ids", problem: "the last one is cut" });
    }
    let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(ParityIndex {
        manifest_id: Blake3Hash::from_bytes(array("manifest_id", &raw.manifest_id)?),
        set: array("set", &raw.set)?,
        data: raw.data.iter().map(|volume| ranges(&volume.chunks)).collect::<Result<_, _>>()?,
        parity_count: number(raw.parity_count),
        parity_number: number(raw.parity_number),
        shard_ids: ids.iter().map(|id| Blake3Hash::from_bytes(*id)).collect(),
    })
}

fn decode_strictly<M: Message + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    let message = M::decode(bytes).map_err(not_protobuf)?;
    if message.encode_to_vec() != bytes {
        return Err(DecodeError::NotCanonical { what: WHAT });
    }
    Ok(message)
}

fn not_protobuf(error: prost::DecodeError) -> DecodeError {
    DecodeError::NotProtobuf { what: WHAT, problem: error.to_string() }
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length { field, expected: N, got: bytes.len() })
}

fn ranges(raw: &[proto::ParityRange]) -> Result<Vec<Range<u32>>, DecodeError> {
    let range = |r: &proto::ParityRange| r.first.checked_add(r.count).filter(|_| r.count > 0).map(|end| r.first..end);
    let all = raw.iter().map(range).collect::<Option<_>>();
    all.ok_or(DecodeError::Rule { field: "chunks", problem: "a range is empty or has no end" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(payload: Vec<u8>) -> Vec<u8> {
        proto::SealedParity { checksum: checksum(&payload), payload }.encode_to_vec()
    }

    #[test]
    fn one_of_a_newer_program_is_said_to_be_that() {
        let mut payload = proto::Parity { format: FORMAT + 1, ..Default::default() }.encode_to_vec();
        // A field that this one does not know.
        payload.extend([0x7a, 0x01, 0x00]);
        assert_eq!(decode(&sealed(payload)), Err(DecodeError::Newer(FORMAT + 1)));
    }

    #[test]
    fn what_this_program_would_not_write_is_refused() {
        let good = proto::Parity {
            format: FORMAT,
            manifest_id: vec![7; 32],
            set: vec![1; 8],
            data: vec![proto::DataVolume { chunks: vec![proto::ParityRange { first: 0, count: 2 }] }],
            parity_count: 1,
            parity_number: 0,
            shard_ids: vec![9; 64],
        };
        let bytes = |change: &dyn Fn(&mut proto::Parity)| {
            let mut changed = good.clone();
            change(&mut changed);
            sealed(changed.encode_to_vec())
        };
        assert!(decode(&bytes(&|_| ())).is_ok());
        let refused = |change: &dyn Fn(&mut proto::Parity)| decode(&bytes(change)).unwrap_err();
        assert_eq!(refused(&|p| p.format = 0), DecodeError::Missing("format"));
        assert!(matches!(refused(&|p| p.manifest_id.truncate(31)), DecodeError::Length { field: "manifest_id", .. }));
        assert!(matches!(refused(&|p| p.set.push(0)), DecodeError::Length { field: "set", .. }));
        assert!(matches!(refused(&|p| p.shard_ids.truncate(63)), DecodeError::Rule { field: "shard_ids", .. }));
        for range in [(0, 0), (u32::MAX, 1), (1, u32::MAX)] {
            let (first, count) = range;
            let lie = |p: &mut proto::Parity| p.data[0].chunks[0] = proto::ParityRange { first, count };
            assert!(matches!(refused(&lie), DecodeError::Rule { field: "chunks", .. }), "{range:?}");
        }
        // Unknown fields, inside and outside.
        let mut payload = good.encode_to_vec();
        payload.extend([0x7a, 0x01, 0x00]);
        assert!(matches!(decode(&sealed(payload)), Err(DecodeError::NotCanonical { .. })));
        let mut outside = bytes(&|_| ());
        outside.extend([0x7a, 0x01, 0x00]);
        assert!(matches!(decode(&outside), Err(DecodeError::NotCanonical { .. })));
        assert_eq!(decode(&[]), Err(DecodeError::Empty));
    }
}
