//! What is read in order on one thread, as media like it, and judged on others.

use std::{
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use crate::{
    base::{Error, Result},
    manifest::ChunkSet,
};

/// Threads that judge. Each has one piece, and the reader one more: what waits is in memory.
const JUDGES_MAX: usize = 4;

/// Something that was read, by its number.
struct Piece {
    number: u32,
    data: Vec<u8>,
}

/// What the judges said.
#[derive(Debug)]
pub(super) struct Judged {
    /// The pieces that are good.
    pub(super) good: ChunkSet,
    /// Bytes of them.
    pub(super) good_bytes: u64,
    /// Those that are not, ascending.
    pub(super) bad: Vec<u32>,
}

/// Takes what is read; as many pieces are in memory as there are judges, and one more.
pub(super) struct Judges {
    pieces: SyncSender<Piece>,
    answers: Receiver<(Piece, bool)>,
    spare: Vec<Vec<u8>>,
    judged: Judged,
}

impl Judges {
    /// A buffer whose old bytes are of no meaning.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives a piece to whoever is free, and waits until somebody is.
    ///
    /// # Errors
    /// When the judges have panicked.
    pub(super) fn give(&mut self, number: u32, data: Vec<u8>) -> Result<()> {
        self.pieces.send(Piece { number, data }).map_err(|_| Error::failed("the threads that hash have ended"))?;
        while let Ok((piece, is_good)) = self.answers.try_recv() {
            self.hear(piece, is_good);
        }
        Ok(())
    }

    fn hear(&mut self, piece: Piece, is_good: bool) {
        if is_good {
            self.judged.good.insert(piece.number);
            self.judged.good_bytes += piece.data.len() as u64;
        } else {
            self.judged.bad.push(piece.number);
        }
        self.spare.push(piece.data);
    }

    /// Waits until everything was judged.
    fn end(mut self) -> Judged {
        let (nobody, _) = sync_channel(0);
        drop(std::mem::replace(&mut self.pieces, nobody));
        while let Ok((piece, is_good)) = self.answers.recv() {
            self.hear(piece, is_good);
        }
        self.judged.bad.sort_unstable();
        self.judged
    }
}

/// Runs `read`, which gives the judges pieces whose numbers are below `numbers`; those say by `is_good` what they are.
///
/// # Errors
/// Those of `read`.
pub(super) fn judged<T>(
    numbers: u32,
    is_good: impl Fn(u32, &[u8]) -> bool + Sync,
    read: impl FnOnce(&mut Judges) -> Result<T>,
) -> Result<(T, Judged)> {
    let count = thread::available_parallelism().map_or(1, NonZero::get).min(JUDGES_MAX);
    // No piece waits between reader and judge.
    let (pieces, to_judge) = sync_channel::<Piece>(0);
    // As many answers as there may be pieces: no judge waits for the reader to hear.
    let (answer, answers) = sync_channel(count + 1);
    // It goes with the last judge: whoever gives something to none hears of it.
    let to_judge = Arc::new(Mutex::new(to_judge));
    let judged = Judged { good: ChunkSet::empty(numbers), good_bytes: 0, bad: Vec::new() };
    let mut judges = Judges { pieces, answers, spare: Vec::new(), judged };
    thread::scope(|scope| {
        for _ in 0..count {
            let (answer, to_judge, is_good) = (answer.clone(), to_judge.clone(), &is_good);
            scope.spawn(move || {
                loop {
                    let next = to_judge.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(piece) = next else { break };
                    let is_good = is_good(piece.number, &piece.data);
                    if answer.send((piece, is_good)).is_err() {
                        break;
                    }
                }
            });
        }
        drop((answer, to_judge));
        let read = read(&mut judges);
        let judged = judges.end();
        Ok((read?, judged))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_judged_once_and_few_pieces_are_held() {
        let mut made = 0;
        let (said, judged) = judged(
            1000,
            |number, data| data == number.to_le_bytes() && !number.is_multiple_of(7),
            |judges| {
                for number in 0..1000_u32 {
                    let mut data = judges.buffer();
                    made += usize::from(data.capacity() == 0);
                    data.clear();
                    data.extend_from_slice(&number.to_le_bytes());
                    judges.give(number, data)?;
                }
                Ok("read")
            },
        )
        .unwrap();
        assert_eq!(said, "read");
        assert_eq!(judged.bad, (0..1000).filter(|number| number % 7 == 0).collect::<Vec<u32>>());
        assert!((0..1000).all(|number| judged.good.contains(number) != (number % 7 == 0)));
        assert_eq!(judged.good_bytes, 4 * u64::from(judged.good.count()));
        assert!((1..=2 * JUDGES_MAX + 1).contains(&made), "{made} buffers");
    }

    #[test]
    fn what_ends_the_reading_ends_the_judges() {
        let error = judged(
            3,
            |_, _| true,
            |judges| {
                judges.give(2, vec![1])?;
                Err::<(), _>(Error::failed("the medium is gone"))
            },
        )
        .unwrap_err();
        assert!(error.chain().contains("the medium is gone"), "{}", error.chain());
    }
}
