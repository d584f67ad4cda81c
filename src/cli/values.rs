//! Values of flags that more than one command takes.

use std::{any::TypeId, fmt, num::NonZeroU64, path::PathBuf, str::FromStr};

use clap::{
    Command,
    builder::{PathBufValueParser, TypedValueParser},
};
use kwil_formats::formats::{Family, key::PublicKey};
use zeroize::Zeroizing;

use crate::swarm::Allow;

/// A value of `--family`: v0.9 or v0.10, or `None` for `auto`, which is whichever is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FamilyChoice(pub(crate) Option<Family>);

impl FromStr for FamilyChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(FamilyChoice(None)),
            other => {
                other.parse().map(|f| FamilyChoice(Some(f))).map_err(|_| "expected auto, v0.9 or v0.10".to_owned())
            }
        }
    }
}

/// A number of bytes, written such as `64M` or `1.5G`; units are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "expected a size such as 500K, 64M or 1.5G".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(bad()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Size).ok_or_else(|| "too large".to_owned());
        }
        let number: f64 = number.parse().map_err(|_| bad())?;
        let bytes = number * (1_u64 << shift) as f64;
        if bytes < u64::MAX as f64 { Ok(Size(bytes as u64)) } else { Err("too large".to_owned()) }
    }
}

/// Bits a second, written such as `25M` or `1.5G`; units are powers of 1000, as lines are sold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(pub(crate) f64);

impl Rate {
    /// The same in whole bytes, at least one.
    pub(crate) fn bytes_per_second(self) -> NonZeroU64 {
        NonZeroU64::new((self.0 / 8.0) as u64).unwrap_or(NonZeroU64::MIN)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "expected a rate in bits a second such as 500K, 25M or 1.5G".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.to_ascii_lowercase().trim_end_matches("bit/s").trim_end_matches("bit") {
            "" => 1.0,
            "k" => 1e3,
            "m" => 1e6,
            "g" => 1e9,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let rate = number * factor;
        if (1e3..=1e12).contains(&rate) { Ok(Rate(rate)) } else { Err("expected between 1K and 1000G".to_owned()) }
    }
}

/// Where a service is, as `--dht-node` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort(String);

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = text.rsplit_once(':').is_some_and(|(host, port)| {
            let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(of_name) && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if good {
            return Ok(HostPort(text.to_owned()));
        }
        Err("expected a name or an IPv4 address, and a port, such as router.example.org:6881".to_owned())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a node lets in, as `--allow` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allowed {
    Peer(String),
    Validator(PublicKey),
    Listed,
}

impl Allowed {
    /// All that several flags name.
    pub(crate) fn together(all: Vec<Allowed>) -> Allow {
        let mut allow = Allow::default();
        for one in all {
            match one {
                Allowed::Peer(peer) => allow.peers.push(peer),
                Allowed::Validator(key) => _ = allow.validators.insert(key),
                Allowed::Listed => allow.listed = true,
            }
        }
        allow
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "validators" {
            return Ok(Allowed::Listed);
        }
        if PublicKey::from_peer_id(text).is_ok() {
            return Ok(Allowed::Peer(text.to_owned()));
        }
        PublicKey::from_name(text).map(Allowed::Validator).map_err(|_| {
            "expected a peer id (12D3KooW…), a validator's public key in hex, or the word validators".to_owned()
        })
    }
}

/// A flag's text that is never shown, because it may be a password or a key.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) Zeroizing<String>);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Secret(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The caller's home directory, by `HOME`; `None` where that is not set.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|h| !h.is_empty()).map(PathBuf::from)
}

/// The path with the home directory for a leading `~`, which a shell leaves alone in `--flag=~/x`; Kwil's tools do the
/// same.
fn expand_home(path: PathBuf) -> Result<PathBuf, String> {
    match (path.strip_prefix("~"), home()) {
        (Ok(rest), Some(home)) => Ok(home.join(rest)),
        // A shell leaves ~name alone where there is no such user, and `~` would be part of the name.
        _ if path.as_os_str().as_encoded_bytes().starts_with(b"~") => {
            Err("it names a home directory that is not known: write the path in full".to_owned())
        }
        _ => Ok(path),
    }
}

/// Makes every path that the command and those below it take begin at the caller's home where it begins with `~`.
pub(crate) fn expand_paths(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| match arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
        true => arg.value_parser(PathBufValueParser::new().try_map(expand_home)),
        false => arg,
    });
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, expand_paths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("64M", 64 << 20), ("1.5G", 3 << 29), ("2KiB", 2048), ("3mb", 3 << 20)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "M", "-1", "1X", "1.2.3", "99999999999T"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_read() {
        for (text, bits) in [("25M", 25e6), ("1.5G", 1.5e9), ("500kbit", 5e5), ("64000", 64e3), ("1Gbit/s", 1e9)] {
            assert_eq!(text.parse(), Ok(Rate(bits)), "{text}");
        }
        for bad in ["", "M", "0", "10", "-1M", "1T", "9999G", "1.2.3M"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        let bytes = |text: &str| text.parse::<Rate>().unwrap().bytes_per_second().get();
        assert_eq!((bytes("100M"), bytes("1.5G"), bytes("1K")), (12_500_000, 187_500_000, 125));
    }

    #[test]
    fn a_host_and_its_port_are_read() {
        for good in ["router.example.org:6881", "203.0.113.5:1", "dht_1:65535"] {
            assert_eq!(good.parse::<HostPort>().map(|read| read.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "router.example.org", ":6881", "a:0", "a:65536", "[::1]:6881", "http://a:1", "a b:1"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn families_are_read() {
        assert_eq!("auto".parse(), Ok(FamilyChoice(None)));
        assert_eq!("v0.9".parse(), Ok(FamilyChoice(Some(Family::V09))));
        assert!("0.9".parse::<FamilyChoice>().is_err());
    }

    #[test]
    fn a_home_is_expanded_or_refused() {
        assert_eq!(expand_home("a/~/b".into()), Ok("a/~/b".into()));
        assert_eq!(expand_home("~/x".into()).ok(), home().map(|home| home.join("x")));
        assert!(expand_home("~nobody-of-this-name/x".into()).is_err());
    }

    #[test]
    fn secrets_do_not_show() {
        let secret: Secret = "hunter2".parse().unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
