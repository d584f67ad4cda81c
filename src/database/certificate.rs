//! What libpq looks at in a server's certificate: in goes DER, out come names, validity and signatures. The library for
//! TLS is stricter than libpq: it reads no X.509 v1, knows no common name, and takes no certificate for a server's that
//! could also sign others. So these are read here.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

use crate::base::text::escape;

/// An X.509 certificate that was read.
#[derive(Debug)]
pub(super) struct Certificate<'a>(X509Certificate<'a>);

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// In words, when the bytes are no X.509 certificate or others follow it.
    pub(super) fn read(der: &'a CertificateDer<'_>) -> Result<Self, String> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(Certificate(certificate)),
            _ => Err("the server's certificate cannot be read: it is no X.509".to_owned()),
        }
    }

    /// The certificate's public key with its algorithm, as DER (SubjectPublicKeyInfo).
    pub(super) fn public_key(&self) -> &'a [u8] {
        self.0.tbs_certificate.subject_pki.raw
    }

    /// The bits of the public key alone, without its algorithm.
    pub(super) fn key(&self) -> &[u8] {
        &self.0.tbs_certificate.subject_pki.subject_public_key.data
    }

    /// Whether the certificate is X.509 v1 or v2, which have no extensions.
    pub(super) fn is_before_v3(&self) -> bool {
        self.0.version().0 < 2
    }

    /// The distinguished name of whom the certificate is for, made harmless to show.
    pub(super) fn subject(&self) -> String {
        escape(&self.0.subject().to_string())
    }

    /// The distinguished name of who signed the certificate, made harmless to show.
    pub(super) fn issuer(&self) -> String {
        escape(&self.0.issuer().to_string())
    }

    /// Checks that the certificate is valid at this time, in UNIX seconds.
    ///
    /// # Errors
    /// In words, before its validity begins and after it has ended.
    pub(super) fn is_valid_at(&self, unix_seconds: u64) -> Result<(), String> {
        let now = i64::try_from(unix_seconds).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
        let validity = self.0.validity();
        match now {
            Some(now) if now < validity.not_before => {
                Err(format!("the certificate of {} is valid from {} only", self.subject(), validity.not_before))
            }
            Some(now) if now > validity.not_after => Err(format!(
                "the certificate of {} has expired: it was valid until {}",
                self.subject(),
                validity.not_after
            )),
            Some(_) => Ok(()),
            None => Err("this machine's clock cannot be right".to_owned()),
        }
    }

    /// Whether `issuer`'s name is the one that signed, and its key made the signature, by one of these algorithms.
    pub(super) fn is_signed_by(
        &self,
        issuer: &Certificate<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        if self.0.issuer().as_raw() != issuer.0.subject().as_raw() {
            return false;
        }
        let signature_algorithm = self.0.signature_algorithm.algorithm.as_bytes();
        let key = &issuer.0.tbs_certificate.subject_pki.subject_public_key.data;
        let (message, signature) = (self.0.tbs_certificate.as_ref(), &self.0.signature_value.data);
        algorithms
            .iter()
            .filter(|algorithm| object_id(&algorithm.signature_alg_id()) == Some(signature_algorithm))
            .any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
    }

    /// Checks that the certificate is for this host, as libpq does: by the alternative names of the host's kind (name
    /// or address), and by the common name where there is none of that kind.
    ///
    /// # Errors
    /// In words, whom the certificate is for instead.
    pub(super) fn is_for(&self, host: &str) -> Result<(), String> {
        let address: Option<IpAddr> = host.parse().ok();
        let mut names: Vec<String> = Vec::new();
        let mut same_kind = false;
        let alternatives = self.0.subject_alternative_name().ok().flatten();
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => {
                    same_kind |= address.is_none();
                    names.push((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => {
                    same_kind |= address.is_some();
                    let found = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                    let found = found.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                    let Ok(found) = found else { continue };
                    if address == Some(found) {
                        return Ok(());
                    }
                    names.push(found.to_string());
                }
                _ => {}
            }
        }
        if !same_kind {
            let common = self.0.subject().iter_common_name().next();
            names.extend(common.and_then(|name| name.as_str().ok()).map(str::to_owned));
        }
        if names.iter().any(|name| host_matches(name, host)) {
            return Ok(());
        }
        names.dedup();
        let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
        let names = if names.is_empty() { "no host at all".to_owned() } else { names.join(", ") };
        Err(format!("the server's certificate is for {names}, not for {}", escape(host)))
    }
}

/// Whether a host's name fits a certificate's name; `*.` at the pattern's front stands for one label.
fn host_matches(pattern: &str, host: &str) -> bool {
    if pattern.contains('\0') {
        return false;
    }
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(suffix), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.')) else { return false };
    !label.is_empty() && suffix.contains('.') && rest.eq_ignore_ascii_case(suffix)
}

/// The content of the object identifier that an algorithm's DER begins with; `None` where it begins otherwise.
fn object_id(algorithm: &[u8]) -> Option<&[u8]> {
    match algorithm {
        [0x06, length, rest @ ..] => rest.get(..usize::from(*length)),
        _ => None,
    }
}

/// The hash that binds a password's proof to this certificate (`tls-server-end-point`, RFC 5929); `None` where the RFC
/// defines none for the certificate's signature algorithm.
pub(super) fn end_point(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = Certificate::read(der).ok()?;
    // Of md5 and sha1, too, the RFC takes SHA-256.
    let hash = match certificate.0.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Sha256::digest(der).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(der).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(der).to_vec(),
        _ => return None,
    };
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_libpq_has_it() {
        for (pattern, host, is) in [
            ("db.example", "DB.example", true),
            ("*.example.org", "db.example.org", true),
            ("*.example.org", "a.db.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.org", "example.org", false),
            ("d*.example.org", "db.example.org", false),
            ("*", "db", false),
            ("db.example\0.evil", "db.example", false),
        ] {
            assert_eq!(host_matches(pattern, host), is, "{pattern} {host}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for bytes in [&b""[..], b"\x30\x03\x02\x01\x01", b"not a certificate"] {
            let der = CertificateDer::from(bytes);
            assert!(Certificate::read(&der).is_err());
            assert_eq!(end_point(&der), None);
        }
    }
}
