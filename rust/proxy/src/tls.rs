//! TLS to a target. The roots are built in: what the operating system trusts does not matter.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
        SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_name,
        },
        crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime},
        server::ParsedCertificate,
    },
};
use webpki::RawPublicKeyEntity;

use crate::{certificate::public_key, config::Config, error::ProxyError, target::Target};

/// Opens TLS sessions; keeps what it needs to resume them.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// TLS with these settings.
    pub fn new(config: &Config) -> Result<Self, ProxyError> {
        let unusable = |error: &dyn std::fmt::Display| ProxyError::Internal(format!("TLS cannot be set up: {error}"));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let verifier: Arc<dyn ServerCertVerifier> = if config.skip_tls_verification {
            Arc::new(AcceptAny { algorithms })
        } else {
            let trusted = config
                .ca_certificates
                .as_ref()
                .map(|trusted| trusted.certificates().to_vec());
            let trusted = trusted.unwrap_or_default();
            let mut roots = RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            };
            for certificate in &trusted {
                roots.add(certificate.clone()).map_err(|error| unusable(&error))?;
            }
            let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| unusable(&error))?;
            Arc::new(ChainedOrListed { chains, trusted })
        };
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let client = match &config.client_certificate {
            None => client.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = certificate.parts();
                client
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| unusable(&error))?
            }
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// Shakes hands with `target`, whose certificate must be for `name`.
    pub async fn connect(
        &self,
        target: &Target,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ProxyError> {
        let shown = name.to_str().into_owned();
        self.connector.connect(name, stream).await.map_err(|error| {
            let hint = hint(&error);
            ProxyError::TargetUnreachable(format!("TLS with {target} as '{shown}' failed: {error}{hint}"))
        })
    }
}

/// What to do about a failed handshake, where its error does not say. In TLS 1.3 a server may refuse a client when it has
/// taken the first request already.
pub(crate) fn hint(error: &std::io::Error) -> &'static str {
    let failed = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    if matches!(
        failed,
        Some(Error::AlertReceived(AlertDescription::CertificateRequired))
    ) {
        return "; the target asks its clients for a certificate: give the proxy one (clientCertificateSecret)";
    }
    match failed.and_then(refused_by_webpki) {
        Some(webpki::Error::UnsupportedCertVersion) => {
            "; a certificate of version 1 names no host: make one of version 3 with a subjectAltName, or switch the \
             verification off"
        }
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "; it is a certificate authority's own: list it among the trusted certificates, or have the authority issue \
             one for the host"
        }
        _ => "",
    }
}

fn refused_by_webpki(error: &Error) -> Option<&webpki::Error> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => error.downcast_ref(),
        _ => None,
    }
}

/// Trusts what a root vouches for, and what is on the owner's list itself: an authority's own certificate, which webpki
/// takes for no server's.
#[derive(Debug)]
struct ChainedOrListed {
    chains: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for ChainedOrListed {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chained = self
            .chains
            .verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        let error = match chained {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        // webpki has looked at the dates by then.
        let is_authority = matches!(refused_by_webpki(&error), Some(webpki::Error::CaUsedAsEndEntity));
        if !is_authority || !self.trusted.contains(certificate) {
            return Err(error);
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Takes any certificate of any version, but still checks that the other end has its key.
#[derive(Debug)]
struct AcceptAny {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AcceptAny {
    /// `check`, and where it cannot read the certificate, the signature by the certificate's key alone.
    fn verify(
        &self,
        check: impl Fn(
            &[u8],
            &CertificateDer<'_>,
            &DigitallySignedStruct,
            &WebPkiSupportedAlgorithms,
        ) -> Result<HandshakeSignatureValid, Error>,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let error = match check(message, certificate, signature, &self.algorithms) {
            Err(error @ Error::InvalidCertificate(_)) => error,
            checked => return checked,
        };
        let key = public_key(certificate).map(SubjectPublicKeyInfoDer::from);
        let key = key.as_ref().and_then(|key| RawPublicKeyEntity::try_from(key).ok());
        let candidates = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signature.scheme);
        let (Some(key), Some((_, candidates))) = (key, candidates) else {
            return Err(error);
        };
        let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            key.verify_signature(*algorithm, message, signature.signature()).is_ok()
        };
        if candidates.iter().any(verifies) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(verify_tls12_signature, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(verify_tls13_signature, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
