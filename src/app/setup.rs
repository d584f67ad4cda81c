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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::base::Kind;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn only_the_pinned_text_passes() {
        let mut genesis =
            Genesis::parse(include_bytes!("../../tests/data/v0.10/worlds/solo/kwild-snapshot/genesis.json")).unwrap();
        let text = b"some text";
        genesis.set_state_hash(Sha256Hash::from_bytes(Sha256::digest(text).into()));
        check_snapshot(&mut gzip(text).as_slice(), &genesis).unwrap();
        // Several members are one text.
        check_snapshot(&mut [gzip(b"some "), gzip(b"text")].concat().as_slice(), &genesis).unwrap();
        let error = check_snapshot(&mut gzip(b"other text").as_slice(), &genesis).unwrap_err();
        assert_eq!(error.kind(), Kind::Verify);
        assert!(error.to_string().contains(&genesis.state_hash().unwrap().to_string()), "{error}");
        for bad in [gzip(text)[..12].to_vec(), b"no gzip".to_vec(), [gzip(text), b"tail".to_vec()].concat()] {
            assert_eq!(check_snapshot(&mut bad.as_slice(), &genesis).unwrap_err().kind(), Kind::Verify);
        }
    }
}
