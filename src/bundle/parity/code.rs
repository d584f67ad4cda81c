//! The Reed–Solomon code, over pieces of shards. It works on each 64 bytes of all members for themselves, so pieces of any
//! multiple of that give the same bytes as whole shards.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use super::Shape;
use crate::base::limits;

/// What the length of a shard, and of every piece of one, is a multiple of.
pub(super) const ALIGN: usize = 64;
/// Bytes of each member that are encoded at once: enough that the tables are worth setting up, few enough for the processor's cache.
const COLUMN_MAX: usize = 64 << 10;
/// The same for restoring, where each column costs nearly a millisecond whatever its length.
const RESTORING_COLUMN_MAX: usize = 512 << 10;

/// The code works on so many pieces at once, whether it makes parity or restores: those of all members, and some for its own use.
pub(super) fn work_count(shape: Shape) -> usize {
    let (more, fewer) = (shape.data.max(shape.parity), shape.data.min(shape.parity));
    (fewer.next_power_of_two() + more).next_power_of_two()
}

/// Bytes of each member, so that all that the code works on stays within `bytes`.
fn column(shape: Shape, bytes: usize, max: usize) -> usize {
    (bytes / work_count(shape) / ALIGN * ALIGN).clamp(ALIGN, max)
}

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
        for column in super::pieces(len, column(self.shape, limits::PARITY_MEMORY_BYTES, COLUMN_MAX)) {
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

    /// How many bytes of each member are restored at once.
    pub(super) fn column(&self) -> usize {
        column(self.shape, limits::PARITY_CODE_BYTES, RESTORING_COLUMN_MAX)
    }

    /// Begins with another column, of `len` bytes.
    pub(super) fn begin(&mut self, len: usize) {
        debug_assert!(len.is_multiple_of(ALIGN) && len <= self.column());
        self.code.reset(self.shape.data, self.shape.parity, len).expect(FITS);
    }

    /// Takes the bytes of a member, of which a column has as many as there are data volumes.
    pub(super) fn add(&mut self, place: Place, bytes: &[u8]) {
        match place {
            Place::Data(volume) => self.code.add_original_shard(volume, bytes).expect(FITS),
            Place::Parity(volume) => self.code.add_recovery_shard(volume, bytes).expect(FITS),
        }
    }

    /// Makes the column of lost data members: each is added to the end of its buffer.
    pub(super) fn restore(&mut self, lost: &mut [(usize, Vec<u8>)]) {
        let restored = self.code.decode().expect(FITS);
        for (volume, bytes) in lost {
            bytes.extend_from_slice(restored.restored_original(*volume).expect("it is not among those known"));
        }
    }
}
