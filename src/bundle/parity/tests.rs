use std::collections::HashMap;

use proptest::prelude::*;
use reed_solomon_simd::ReedSolomonEncoder;

use super::{
    code::{ALIGN, Decoder, Encoder, Place, work_count},
    *,
};
use crate::{
    base::{Blake3Hash, Error, task::CancellationToken},
    manifest::{ChunkSet, ranges},
};

/// Bytes that differ from place to place.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn id(data: &[u8]) -> Blake3Hash {
    Blake3Hash::from_bytes(*blake3::hash(data).as_bytes())
}

/// Divides chunks among `volumes` so that each gets about as many chunks, in the order of the files.
fn evenly(chunks: &ChunkSet, volumes: usize) -> Vec<Vec<std::ops::Range<u32>>> {
    let all: Vec<u32> = chunks.iter().collect();
    let each = all.len().div_ceil(volumes).max(1);
    let mut out: Vec<_> = all.chunks(each).map(|part| ranges(part.iter().copied())).collect();
    out.resize(volumes, Vec::new());
    out
}

/// A set of volumes in memory: its chunks, its shards, and what their indexes say of them.
#[derive(Clone, Debug)]
struct Set {
    shape: Shape,
    stripes: Stripes,
    chunks: Vec<Vec<u8>>,
    shards: HashMap<(usize, u32), Vec<u8>>,
    ids: HashMap<(usize, u32), Blake3Hash>,
    /// Shards whose bytes the medium does not give.
    unreadable: Vec<(usize, u32)>,
    /// Bytes asked for at once, at most, of all members together that are held at one time.
    largest_piece: usize,
    /// Bytes of chunks that were restored at the same time.
    most_held_bytes: usize,
}

impl Members for Set {
    fn chunk(&mut self, chunk: u32, at: usize, into: &mut [u8]) -> Result<()> {
        self.largest_piece = self.largest_piece.max(into.len());
        into.copy_from_slice(&self.chunks[chunk as usize][at..at + into.len()]);
        Ok(())
    }

    fn shard(&mut self, volume: usize, stripe: u32, at: usize, into: &mut [u8]) -> Result<()> {
        if self.unreadable.contains(&(volume, stripe)) {
            return Err(Error::failed("input/output error"));
        }
        into.copy_from_slice(&self.shards[&(volume, stripe)][at..at + into.len()]);
        Ok(())
    }
}

impl ShardSink for Set {
    fn piece(&mut self, volume: usize, stripe: u32, at: usize, bytes: &[u8]) -> Result<()> {
        let shard = self.shards.entry((volume, stripe)).or_default();
        assert_eq!(shard.len(), at, "pieces come in order");
        shard.extend_from_slice(bytes);
        Ok(())
    }

    fn stripe(&mut self, stripe: u32, ids: &[Blake3Hash]) -> Result<()> {
        self.ids.extend(ids.iter().enumerate().map(|(volume, id)| ((volume, stripe), *id)));
        Ok(())
    }
}

/// Keeps what proves itself.
struct Proving<'a> {
    originals: &'a [Vec<u8>],
    have: ChunkSet,
    refused: u32,
    /// Bytes of buffers that it gave and did not get back, now and at most.
    held_bytes: usize,
    most_held_bytes: usize,
}

impl<'a> Proving<'a> {
    fn new(originals: &'a [Vec<u8>], have: ChunkSet) -> Self {
        Proving { originals, have, refused: 0, held_bytes: 0, most_held_bytes: 0 }
    }
}

impl Take for Proving<'_> {
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.held_bytes += len;
        self.most_held_bytes = self.most_held_bytes.max(self.held_bytes);
        Vec::with_capacity(len)
    }

    fn chunk(&mut self, chunk: u32, data: Vec<u8>) -> Result<bool> {
        self.held_bytes -= data.capacity();
        let good = data == self.originals[chunk as usize];
        if good {
            assert!(self.have.insert(chunk), "a chunk that is there is not made again");
        } else {
            self.refused += 1;
        }
        Ok(good)
    }
}

impl Set {
    fn new(shape: Shape, volumes: &[Vec<std::ops::Range<u32>>], lens: &[usize]) -> Set {
        let stripes = Stripes::new(volumes, lens.len() as u32).unwrap();
        let chunks = lens.iter().enumerate().map(|(i, len)| bytes(i as u64, *len)).collect();
        let empty = Set {
            shape,
            stripes,
            chunks,
            shards: HashMap::new(),
            ids: HashMap::new(),
            unreadable: Vec::new(),
            largest_piece: 0,
            most_held_bytes: 0,
        };
        let (mut members, mut made) = (empty.clone(), empty);
        let (stripes, lens) = (made.stripes.clone(), lens.to_vec());
        let len = |chunk: u32| lens[chunk as usize];
        make(shape, &stripes, 0, &len, &mut members, &mut made, &CancellationToken::new()).unwrap();
        made.largest_piece = members.largest_piece;
        made
    }

    /// `data` volumes of about as many chunks each, and `parity` more.
    fn even(data: usize, parity: usize, lens: &[usize]) -> Set {
        let volumes = evenly(&ChunkSet::full(lens.len() as u32), data);
        Set::new(Shape::new(data, parity).unwrap(), &volumes, lens)
    }

    fn without(&self, chunks: impl IntoIterator<Item = u32>) -> ChunkSet {
        let mut have = ChunkSet::full(self.chunks.len() as u32);
        for chunk in chunks {
            have.remove(chunk);
        }
        have
    }

    fn chunks_of(&self, volume: usize) -> Vec<u32> {
        let members = (0..self.stripes.count()).map(|stripe| self.stripes.member(stripe, volume));
        members.filter_map(|m| if let Member::Chunk(chunk) = m { Some(chunk) } else { None }).collect()
    }

    /// Restores with the parity volumes for which `hand` is true; gives what is had then, and how many false chunks were refused.
    fn restore(&mut self, have: &ChunkSet, hand: &dyn Fn(usize) -> bool) -> (Outcome, ChunkSet, u32) {
        let (originals, ids, stripes) = (self.chunks.clone(), self.ids.clone(), self.stripes.clone());
        // What is not had is not there to be read.
        for chunk in 0..originals.len() as u32 {
            if !have.contains(chunk) {
                self.chunks[chunk as usize] = vec![0xee; originals[chunk as usize].len()];
            }
        }
        let mut take = Proving::new(&originals, have.clone());
        let outcome = restore(
            self.shape,
            &stripes,
            have,
            &|chunk| originals[chunk as usize].len(),
            &|volume, stripe| hand(volume).then(|| ids[&(volume, stripe)]),
            self,
            &mut take,
            &CancellationToken::new(),
        )
        .unwrap();
        let (have, refused) = (take.have, take.refused);
        self.most_held_bytes = take.most_held_bytes;
        self.chunks = originals;
        (outcome, have, refused)
    }

    fn need(&self, have: &ChunkSet, data: &[bool], parity: &[bool]) -> Need {
        let none_bad = ChunkSet::empty(self.stripes.count());
        let parity = parity.iter().map(|seen| seen.then(|| none_bad.clone())).collect();
        need(self.shape, &self.stripes, have, &Volumes { data: data.to_vec(), parity })
    }

    /// The chunks that are had when these data volumes were read, and no other.
    fn have_from(&self, data: &[bool]) -> ChunkSet {
        let lost = data.iter().enumerate().filter(|(_, seen)| !**seen).flat_map(|(v, _)| self.chunks_of(v));
        self.without(lost.collect::<Vec<_>>())
    }
}

fn all(_: usize) -> bool {
    true
}

/// Every way to choose `k` of `n`.
fn subsets(n: usize, k: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1_u32 << n)
        .filter(move |bits| bits.count_ones() as usize == k)
        .map(move |bits| (0..n).map(|i| bits >> i & 1 == 1).collect())
}

#[test]
fn any_two_of_ten_and_two_volumes_may_be_lost() {
    let mut lens = vec![300; 104];
    lens[103] = 17;
    let mut set = Set::even(10, 2, &lens);
    for lost in subsets(12, 2) {
        let seen: Vec<bool> = lost.iter().map(|lost| !lost).collect();
        let have = set.have_from(&seen[..10]);
        let need = set.need(&have, &seen[..10], &seen[10..]);
        let parity_seen = seen[10..].to_vec();
        let (outcome, complete, refused) = set.restore(&have, &|volume| parity_seen[volume]);
        assert!(complete.is_full() && outcome.incomplete.is_empty() && refused == 0, "{lost:?}");
        assert_eq!(outcome.restored, 104 - have.count());
        assert_eq!(need, if have.is_full() { Need::Nothing } else { Need::Restoring }, "{lost:?}");
    }
    for lost in subsets(12, 3).filter(|lost| lost[..10].contains(&true)) {
        let seen: Vec<bool> = lost.iter().map(|lost| !lost).collect();
        let have = set.have_from(&seen[..10]);
        let of: Vec<usize> = lost.iter().enumerate().filter(|(_, lost)| **lost).map(|(volume, _)| volume).collect();
        assert_eq!(set.need(&have, &seen[..10], &seen[10..]), Need::Volumes { any: 1, of });
    }
}

#[test]
fn bad_blocks_on_every_volume_are_made_up_for_stripe_by_stripe() {
    let mut set = Set::even(6, 2, &[200; 120]);
    // Two members of each stripe, other ones each time, so that no volume is whole.
    let mut lost = Vec::new();
    for stripe in 0..set.stripes.count() {
        for bad in [stripe as usize % 8, (stripe as usize + 3) % 8] {
            match (bad < 6).then(|| set.stripes.member(stripe, bad)) {
                Some(Member::Chunk(chunk)) => lost.push(chunk),
                Some(Member::Nothing) => {}
                None => set.shards.get_mut(&(bad - 6, stripe)).unwrap()[5] ^= 1,
            }
        }
    }
    let (outcome, complete, refused) = set.restore(&set.without(lost), &all);
    assert!(complete.is_full() && refused == 0, "{outcome:?}");
    assert!(outcome.false_volumes.is_empty());
}

#[test]
fn bit_rot_in_parity_is_found_before_it_makes_a_false_chunk() {
    let mut set = Set::even(3, 2, &[500; 30]);
    for stripe in 0..10 {
        let shard = set.shards.get_mut(&(0, stripe)).unwrap();
        let at = stripe as usize * 7 % shard.len();
        shard[at] ^= 0x10;
    }
    let (outcome, complete, refused) = set.restore(&set.without(0..10), &all);
    assert!(complete.is_full() && refused == 0);
    assert_eq!(outcome.bad_shards, [(0..10).collect(), vec![]]);
    // With two members lost in one stripe, what is left does not suffice: it is said, and the other stripes are restored.
    let (outcome, rest, refused) = set.restore(&set.without([4, 14]), &all);
    assert_eq!((outcome.incomplete, outcome.restored, refused), (vec![4], 0, 0));
    assert_eq!(rest.count(), 28);
}

#[test]
fn a_shard_that_cannot_be_read_is_a_bad_one() {
    let mut set = Set::even(3, 2, &[500; 30]);
    set.unreadable = (0..10).map(|stripe| (0, stripe)).collect();
    let (outcome, complete, _) = set.restore(&set.without(0..10), &all);
    assert!(complete.is_full());
    assert_eq!(outcome.bad_shards, [(0..10).collect(), vec![]]);
}

#[test]
fn a_parity_volume_that_lies_is_named_and_passed_over() {
    for liar in 0..3 {
        let mut set = Set::even(4, 3, &[500; 40]);
        // Its index agrees with its shards: only the manifest's ids tell.
        for stripe in 0..set.stripes.count() {
            let shard = set.shards.get_mut(&(liar, stripe)).unwrap();
            shard[3] ^= 1;
            let id = id(shard);
            set.ids.insert((liar, stripe), id);
        }
        let lost = set.without((0..40).filter(|c| c % 20 < 10));
        let (outcome, complete, refused) = set.restore(&lost, &all);
        assert!(complete.is_full(), "{outcome:?}");
        // Two chunks a stripe are lost. The third volume was never used, so nobody can say that it lies.
        let named: Vec<usize> = if liar < 2 { vec![liar] } else { Vec::new() };
        assert_eq!(outcome.false_volumes, named);
        assert!(refused <= 4, "once it is known, a liar is not tried before the others: {refused}");
    }
}

#[test]
fn with_no_volume_to_spare_a_liar_makes_nothing_count() {
    let mut set = Set::even(4, 1, &[500; 40]);
    set.shards.get_mut(&(0, 2)).unwrap()[9] ^= 1;
    let id = id(&set.shards[&(0, 2)]);
    set.ids.insert((0, 2), id);
    let (outcome, have, refused) = set.restore(&set.without([2, 3]), &all);
    assert_eq!((outcome.restored, outcome.incomplete, refused), (1, vec![2], 1));
    assert!(!have.contains(2) && have.contains(3));
}

#[test]
fn too_many_bad_members_are_named_with_their_volumes() {
    let set = Set::even(3, 1, &[100; 30]);
    let have = set.without([4, 14]);
    assert_eq!(set.need(&have, &[true; 3], &[true]), Need::Anew { volumes: vec![0, 1] });
    assert_eq!(set.need(&have, &[true; 3], &[false]), Need::Anew { volumes: vec![0, 1] });
    // As long as the volume was not read, reading it helps.
    assert_eq!(set.need(&have, &[true, false, true], &[true]), Need::Volumes { any: 1, of: vec![1] });
    assert_eq!(set.need(&set.without([4]), &[true; 3], &[false]), Need::Volumes { any: 1, of: vec![3] });
    assert_eq!(set.need(&set.without([4]), &[true; 3], &[true]), Need::Restoring);
}

#[test]
fn what_the_swarm_gave_counts() {
    let mut set = Set::even(4, 1, &[100; 40]);
    // Two volumes are lost, and of one of them the swarm gave all but two chunks.
    let mut have = set.have_from(&[false, false, true, true]);
    have.insert_range(0..8);
    let need = set.need(&have, &[false, false, true, true], &[true]);
    assert_eq!(need, Need::Volumes { any: 1, of: vec![0, 1] });
    let (outcome, ..) = set.restore(&have, &all);
    assert_eq!((outcome.restored, outcome.incomplete), (8, vec![8, 9]));
}

#[test]
fn where_volumes_help_different_stripes_the_worst_choice_of_them_counts() {
    let set = Set::even(3, 1, &[100; 30]);
    // Of the three volumes the swarm gave everything but chunks 0 and 10 of stripe 0, and chunks 11 and 21 of stripe 1: the
    // second volume alone would do, the first or the third would not.
    let need = set.need(&set.without([0, 10, 11, 21]), &[false; 3], &[true]);
    assert_eq!(need, Need::Volumes { any: 2, of: vec![0, 1, 2] });
}

#[test]
fn an_interrupted_making_goes_on_where_it_was() {
    let lens = vec![700; 50];
    let mut whole = Set::even(5, 2, &lens);
    let mut rest = Set { shards: HashMap::new(), ids: HashMap::new(), ..whole.clone() };
    let (shape, stripes) = (whole.shape, whole.stripes.clone());
    make(shape, &stripes, 4, &|_| 700, &mut whole.clone(), &mut rest, &CancellationToken::new()).unwrap();
    assert_eq!(rest.shards.len(), 2 * 6);
    assert!(rest.shards.iter().all(|(place, shard)| whole.shards[place] == *shard));
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let error = make(shape, &stripes, 0, &|_| 700, &mut whole.clone(), &mut rest, &cancelled).unwrap_err();
    assert!(error.chain().contains("interrupted"), "{error}");
    let mut take = Proving::new(&[], ChunkSet::empty(0));
    let have = whole.without([1]);
    let (id, len) = (|_, _| Some(Blake3Hash::from_bytes([0; 32])), |_| 700);
    let error = restore(shape, &stripes, &have, &len, &id, &mut whole, &mut take, &cancelled).unwrap_err();
    assert!(error.chain().contains("interrupted"), "{error}");
}

#[test]
fn pieces_of_a_large_set_stay_within_the_bound() {
    // 250 members of 4 MiB would be a gigabyte; a piece of each is held.
    for (data, parity) in [(1, 1), (10, 2), (2, 2), (125, 125), (200, 50), (1, 249), (249, 1)] {
        let shape = Shape::new(data, parity).unwrap();
        let restoring = Decoder::new(shape).column() * work_count(shape);
        assert!(restoring <= limits::PARITY_CODE_BYTES, "{restoring} bytes to restore {data} + {parity}");
        let held = shape.piece() * (data + parity);
        assert!(held <= limits::PARITY_MEMORY_BYTES, "{held} bytes for {data} + {parity}");
        assert!(shape.piece() <= limits::PARITY_PIECE_BYTES_MAX);
        assert_eq!(shape.piece() % ALIGN, 0);
    }
    let set = Set::even(40, 4, &vec![1 << 20; 40]);
    assert!(set.largest_piece * 44 <= limits::PARITY_MEMORY_BYTES, "{}", set.largest_piece);
    assert!(set.largest_piece < 1 << 20, "more than one piece was needed");
}

#[test]
fn more_lost_chunks_than_memory_holds_are_made_in_turns() {
    let len = 4 << 20;
    assert!(5 * len > limits::PARITY_RESTORED_BYTES);
    let mut set = Set::even(6, 5, &[len; 6]);
    set.largest_piece = 0;
    let (outcome, complete, refused) = set.restore(&set.without(1..6), &all);
    assert!(complete.is_full());
    assert_eq!((outcome.restored, refused), (5, 0));
    // What is held meanwhile: some of the chunks, one piece of one member, and what the code works on.
    assert!(set.most_held_bytes <= limits::PARITY_RESTORED_BYTES, "{}", set.most_held_bytes);
    assert!(set.largest_piece <= Decoder::new(set.shape).column(), "{}", set.largest_piece);
}

#[test]
fn shapes_out_of_bounds_are_refused() {
    assert_eq!(Shape::new(0, 1), Err(ShapeError::None { data: 0, parity: 1 }));
    assert_eq!(Shape::new(3, 0), Err(ShapeError::None { data: 3, parity: 0 }));
    assert_eq!(Shape::new(249, 2), Err(ShapeError::TooMany { data: 249, parity: 2 }));
    assert!(Shape::new(usize::MAX, usize::MAX).is_err());
    assert!(Shape::new(249, 1).is_ok());
}

#[test]
fn an_index_that_lies_about_its_chunks_is_refused() {
    type Volumes = Vec<Vec<std::ops::Range<u32>>>;
    let refused = |volumes: Volumes| Stripes::new(&volumes, 10).unwrap_err();
    assert!(matches!(refused(vec![vec![0..3], vec![2..5]]), StripesError::Twice { chunk: 2 }));
    assert!(matches!(refused(vec![vec![0..3, 0..3]]), StripesError::Twice { chunk: 0 }));
    assert!(matches!(refused(vec![vec![0..10], vec![5..6, 7..8]]), StripesError::Twice { chunk: 5 }));
    assert!(matches!(refused(vec![vec![0..11]]), StripesError::Range { volume: 0, end: 11, .. }));
    assert!(matches!(refused(vec![vec![], vec![4..4]]), StripesError::Range { volume: 1, start: 4, .. }));
    #[allow(clippy::reversed_empty_ranges)] // what a lying medium says
    let reversed = vec![vec![5..3]];
    assert!(matches!(refused(reversed), StripesError::Range { start: 5, end: 3, .. }));
    assert!(matches!(refused(vec![vec![0..u32::MAX]]), StripesError::Range { .. }));
    assert!(matches!(refused(vec![Vec::new(); 251]), StripesError::TooManyVolumes(251)));
    assert!(matches!(refused(vec![vec![0..1; limits::SET_RANGES_MAX + 1]]), StripesError::TooManyRanges(_)));
    // Sums of ranges that overlap do not overflow before they are refused.
    let huge = vec![vec![0..u32::MAX - 1, 0..u32::MAX - 1, 0..u32::MAX - 1]];
    assert_eq!(Stripes::new(&huge, u32::MAX), Err(StripesError::Twice { chunk: 0 }));
    assert_eq!(Stripes::new(&[], 10).unwrap().count(), 0);
}

#[test]
fn pieces_give_the_bytes_of_whole_shards() {
    let shape = Shape::new(7, 3).unwrap();
    let len = 2 * Decoder::new(shape).column() + 3 * ALIGN;
    let data: Vec<Vec<u8>> = (0..7).map(|i| bytes(i, len)).collect();
    let mut whole = ReedSolomonEncoder::new(7, 3, len).unwrap();
    data.iter().for_each(|member| whole.add_original_shard(member).unwrap());
    let expected: Vec<Vec<u8>> = whole.encode().unwrap().recovery_iter().map(<[u8]>::to_vec).collect();
    let mut parity = vec![vec![0; len]; 3];
    Encoder::new(shape).encode(len, &data, &mut parity);
    assert!(parity == expected);
    // And the other way: three members from the four others and the three shards.
    let known = (3..7).map(|v| (Place::Data(v), data[v].clone()));
    let known: Vec<_> = known.chain(parity.into_iter().enumerate().map(|(v, p)| (Place::Parity(v), p))).collect();
    let mut lost: Vec<(usize, Vec<u8>)> = (0..3).map(|v| (v, Vec::new())).collect();
    let mut decoder = Decoder::new(shape);
    for column in pieces(len, decoder.column()) {
        decoder.begin(column.len());
        known.iter().for_each(|(place, bytes)| decoder.add(*place, &bytes[column.clone()]));
        decoder.restore(&mut lost);
    }
    assert!(lost.iter().all(|(volume, made)| *made == data[*volume]));
}

/// Media are read years later, by another version: the code's bytes are part of the format.
#[test]
fn the_bytes_of_parity_stay_what_they_are() {
    let set = Set::even(10, 2, &[1000; 30]);
    let ids = |volume| (0..3).map(|stripe| set.ids[&(volume, stripe)].to_string()[..16].to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(0), ["ef7681c59bd968c5", "b61841f5eb8b5e6d", "9d5890033f3a4e43"]);
    assert_eq!(ids(1), ["ac7c88502044a657", "bb832353963d3b7e", "df228943c1bc56bd"]);
}

#[test]
fn the_cost_is_what_is_made() {
    let lens: Vec<usize> = (0..37).map(|i| 100 + i * 13).collect();
    let set = Set::even(5, 2, &lens);
    let cost = cost(set.shape, &set.stripes, &|chunk| lens[chunk as usize]);
    assert_eq!(cost.parity_bytes, set.shards.values().map(|shard| shard.len() as u64).sum::<u64>());
    assert_eq!(cost.volume_bytes * 2, cost.parity_bytes);
    assert_eq!(cost.read_bytes, lens.iter().sum::<usize>() as u64);
    // The slower side decides; rates that are not known yet divide nothing.
    assert_eq!(Cost { volume_bytes: 100, parity_bytes: 200, read_bytes: 1000 }.seconds(100, 50), 10);
    assert_eq!(Cost { volume_bytes: 100, parity_bytes: 200, read_bytes: 1000 }.seconds(1000, 5), 20);
    assert_eq!(Cost { volume_bytes: 1, parity_bytes: 1, read_bytes: 7 }.seconds(0, 0), 7);
}

/// Data volumes whose chunks are dealt at random, in ranges of any order and length, some with none at all.
fn sets() -> impl Strategy<Value = Set> {
    (1..5_usize, 1..4_usize, proptest::collection::vec((0..5_usize, 1..200_usize), 1..24)).prop_map(
        |(data, parity, chunks)| {
            let mut volumes = vec![Vec::new(); data];
            // Backwards, so that the order of slots is not the order of chunks.
            for (chunk, (volume, _)) in chunks.iter().enumerate().rev() {
                volumes[volume % data].push(chunk as u32..chunk as u32 + 1);
            }
            let lens: Vec<usize> = chunks.iter().map(|(_, len)| *len).collect();
            Set::new(Shape::new(data, parity).unwrap(), &volumes, &lens)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn places_and_members_agree(set in sets()) {
        let mut found = 0;
        for stripe in 0..set.stripes.count() {
            for (volume, member) in set.stripes.members(stripe).enumerate() {
                if let Member::Chunk(chunk) = member {
                    prop_assert_eq!(set.stripes.place(chunk), Some((volume, stripe)));
                    found += 1;
                }
            }
        }
        prop_assert_eq!(found, set.chunks.len());
        prop_assert_eq!(set.stripes.place(set.chunks.len() as u32), None);
        let on: u32 = (0..set.stripes.volume_count()).map(|volume| set.stripes.chunks_on(volume)).sum();
        prop_assert_eq!(on as usize, set.chunks.len());
    }

    /// Whatever is lost, what is said to be needed is what makes it whole: with any so many of the volumes named everything
    /// is restored, and with one less there is a choice of them with which it is not.
    #[test]
    fn what_is_needed_suffices_and_no_less_does(
        set in sets(),
        seen in proptest::collection::vec(any::<bool>(), 8),
        swarm in proptest::collection::vec(0..24_u32, 0..12),
    ) {
        let mut set = set;
        let (data, parity) = (set.shape.data(), set.shape.parity());
        let seen = &seen[..data + parity];
        let with_swarm = |mut have: ChunkSet| {
            for chunk in &swarm {
                have.insert(*chunk);
            }
            have
        };
        let complete = |set: &mut Set, seen: &[bool]| {
            let have = with_swarm(set.have_from(&seen[..data]));
            let parity_seen = seen[data..].to_vec();
            set.restore(&have, &|volume| parity_seen[volume]).1.is_full()
        };
        let have = with_swarm(set.have_from(&seen[..data]));
        match set.need(&have, &seen[..data], &seen[data..]) {
            Need::Nothing => prop_assert!(have.is_full()),
            Need::Restoring => prop_assert!(!have.is_full() && complete(&mut set, seen)),
            Need::Anew { .. } => prop_assert!(false, "nothing that was read is bad"),
            Need::Volumes { any, of } => {
                prop_assert!(of.iter().all(|volume| !seen[*volume]));
                let with = |chosen: &[bool]| {
                    let mut seen = seen.to_vec();
                    of.iter().zip(chosen).for_each(|(volume, chosen)| seen[*volume] |= *chosen);
                    seen
                };
                for chosen in subsets(of.len(), any) {
                    prop_assert!(complete(&mut set, &with(&chosen)), "{chosen:?}");
                }
                prop_assert!(subsets(of.len(), any - 1).any(|chosen| !complete(&mut set, &with(&chosen))));
            }
        }
    }

    /// Any members of any stripes may be bad: each stripe with no more of them than there is parity is restored, and no other.
    #[test]
    fn a_stripe_is_restored_where_no_more_than_parity_is_bad(set in sets(), bad in proptest::collection::vec(any::<bool>(), 256)) {
        let mut set = set;
        let volumes = set.shape.data() + set.shape.parity();
        let is_bad = |stripe: u32, volume: usize| bad[(stripe as usize * volumes + volume) % bad.len()];
        let (mut lost, mut beyond) = (Vec::new(), Vec::new());
        for stripe in 0..set.stripes.count() {
            let before = lost.len();
            for (_, member) in set.stripes.members(stripe).enumerate().filter(|(v, _)| is_bad(stripe, *v)) {
                if let Member::Chunk(chunk) = member {
                    lost.push(chunk);
                }
            }
            let mut sound = 0;
            for volume in 0..set.shape.parity() {
                if is_bad(stripe, set.shape.data() + volume) {
                    set.shards.get_mut(&(volume, stripe)).unwrap()[0] ^= 0xff;
                } else {
                    sound += 1;
                }
            }
            if lost.len() - before > sound {
                beyond.push(stripe);
            }
        }
        let have = set.without(lost.clone());
        let (outcome, after, refused) = set.restore(&have, &all);
        prop_assert_eq!(refused, 0);
        prop_assert_eq!(&outcome.incomplete, &beyond);
        for chunk in lost {
            let (_, stripe) = set.stripes.place(chunk).unwrap();
            prop_assert_eq!(after.contains(chunk), !beyond.contains(&stripe));
        }
    }
}
