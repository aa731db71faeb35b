//! The certificates of `TS_CA_CERTIFICATES`.

use thiserror::Error;
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Certificates to trust beside the public authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCertificates(Vec<CertificateDer<'static>>);

/// Why they cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CaCertificatesError {
    /// There is none.
    #[error("there is no certificate in it")]
    None,
    /// It is not PEM.
    #[error("certificate {0} is not PEM text: {1}")]
    Pem(usize, String),
    /// It is PEM, but no certificate.
    #[error("certificate {0} cannot be trusted: {1}")]
    Certificate(usize, String),
}

impl CaCertificates {
    /// Reads PEM text, and checks that each certificate can be trusted.
    pub fn parse(text: &str) -> Result<Self, CaCertificatesError> {
        let mut certificates = Vec::new();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(text.as_bytes())) {
            let certificate = certificate.map_err(|error| CaCertificatesError::Pem(number, error.to_string()))?;
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| CaCertificatesError::Certificate(number, error.to_string()))?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err(CaCertificatesError::None);
        }
        Ok(Self(certificates))
    }

    /// The certificates.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}
