//! Values of a new genesis that several commands take.

use kwil_formats::formats::{
    Family,
    genesis::fresh::{self, Balance, Expiry, Fresh, V010_CHAIN_ID},
};
use rand::{TryRngCore, rngs::OsRng};

use crate::{
    app::genesis::genesis_time_now,
    base::{Error, Result, text::escape},
};

/// A genesis with Kwil's defaults that begins at the time of the call; without a chain id it gets the family's own
/// name.
pub(super) fn new(family: Family, chain_id: Option<&str>) -> Fresh {
    let chain_id = chain_id.map(str::to_owned).unwrap_or_else(|| match family {
        Family::V09 => fresh::chain_id(&mut OsRng.unwrap_err()),
        Family::V010 => V010_CHAIN_ID.to_owned(),
    });
    Fresh::new(family, chain_id, genesis_time_now())
}

/// Reads a value of `--alloc`: an account, one of the `signs`, and the account's amount.
///
/// # Errors
/// `Kind::Usage` when there is no sign, or no such type of key; what stands beside the sign is looked at with the whole
/// genesis.
pub(super) fn balance(family: Family, signs: &[char], text: &str) -> Result<Balance> {
    let sign = signs.first().copied().unwrap_or(':');
    let form = match family {
        Family::V09 => format!("v0.9 takes ACCOUNT{sign}AMOUNT"),
        Family::V010 => format!("v0.10 takes 0xADDRESS{sign}AMOUNT or HEX#TYPE{sign}AMOUNT"),
    };
    let wrong = || format!("--alloc: {:?} is no balance", escape(text));
    let (account, amount) = text.rsplit_once(signs).ok_or_else(|| Error::usage(wrong()).hint(form.clone()))?;
    Balance::new(account, amount).map_err(|error| Error::usage(format!("{}: {error}", wrong())).hint(form))
}

/// Reads a value of `--join-expiry`: a number of blocks in v0.9, a time such as `168h` in v0.10.
///
/// # Errors
/// `Kind::Usage` when it is not in the family's form.
pub(super) fn join_expiry(family: Family, text: &str) -> Result<Expiry> {
    Expiry::parse(family, text).map_err(|error| {
        Error::usage(format!("--join-expiry: {error}")).hint("v0.9 counts blocks (100800), v0.10 takes a time (168h)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;
    use kwil_formats::formats::key::KeyType;

    #[test]
    fn balances_are_read() {
        let read = |family, signs: &[char], text: &str| {
            balance(family, signs, text).map(|Balance { id, key_type, amount }| (id, key_type, amount))
        };
        let plain = |id: &str| (id.to_owned(), None, "5".to_owned());
        assert_eq!(read(Family::V09, &['='], "0xab=5").unwrap(), plain("0xab"));
        assert_eq!(read(Family::V010, &[':', '='], "0xab:5").unwrap(), plain("0xab"));
        assert_eq!(read(Family::V010, &[':', '='], "0xab=5").unwrap(), plain("0xab"));
        let typed = ("ab".to_owned(), Some(KeyType::Ed25519), "5".to_owned());
        assert_eq!(read(Family::V010, &[':'], "ab#ed25519:5").unwrap(), typed);
        for (family, signs, text, form) in [
            (Family::V09, &['='][..], "ab:5", "ACCOUNT=AMOUNT"),
            (Family::V09, &[':'], "ab=5", "ACCOUNT:AMOUNT"),
            (Family::V010, &[':'], "ab#rsa:5", "HEX#TYPE:AMOUNT"),
        ] {
            let error = balance(family, signs, text).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.advice().is_some_and(|hint| format!("{hint:?}").contains(form)), "{text}: {error}");
        }
    }
}
