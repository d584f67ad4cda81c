//! libp2p's `/tls/1.0.0` with AES-128-GCM first.
//!
//! libp2p's own upgrade fixes the order ChaCha20, AES-256, AES-128 for both sides. With AES instructions, which every
//! server has, AES-128-GCM costs a third of the processor time. The bytes on the wire are plain TLS 1.3 with libp2p's
//! certificates (<https://github.com/libp2p/specs/blob/master/tls/tls.md>): an ordinary libp2p peer connects all the
//! same, and a machine without AES instructions still gets what both sides offer.

use std::{io, iter, net::Ipv4Addr, sync::Arc};

use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    identity::Keypair,
    tls::certificate,
};
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider,
        ring::{self, cipher_suite},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};

use crate::base::{Context, Result};

const PROTOCOL: &str = "/tls/1.0.0";

/// The upgrade of a raw connection to an encrypted one whose peer is known.
#[derive(Clone)]
pub(super) struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// The TLS settings of the node with that key.
    pub(super) fn new(key: &Keypair) -> Result<Self> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            ..ring::default_provider()
        });
        let what = || "cannot set up encryption";
        let (certificate, secret) = certificate::generate(key).or_failed(what)?;
        let secret = ring::sign::any_ecdsa_type(&secret).or_failed(what)?;
        let ours = Arc::new(OneCertificate(Arc::new(CertifiedKey::new(vec![certificate], secret))));
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .or_failed(what)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PeerCertificate))
            .with_client_cert_resolver(ours.clone());
        client.alpn_protocols = vec![b"libp2p".to_vec()];
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .or_failed(what)?
            .with_client_cert_verifier(Arc::new(PeerCertificate))
            .with_cert_resolver(ours);
        server.alpn_protocols = vec![b"libp2p".to_vec()];
        // An ordinary libp2p peer asks for ChaCha20 first.
        server.ignore_client_order = true;
        Ok(Tls { server: Arc::new(server), client: Arc::new(client) })
    }
}

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(PROTOCOL)
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, TlsStream<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            let stream = TlsAcceptor::from(self.server).accept(socket).await?;
            Ok((peer_id(stream.get_ref().1)?, stream.into()))
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, TlsStream<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move {
            // libp2p sends no server name; an address makes none be sent.
            let nobody = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            let stream = TlsConnector::from(self.client).connect(nobody, socket).await?;
            Ok((peer_id(stream.get_ref().1)?, stream.into()))
        }
        .boxed()
    }
}

fn peer_id(connection: &CommonState) -> io::Result<PeerId> {
    let Some([certificate]) = connection.peer_certificates() else {
        return Err(io::Error::other("the peer has no certificate"));
    };
    Ok(certificate::parse(certificate).map_err(io::Error::other)?.peer_id())
}

/// The certificate that every connection of this node shows.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesClientCert for OneCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Checks certificates as libp2p does: exactly one, self-signed, carrying a proof of the peer's key.
#[derive(Debug)]
struct PeerCertificate;

fn tls_error(error: impl std::fmt::Display) -> Error {
    Error::General(error.to_string())
}

impl PeerCertificate {
    fn check(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> std::result::Result<(), Error> {
        if !others.is_empty() {
            return Err(tls_error("libp2p shows exactly one certificate"));
        }
        certificate::parse(certificate).map(|_| ()).map_err(tls_error)
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        certificate::parse(certificate)
            .map_err(tls_error)?
            .verify_signature(signed.scheme, message, signed.signature())
            .map_err(tls_error)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn schemes() -> Vec<SignatureScheme> {
        use SignatureScheme as S;
        vec![
            S::ECDSA_NISTP384_SHA384,
            S::ECDSA_NISTP256_SHA256,
            S::ED25519,
            S::RSA_PSS_SHA512,
            S::RSA_PSS_SHA384,
            S::RSA_PSS_SHA256,
            S::RSA_PKCS1_SHA512,
            S::RSA_PKCS1_SHA384,
            S::RSA_PKCS1_SHA256,
        ]
    }
}

impl ServerCertVerifier for PeerCertificate {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        Self::check(certificate, others)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Err(tls_error("libp2p speaks TLS 1.3 only"))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for PeerCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> std::result::Result<ClientCertVerified, Error> {
        Self::check(certificate, others)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Err(tls_error("libp2p speaks TLS 1.3 only"))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}
