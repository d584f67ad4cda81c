//! TLS to a server as libpq has it: in go settings, out comes a client configuration that checks what the mode asks
//! for, with the root certificates, our own certificate and its key from where libpq looks for them.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{
        CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    certificate::Certificate,
    settings::{Settings, SslMode},
};
use crate::base::{Context, Error, Result, text::escape};

/// What of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

impl Check {
    fn of(settings: &Settings) -> Self {
        match settings.ssl_mode {
            SslMode::VerifyFull => Check::ChainAndName,
            SslMode::VerifyCa => Check::Chain,
            // As libpq: whoever has root certificates wants them used.
            SslMode::Require if settings.root_certificate.is_some() => Check::Chain,
            _ => Check::Nothing,
        }
    }
}

/// The client's side of TLS for these settings; an error where a certificate or key file cannot be used.
pub(super) fn client_config(settings: &Settings) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let check = Check::of(settings);
    let roots = match check {
        Check::Nothing => Roots { certificates: Vec::new(), store: RootCertStore::empty() },
        _ => Roots::read(settings.root_certificate.as_deref())?,
    };
    let verifier = Verifier { provider: provider.clone(), check, roots, host: settings.host.clone() };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .or_failed(|| "cannot set up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(match own_certificate(settings, &provider)? {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    })
}

/// The certificate that the server may ask of us, with its key; `None` where the settings name neither.
fn own_certificate(settings: &Settings, provider: &CryptoProvider) -> Result<Option<CertifiedKey>> {
    let (certificate, key) = match (&settings.certificate, &settings.key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(certificate), None) => {
            return Err(Error::failed(format!("the certificate {} has no key", certificate.display()))
                .hint("name its private key with PGSSLKEY, or put it at ~/.postgresql/postgresql.key"));
        }
        (None, Some(key)) => {
            return Err(Error::failed(format!("the key {} has no certificate", key.display()))
                .hint("name its certificate with PGSSLCERT, or put it at ~/.postgresql/postgresql.crt"));
        }
    };
    let chain = read_certificates(certificate, "PGSSLCERT")?;
    let what = || format!("cannot read the private key {}", key.display());
    let metadata = fs::metadata(key).map_err(|e| Error::failed(what()).because(e).hint("correct or unset PGSSLKEY"))?;
    // libpq's own rule: root's key may be read by a group.
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & others != 0 {
        return Err(Error::failed(format!("others can read the private key {}", key.display()))
            .hint(format!("make it private: chmod 0600 {}", key.display())));
    }
    let bytes = zeroize::Zeroizing::new(fs::read(key).or_failed(what)?);
    let found = rustls_pemfile::private_key(&mut bytes.as_slice()).or_failed(what)?;
    let key_of = |der: PrivateKeyDer<'static>| provider.key_provider.load_private_key(der).or_failed(what);
    match found {
        Some(der) => Ok(Some(CertifiedKey::new(chain, key_of(der)?))),
        None => Err(Error::failed(format!("{} holds no private key that can be read", key.display())).hint(
            "PGSSLKEY must name a PEM file with a key without a passphrase (openssl pkey -in OLD -out NEW removes one)",
        )),
    }
}

fn read_certificates(path: &Path, variable: &str) -> Result<Vec<CertificateDer<'static>>> {
    let what = || format!("cannot read the certificates in {}", path.display());
    let bytes = fs::read(path).map_err(|e| {
        Error::failed(what()).because(e).hint(format!("correct or unset {variable}, which must name a PEM file"))
    })?;
    let found: Vec<_> = rustls_pemfile::certs(&mut bytes.as_slice()).collect::<Result<_, _>>().or_failed(what)?;
    if found.is_empty() {
        return Err(Error::failed(format!("{} holds no certificate", path.display()))
            .hint(format!("{variable} must name a PEM file that holds one")));
    }
    Ok(found)
}

/// The root certificates that are trusted.
#[derive(Debug)]
struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    store: RootCertStore,
}

impl Roots {
    fn read(file: Option<&Path>) -> Result<Self> {
        let named = file.filter(|f| *f != Path::new("system"));
        let certificates = match named {
            Some(path) => read_certificates(path, "PGSSLROOTCERT")?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut store = RootCertStore::empty();
        // One that is no certificate authority can still be the server's own.
        store.add_parsable_certificates(certificates.iter().cloned());
        if certificates.is_empty() {
            return Err(Error::failed("no root certificate was found to verify the database server with")
                .hint("name a PEM file with PGSSLROOTCERT, or put it at ~/.postgresql/root.crt"));
        }
        Ok(Roots { certificates, store })
    }
}

/// Checks of a server what the mode asks for; the handshake's signatures have to be right in every mode.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    check: Check,
    roots: Roots,
    host: String,
}

impl Verifier {
    fn check(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        if self.check == Check::Nothing {
            return Ok(());
        }
        let certificate = Certificate::read(der)?;
        self.check_chain(der, &certificate, intermediates, now)?;
        match self.check {
            Check::ChainAndName => certificate.is_for(&self.host),
            _ => Ok(()),
        }
    }

    fn check_chain(
        &self,
        der: &CertificateDer<'_>,
        certificate: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        // One that is trusted itself needs nobody else.
        if self.roots.certificates.iter().any(|root| root.as_ref() == der.as_ref()) {
            return certificate.is_valid_at(now.as_secs());
        }
        if certificate.is_before_v3() {
            certificate.is_valid_at(now.as_secs())?;
            let signed = |root: &CertificateDer<'_>| {
                Certificate::read(root).is_ok_and(|root| {
                    root.is_valid_at(now.as_secs()).is_ok() && certificate.is_signed_by(&root, algorithms)
                })
            };
            if self.roots.certificates.iter().any(signed) {
                return Ok(());
            }
            return Err(format!(
                "the server's certificate (X.509 v1, for {}) is signed by {}, and not directly by a root that is trusted",
                certificate.subject(),
                certificate.issuer()
            ));
        }
        let parsed =
            ParsedCertificate::try_from(der).map_err(|e| format!("the server's certificate is refused: {e}"))?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots.store, intermediates, now, algorithms).map_err(
            |e| format!("the certificate of {}, signed by {}: {e}", certificate.subject(), certificate.issuer()),
        )
    }

    /// Checks the handshake's signature, which proves that the server has the certificate's key; also where the TLS
    /// library cannot read the certificate (X.509 v1).
    fn check_signature(
        &self,
        message: &[u8],
        der: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        if ParsedCertificate::try_from(der).is_ok() {
            let verify = if is_tls13 { verify_tls13_signature } else { verify_tls12_signature };
            return verify(message, der, dss, algorithms);
        }
        let certificate = Certificate::read(der).map_err(rustls::Error::General)?;
        if is_tls13 {
            let key = SubjectPublicKeyInfoDer::from(certificate.public_key());
            return verify_tls13_signature_with_raw_key(message, &key, dss, algorithms);
        }
        let of_scheme = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let algorithms = of_scheme.map(|(_, algorithms)| *algorithms).unwrap_or_default();
        let key = certificate.key();
        if algorithms.iter().any(|algorithm| algorithm.verify_signature(key, message, dss.signature()).is_ok()) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(rustls::Error::General("the server has not the key of its certificate".to_owned()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates, now).map_err(rustls::Error::General)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a handshake failed, in the words of the check that said no, made harmless to show.
pub(super) fn words(e: &std::io::Error) -> String {
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    escape(&match inner {
        Some(rustls::Error::General(words)) => words.clone(),
        Some(other) => other.to_string(),
        None => e.to_string(),
    })
}
