//! TLS to a target. The roots are built in: what the operating system trusts does not matter.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};

use crate::{config::Config, error::ProxyError, target::Target};

/// Opens TLS sessions; keeps what it needs to resume them.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// TLS with these settings; an error where the extra certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self, ProxyError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ProxyError::Internal(format!("TLS cannot be set up: {error}")))?;
        let client = if config.skip_tls_verification {
            let verifier = Arc::new(TakeAny { provider });
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth()
        } else {
            builder
                .with_root_certificates(roots(config.ca_certificates.as_deref())?)
                .with_no_client_auth()
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
        self.connector
            .connect(name, stream)
            .await
            .map_err(|error| ProxyError::TargetUnreachable(format!("TLS with {target} as '{shown}' failed: {error}")))
    }
}

fn roots(extra: Option<&str>) -> Result<RootCertStore, ProxyError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let unusable = |error: &dyn std::fmt::Display| {
        ProxyError::Internal(format!(
            "TS_CA_CERTIFICATES cannot be used: {error}; it must be certificates as PEM text"
        ))
    };
    for certificate in extra
        .map(str::as_bytes)
        .into_iter()
        .flat_map(CertificateDer::pem_slice_iter)
    {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if extra.is_some() && roots.len() == webpki_roots::TLS_SERVER_ROOTS.len() {
        return Err(unusable(&"there is no certificate in it"));
    }
    Ok(roots)
}

/// Takes any certificate, but still checks that the other end has its key.
#[derive(Debug)]
struct TakeAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TakeAny {
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
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
