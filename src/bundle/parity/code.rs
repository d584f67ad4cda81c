//! The Reed–Solomon code, over pieces of shards. It works on each 64 bytes of all members for themselves, so pieces of any
//! multiple of that give the same bytes as whole shards.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use super::Shape;
use crate::base::limits;

/// What the length of a shard, and of every piece of one, is a multiple of.
pub(super) const ALIGN: usize = 64;
/// Bytes of each member that are encoded at once: enough that the tables are worth setting up, few enough for the processor's cache.
pub(super) const COLUMN: usize = 64 << 10;
/// The same for restoring, whose tables take longer to set up.
const RESTORING_COLUMN_MAX: usize = 256 << 10;

/// A member of a stripe, among all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// What this data volume has.
    Data(usize),
    /// What this parity volume has.
    Parity(usize),
}

/// Makes parity.
pub(super) struct Encoder {
    shape: Shape,
    code: ReedSolomonEncoder,
}

/// Why neither can fail: the shape is one that the code takes, and members are as long as each other and [`ALIGN`]ed.
const FITS: &str = "the code takes every shape within the limits, and pieces of equal, aligned length";

impl Encoder {
    pub(super) fn new(shape: Shape) -> Self {
        let code = ReedSolomonEncoder::new(shape.data, shape.parity, ALIGN).expect(FITS);
        Encoder { shape, code }
    }

    /// Makes the parity of `len` bytes of every data member; all buffers have at least so many.
    pub(super) fn encode(&mut self, len: usize, data: &[Vec<u8>], parity: &mut [Vec<u8>]) {
        debug_assert_eq!((data.len(), parity.len(), len % ALIGN), (self.shape.data, self.shape.parity, 0));
        for column in super::pieces(len, COLUMN) {
            self.code.reset(self.shape.data, self.shape.parity, column.len()).expect(FITS);
            for member in data {
                self.code.add_original_shard(&member[column.clone()]).expect(FITS);
            }
            let made = self.code.encode().expect(FITS);
            for (shard, bytes) in parity.iter_mut().zip(made.recovery_iter()) {
                shard[column.clone()].copy_from_slice(bytes);
            }
        }
    }
}

/// Restores members that are lost.
pub(super) struct Decoder {
    shape: Shape,
    code: ReedSolomonDecoder,
}

impl Decoder {
    pub(super) fn new(shape: Shape) -> Self {
        let code = ReedSolomonDecoder::new(shape.data, shape.parity, ALIGN).expect(FITS);
        Decoder { shape, code }
    }

    /// How many bytes of each member are restored at once: the code keeps a copy of all of them.
    fn column(&self) -> usize {
        let each = limits::PARITY_MEMORY_BYTES / 2 / (self.shape.data + self.shape.parity);
        (each / ALIGN * ALIGN).min(RESTORING_COLUMN_MAX)
    }

    /// From `len` bytes of as many members as there are data volumes, in `known`, makes those of lost data members: each is added to
    /// the end of its buffer.
    pub(super) fn restore(&mut self, len: usize, known: &[(Place, Vec<u8>)], lost: &mut [(usize, Vec<u8>)]) {
        debug_assert_eq!((known.len(), len % ALIGN), (self.shape.data, 0));
        for column in super::pieces(len, self.column()) {
            self.code.reset(self.shape.data, self.shape.parity, column.len()).expect(FITS);
            for (place, bytes) in known {
                let bytes = &bytes[column.clone()];
                match place {
                    Place::Data(volume) => self.code.add_original_shard(*volume, bytes).expect(FITS),
                    Place::Parity(volume) => self.code.add_recovery_shard(*volume, bytes).expect(FITS),
                }
            }
            let restored = self.code.decode().expect(FITS);
            for (volume, bytes) in &mut *lost {
                bytes.extend_from_slice(restored.restored_original(*volume).expect("it is not among those known"));
            }
        }
    }
}
