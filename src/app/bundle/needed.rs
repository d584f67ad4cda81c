//! Which volumes complete what is there: of a set with parity any so many of some, of another one those that hold what is lacking.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    bundle::{
        DataKey, Index, SetId, ShardReader, Volume, label,
        parity::{Need, ParityIndex, Shape, ShardFiles, Stripes, Volumes, need},
        plan::DATA_FILE_SIZE_BYTES_MAX,
    },
    manifest::ChunkSet,
    store::Contents,
};

/// What is wrong, in words.
type Said<T> = std::result::Result<T, String>;

/// What is still needed so that everything is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct StillNeeded {
    /// Labels of volumes that help.
    pub(super) labels: Vec<String>,
    /// So many of them suffice, whichever they are; `None`: all are needed.
    pub(super) any: Option<usize>,
    /// Labels of volumes that were read, and are so damaged that no other ones make up for it.
    pub(super) anew: Vec<String>,
    /// Chunks that parity at hand makes good.
    pub(super) made_good: u32,
    /// Chunks that no volume holds that is known.
    pub(super) unknown: u32,
}

impl StillNeeded {
    /// What is lacking beside the chunks of `have`, where volumes with these indexes were read, which belong to these sets with parity.
    pub(super) fn of(chain_id: &str, have: &ChunkSet, indexes: &[&Index], sets: &[ParitySet]) -> Self {
        let mut needed = StillNeeded::default();
        let mut have = have.clone();
        // What one set makes of its parity, another one does not lack.
        while let Some(set) = sets.iter().find(|set| set.need(&have) == Need::Restoring) {
            for chunk in set.lacking(&have) {
                have.insert(chunk);
                needed.made_good += 1;
            }
        }
        let mut lacking = ChunkSet::full(have.len());
        lacking.remove_all(&have);
        let mut unknown = lacking.clone();
        let mut open = 0;
        for set in sets {
            let label = |number: usize| label(chain_id, &set.set, number as u32 + 1);
            match set.need(&have) {
                Need::Nothing | Need::Restoring => continue,
                Need::Volumes { any, of } => {
                    open += 1;
                    needed.any = (any < of.len()).then_some(any);
                    needed.labels.extend(of.into_iter().map(label));
                }
                Need::Anew { volumes } => needed.anew.extend(volumes.into_iter().map(label)),
            }
            set.lacking(&have).into_iter().for_each(|chunk| _ = unknown.remove(chunk));
        }
        let is_here =
            |set: &SetId, number: u32| indexes.iter().any(|index| index.set == *set && index.number == number);
        let mut others = BTreeMap::new();
        for Index { set, others: sisters, .. } in indexes.iter().filter(|i| sets.iter().all(|set| set.set != i.set)) {
            for other in sisters.iter().filter(|other| !is_here(set, other.number)) {
                for chunk in other.chunks.iter().cloned().flatten().filter(|chunk| lacking.contains(*chunk)) {
                    unknown.remove(chunk);
                    others.entry((*set, other.number)).or_insert_with(|| label(chain_id, set, other.number));
                }
            }
        }
        // So many of some suffice where nothing else is asked for.
        needed.any = needed.any.filter(|_| open == 1 && others.is_empty());
        needed.labels.extend(others.into_values());
        needed.unknown = unknown.count();
        needed
    }
}

/// A set of volumes of which some have parity, and what of it is at hand.
pub(super) struct ParitySet {
    pub(super) set: SetId,
    pub(super) shape: Shape,
    pub(super) stripes: Stripes,
    at_hand: Volumes,
    /// By their numbers among those with parity.
    pub(super) volumes: Vec<Option<ParityVolume>>,
}

pub(super) struct ParityVolume {
    pub(super) index: ParityIndex,
    pub(super) shards: ShardReader,
    /// What the set is encrypted with.
    pub(super) key: Option<DataKey>,
    pub(super) directory: PathBuf,
}

impl ParitySet {
    /// The sets with parity of these volumes, each with where it is, by what volumes with parity say, or else by what all say of their
    /// sisters. Beside them what is wrong with parity that is at hand.
    pub(super) fn find(volumes: &[(&Path, &Volume)], contents: &Contents) -> (Vec<ParitySet>, Vec<(PathBuf, String)>) {
        let (mut sets, mut problems) = (Vec::new(), Vec::new());
        for (directory, volume) in volumes {
            if let Err(problem) = add(&mut sets, directory, volume, contents) {
                problems.push((directory.to_path_buf(), problem));
            }
        }
        for (_, Volume { index, .. }) in volumes {
            if sets.iter().all(|set| set.set != index.set) {
                sets.extend(promised(index, contents));
            }
            let Some(set) = sets.iter_mut().find(|set| set.set == index.set) else { continue };
            if let Some(here) = (index.number as usize).checked_sub(1).and_then(|at| set.at_hand.data.get_mut(at)) {
                *here = true;
            }
        }
        (sets, problems)
    }

    fn new(set: SetId, shape: Shape, stripes: Stripes) -> Self {
        ParitySet {
            set,
            shape,
            at_hand: Volumes { data: vec![false; shape.data()], parity: vec![None; shape.parity()] },
            volumes: (0..shape.parity()).map(|_| None).collect(),
            stripes,
        }
    }

    /// What completes the set.
    pub(super) fn need(&self, have: &ChunkSet) -> Need {
        need(self.shape, &self.stripes, have, &self.at_hand)
    }

    /// The chunks of the set that are not in `have`.
    fn lacking(&self, have: &ChunkSet) -> Vec<u32> {
        let chunks = (0..have.len()).filter(|chunk| !have.contains(*chunk));
        chunks.filter(|chunk| self.stripes.place(*chunk).is_some()).collect()
    }

    /// Whether any volume with parity is at hand.
    pub(super) fn has_parity(&self) -> bool {
        self.volumes.iter().any(Option::is_some)
    }

    /// Which of its volumes with parity this one is, where it is one.
    pub(super) fn number_of_parity(&self, index: &Index) -> Option<usize> {
        (index.number as usize).checked_sub(self.shape.data() + 1)
    }

    /// The shards that a volume with parity has for these stripes are of no use.
    pub(super) fn is_bad(&mut self, volume: usize, stripes: &[u32]) {
        if let Some(Some(bad)) = self.at_hand.parity.get_mut(volume) {
            stripes.iter().for_each(|stripe| _ = bad.insert(*stripe));
        }
    }
}

/// The set that a volume says it belongs to, where some of that have parity and none of those is at hand: the others are numbered first.
fn promised(index: &Index, contents: &Contents) -> Option<ParitySet> {
    let own = (index.number, index.chunks(contents.chunk_count()).ranges());
    let others = index.others.iter().map(|other| (other.number, other.chunks.clone()));
    let all: BTreeMap<u32, Vec<std::ops::Range<u32>>> = others.chain([own]).collect();
    let data: Vec<_> = all.values().filter(|chunks| !chunks.is_empty()).cloned().collect();
    let shape = Shape::new(data.len(), all.len() - data.len()).ok()?;
    let is_numbered = |(at, (number, chunks)): (usize, (&u32, &Vec<_>))| {
        *number as usize == at + 1 && chunks.is_empty() == (at >= shape.data())
    };
    let stripes = Stripes::new(&data, contents.chunk_count()).ok()?;
    all.iter().enumerate().all(is_numbered).then(|| ParitySet::new(index.set, shape, stripes))
}

/// What a volume says of its parity, if it can be so.
fn parity_of(volume: &Volume, contents: &Contents) -> Said<Option<(ParityIndex, Shape, Stripes)>> {
    let Some(index) = volume.parity().map_err(|trouble| trouble.0)? else { return Ok(None) };
    let (shape, stripes) =
        index.check(&contents.manifest_id(), contents.chunk_count()).map_err(|e| format!("its parity: {e}"))?;
    let number = shape.data() + index.parity_number + 1;
    if index.set != volume.index.set || volume.index.number as usize != number {
        return Err("its parity is that of another volume".to_owned());
    }
    Ok(Some((index, shape, stripes)))
}

/// The shards of a volume with parity, and its index.
pub(super) fn shards_of(volume: &Volume, contents: &Contents) -> Said<Option<(ParityIndex, Stripes, ShardReader)>> {
    let Some((index, _, stripes)) = parity_of(volume, contents)? else { return Ok(None) };
    let files = ShardFiles::new(&stripes, &|chunk| contents.chunk_len(chunk), DATA_FILE_SIZE_BYTES_MAX);
    let shards = volume.shards(files);
    Ok(Some((index, stripes, shards)))
}

/// Adds a volume with parity to its set.
fn add(sets: &mut Vec<ParitySet>, directory: &Path, volume: &Volume, contents: &Contents) -> Said<()> {
    let Some((index, shape, stripes)) = parity_of(volume, contents)? else { return Ok(()) };
    let files = ShardFiles::new(&stripes, &|chunk| contents.chunk_len(chunk), DATA_FILE_SIZE_BYTES_MAX);
    let number = index.parity_number;
    let key = volume.medium().key().cloned();
    let found = ParityVolume { shards: volume.shards(files), key, directory: directory.to_owned(), index };
    let at = match sets.iter().position(|set| set.set == found.index.set) {
        Some(at) => at,
        None => {
            sets.push(ParitySet::new(found.index.set, shape, stripes));
            sets.len() - 1
        }
    };
    let set = &mut sets[at];
    let first = set.volumes.iter().flatten().next();
    if first.is_some_and(|first| !first.index.is_of_one_set(&found.index) || first.key != found.key) {
        return Err("its parity says otherwise what the set holds than another volume does".to_owned());
    }
    // A second one with the same number is the same, or a liar: one is enough to find that out.
    if set.volumes[number].is_none() {
        set.at_hand.parity[number] = Some(ChunkSet::empty(set.stripes.count()));
        set.volumes[number] = Some(found);
    }
    Ok(())
}
