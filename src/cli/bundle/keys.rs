//! What encrypts media and what opens them: keys of age, and passphrases.

use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use clap::Args;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::typed_line;
use crate::{
    base::{Context, Error, Result, files::read_bounded, limits},
    bundle::{AgeKey, SealTo, Unseal, seal},
    cli::Session,
};

/// What opens media that are encrypted.
#[derive(Debug, Args)]
pub(crate) struct MediaKeyArgs {
    /// File with the identity of age that the media are encrypted to, as age-keygen writes it (repeatable)
    #[arg(long, value_name = "FILE")]
    age_identity: Vec<PathBuf>,
    /// File whose first line is the passphrase that the media are encrypted with; - asks for it on the terminal or reads it from stdin
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl MediaKeyArgs {
    /// # Errors
    /// When a file cannot be read, or has none.
    pub(crate) fn read(&self, session: &Session) -> Result<Unseal> {
        let mut keys = Unseal::default();
        for path in &self.age_identity {
            let text = text_of(path)?;
            let count = keys.add_identities(&text).map_err(|line| {
                Error::usage(format!("line {line} of {} is no identity of age (AGE-SECRET-KEY-1…)", path.display()))
                    .hint("name a file as age-keygen writes it; one that is itself encrypted, or of another kind, is not read here")
            })?;
            if count == 0 {
                return Err(Error::usage(format!("{} has no identity of age", path.display()))
                    .hint("name a file as age-keygen writes it"));
            }
        }
        if let Some(path) = &self.passphrase_file {
            keys.set_passphrase(seal::passphrase(&passphrase(path, session)?)?);
        }
        Ok(keys)
    }
}

/// For whom an export is encrypted; `None`: it is not.
pub(super) fn seal_to(keys: Vec<AgeKey>, passphrase_file: Option<&Path>, session: &Session) -> Result<Option<SealTo>> {
    Ok(match passphrase_file {
        Some(path) => Some(SealTo::Passphrase(seal::passphrase(&passphrase(path, session)?)?)),
        None => (!keys.is_empty()).then_some(SealTo::Keys(keys)),
    })
}

fn text_of(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = read_bounded(path, limits::MEDIA_KEY_FILE_SIZE_BYTES_MAX, "key of media")?;
    String::from_utf8(bytes).map(Zeroizing::new).or_failed(|| format!("{} is no text", path.display()))
}

fn passphrase(path: &Path, session: &Session) -> Result<Zeroizing<String>> {
    if path != Path::new("-") {
        return text_of(path);
    }
    let stdin = io::stdin();
    let _quiet = Quiet::begin(&stdin, session)?;
    typed_line(limits::MEDIA_KEY_FILE_SIZE_BYTES_MAX, &session.cancel)
        .ok_or_else(|| Error::interrupted("while the passphrase was asked for").hint("run the same command again"))
}

/// A terminal that does not show what is typed, as long as this lives.
struct Quiet<'a>(&'a io::Stdin, nix::sys::termios::Termios);

impl<'a> Quiet<'a> {
    /// `None` where nobody types.
    fn begin(stdin: &'a io::Stdin, session: &Session) -> Result<Option<Self>> {
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let cannot = || "cannot look how the terminal is set";
        let before = tcgetattr(stdin.as_fd()).or_failed(cannot)?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &quiet).or_failed(cannot)?;
        session.progress.note("type the passphrase of the media, which is not shown, and press Enter");
        Ok(Some(Quiet(stdin, before)))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.0.as_fd(), SetArg::TCSADRAIN, &self.1);
    }
}
