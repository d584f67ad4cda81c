//! `setup init`: a root from files, checked as every snapshot is.

use crate::{
    base::Result,
    setup::{self, InitOptions, Initialised},
    snapshot::{self, VerifyOptions},
};

/// Makes a root; hash and every statement of the snapshot are checked while it is copied.
///
/// # Errors
/// As [`setup::init`] and [`snapshot::verify_reader`].
pub fn init(options: &InitOptions) -> Result<Initialised> {
    let verify = VerifyOptions { cancel: options.cancel.clone(), ..VerifyOptions::default() };
    setup::init(options, &|file, genesis| {
        snapshot::verify_reader(file, genesis, &verify, &options.progress).map(|_| ())
    })
}
