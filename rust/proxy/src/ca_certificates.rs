//! The certificates of `TS_CA_CERTIFICATES` and `TS_CA_CERTIFICATES_FILE`.

use std::{fs::File, io::Read, path::Path};

use thiserror::Error;
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The longest file, in bytes: the public authorities are a fifth of it.
const LONGEST_FILE: u64 = 1 << 20;

/// Certificates to trust beside the public authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCertificates(Vec<CertificateDer<'static>>);

/// Why they cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CaCertificatesError {
    /// The file is not there, or not text.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// The file is too long.
    #[error("it is {0} bytes long, but must have {LONGEST_FILE} at most")]
    TooLong(u64),
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

    /// Reads a file of PEM text.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), or that the file cannot be read or is longer than 1 MiB.
    pub fn read(path: &Path) -> Result<Self, CaCertificatesError> {
        let unreadable = |error: std::io::Error| CaCertificatesError::Unreadable(error.to_string());
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        if length > LONGEST_FILE {
            return Err(CaCertificatesError::TooLong(length));
        }
        let mut text = String::new();
        file.take(LONGEST_FILE).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text)
    }

    /// These and others.
    pub(crate) fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The certificates.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}
