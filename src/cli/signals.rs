//! SIGINT, SIGTERM, SIGHUP: the first signal cancels a token, so that the command ends cleanly; a second one ends the
//! process at once.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::signal::unix::{SignalKind, signal};

use crate::base::{Error, Kind, task::CancellationToken};

/// SIGXFSZ, on every Linux but that of MIPS.
const FILE_TOO_LARGE: i32 = 25;

/// Watches for signals while a command runs; `cancel` is the token that the first one cancels.
pub(crate) struct Signals {
    pub(crate) cancel: CancellationToken,
    seen: Arc<AtomicU8>,
}

impl Signals {
    /// Starts watching; must be called inside the runtime.
    pub(crate) fn install() -> Self {
        let signals = Signals { cancel: CancellationToken::new(), seen: Arc::new(AtomicU8::new(0)) };
        let ignored = ignored_signals();
        for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15), (SignalKind::hangup(), 1)] {
            // nohup, and shells for what runs behind, ask for it: what was ignored stays ignored.
            if ignored >> (number - 1) & 1 == 1 {
                continue;
            }
            let (cancel, seen) = (signals.cancel.clone(), signals.seen.clone());
            let Ok(mut stream) = signal(kind) else { continue };
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if seen.swap(number, Ordering::SeqCst) != 0 {
                        std::process::exit(i32::from(Kind::Interrupted(number).exit_code()));
                    }
                    cancel.cancel();
                }
            });
        }
        // A file beyond `ulimit -f` is an error of its write then, as a full disk is; without a handler the process would be
        // killed without a word.
        if let Ok(mut stream) = signal(SignalKind::from_raw(FILE_TOO_LARGE)) {
            tokio::spawn(async move { while stream.recv().await.is_some() {} });
        }
        signals
    }

    /// The number of the first signal that came, 0 before.
    pub(crate) fn seen(&self) -> Arc<AtomicU8> {
        self.seen.clone()
    }

    /// The error as the command's end: after a signal it is `Kind::Interrupted`, because the signal is what caused it.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.seen.load(Ordering::SeqCst) {
            0 => error,
            number if matches!(error.kind(), Kind::Interrupted(_)) => {
                let lost = if number == 1 {
                    " (its terminal was closed; nohup, tmux or a service keeps it running)"
                } else {
                    ""
                };
                let explained = Error::new(Kind::Interrupted(number), format!("{}{lost}", error.chain()));
                match error.advice() {
                    Some(advice) => explained.hint(advice.clone()),
                    None => explained,
                }
            }
            number => Error::new(Kind::Interrupted(number), "interrupted").because(error),
        }
    }
}

/// The signals that were ignored when the program started, one bit each; none on a system that does not tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status)
}

fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::ignored_in;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        // SIGHUP and SIGPIPE.
        assert_eq!(ignored_in("Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored_in(""), 0);
    }
}
