//! Listeners: whoever wants to know something of a text hears it as it goes by once, on a thread of its own and behind
//! a queue with a bound, so that a text of any size takes the same memory and the slowest listener sets the pace.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Builder, Scope, ScopedJoinHandle},
};

use kwil_formats::dump::scan::{STACK_BYTES, ScanError, ScanReport, StatementScanner};
use sha2::{Digest, Sha256};

use crate::base::{Context, Error, Result, Sha256Hash};

/// Pieces that may wait for one listener; each has at most half a mebibyte of text, as a rule.
const PIECES_WAITING: usize = 3;

/// The pieces of a text that one listener hears, in the text's order,
/// until there are no more. Dropping it says that it listens no longer.
#[derive(Debug)]
pub struct Pieces<P>(Receiver<Arc<P>>);

impl<P> Iterator for Pieces<P> {
    type Item = Arc<P>;

    fn next(&mut self) -> Option<Arc<P>> {
        self.0.recv().ok()
    }
}

/// Everyone who hears one text: each piece goes to all of them. Dropping this tells them that the text is over.
#[derive(Debug)]
pub struct Listeners<'scope, 'env, P> {
    scope: &'scope Scope<'scope, 'env>,
    queues: Vec<Queue<P>>,
}

#[derive(Debug)]
struct Queue<P> {
    /// The listener's queue; `None` once it listens no longer.
    to: Option<SyncSender<Arc<P>>>,
    /// Whether the text need not go on without this listener.
    needed: bool,
}

/// What a listener's thread will give back when it has heard the text.
#[derive(Debug)]
pub struct Listener<'scope, T>(ScopedJoinHandle<'scope, T>);

impl<T> Listener<'_, T> {
    /// Waits for what the listener gives back. The [`Listeners`]
    /// must be dropped before, or it would wait for more text.
    ///
    /// # Errors
    /// When the listener's thread panicked.
    pub fn end(self) -> Result<T> {
        self.0.join().map_err(|_| Error::failed("a thread that read the snapshot ended early"))
    }
}

impl<'scope, 'env, P: Send + Sync + 'scope> Listeners<'scope, 'env, P> {
    /// Nobody listens yet; the listeners' threads will belong to this scope.
    pub fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Listeners { scope, queues: Vec::new() }
    }

    /// Adds a listener that may end early, as the statement check does at its first finding: the others hear the rest.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn add<T, F>(&mut self, listen: F) -> Result<Listener<'scope, T>>
    where
        T: Send + 'scope,
        F: FnOnce(Pieces<P>) -> T + Send + 'scope,
    {
        self.start(false, listen)
    }

    /// Adds a listener whose early end makes the rest of the text worthless: [`Listeners::give`] then says `false`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn add_needed<T, F>(&mut self, listen: F) -> Result<Listener<'scope, T>>
    where
        T: Send + 'scope,
        F: FnOnce(Pieces<P>) -> T + Send + 'scope,
    {
        self.start(true, listen)
    }

    fn start<T, F>(&mut self, needed: bool, listen: F) -> Result<Listener<'scope, T>>
    where
        T: Send + 'scope,
        F: FnOnce(Pieces<P>) -> T + Send + 'scope,
    {
        let (to, pieces) = sync_channel(PIECES_WAITING);
        // Some parse statements, which takes a large stack.
        let thread = Builder::new().stack_size(STACK_BYTES);
        let handle = thread.spawn_scoped(self.scope, move || listen(Pieces(pieces)));
        let handle = handle.or_failed(|| "cannot start a thread to read the snapshot")?;
        self.queues.push(Queue { to: Some(to), needed });
        Ok(Listener(handle))
    }

    /// Gives everyone the next piece, waiting for those whose
    /// queue is full; `false` when a needed one listens no longer.
    pub fn give(&mut self, piece: &Arc<P>) -> bool {
        let mut go_on = true;
        for queue in &mut self.queues {
            if queue.to.as_ref().is_some_and(|to| to.send(piece.clone()).is_err()) {
                queue.to = None;
            }
            go_on &= queue.to.is_some() || !queue.needed;
        }
        go_on
    }
}

/// SHA-256 of all pieces that come, one after the other.
pub fn hash_pieces<P: AsRef<[u8]>>(pieces: Pieces<P>) -> Sha256Hash {
    let mut hash = Sha256::new();
    pieces.for_each(|piece| hash.update((*piece).as_ref()));
    Sha256Hash::from_bytes(hash.finalize().into())
}

/// Checks the statements of the pieces that come, and stops listening at the first one that does not belong.
///
/// # Errors
/// That first statement, or what is wrong with the text's end.
pub fn scan_pieces<P: AsRef<[u8]>>(mut pieces: Pieces<P>) -> Result<ScanReport, ScanError> {
    let mut scanner = StatementScanner::new();
    pieces.try_for_each(|piece| scanner.push((*piece).as_ref()))?;
    scanner.finish()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn give(listeners: &mut Listeners<'_, '_, Vec<u8>>, times: usize) -> usize {
        let piece = Arc::new(b"piece".to_vec());
        (0..times).take_while(|_| listeners.give(&piece)).count()
    }

    #[test]
    fn everyone_hears_every_piece_and_the_end() {
        thread::scope(|scope| {
            let mut listeners = Listeners::new(scope);
            let bytes = listeners.add(|pieces| pieces.map(|piece: Arc<Vec<u8>>| piece.len()).sum::<usize>()).unwrap();
            let hash = listeners.add_needed(hash_pieces).unwrap();
            assert_eq!(give(&mut listeners, 100), 100);
            drop(listeners);
            assert_eq!(bytes.end().unwrap(), 500);
            assert_eq!(hash.end().unwrap().as_bytes(), Sha256::digest(b"piece".repeat(100)).as_slice());
        });
    }

    #[test]
    fn one_that_ends_early_holds_nobody_up() {
        thread::scope(|scope| {
            let mut listeners = Listeners::new(scope);
            let first = listeners.add(|mut pieces| pieces.next().map(|piece: Arc<Vec<u8>>| piece.len())).unwrap();
            let all = listeners.add_needed(Iterator::count).unwrap();
            assert_eq!(give(&mut listeners, 100), 100);
            drop(listeners);
            assert_eq!((first.end().unwrap(), all.end().unwrap()), (Some(5), 100));
        });
    }

    #[test]
    fn the_end_of_one_that_is_needed_is_the_end_of_the_text() {
        thread::scope(|scope| {
            let mut listeners = Listeners::new(scope);
            let first =
                listeners.add_needed(|mut pieces| pieces.next().map(|piece: Arc<Vec<u8>>| piece.len())).unwrap();
            let all = listeners.add(Iterator::count).unwrap();
            assert!(give(&mut listeners, 100) <= PIECES_WAITING + 1);
            drop(listeners);
            assert_eq!(first.end().unwrap(), Some(5));
            assert!(all.end().unwrap() < 100);
        });
    }

    #[test]
    fn a_listener_that_panics_is_an_error_and_not_a_hang() {
        thread::scope(|scope| {
            let mut listeners = Listeners::<Vec<u8>>::new(scope);
            let heard =
                listeners.add_needed(|_| std::panic::panic_any("on purpose")).map(|heard: Listener<'_, ()>| heard);
            assert!(give(&mut listeners, 100) < 100);
            drop(listeners);
            assert!(heard.unwrap().end().is_err());
        });
    }
}
