//! TLS to AWS and other public servers.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs},
};

/// TLS by the public certificate authorities that are built in. It is made at the first need, and keeps what it takes to
/// resume sessions; clones share both.
#[derive(Clone, Default)]
pub struct PublicTls(Arc<OnceLock<TlsConnector>>);

impl PublicTls {
    /// What opens sessions.
    ///
    /// # Errors
    /// The cryptography that is built in does not have TLS 1.2 or 1.3: a bug of ours.
    pub fn connector(&self) -> io::Result<&TlsConnector> {
        if let Some(connector) = self.0.get() {
            return Ok(connector);
        }
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.0.get_or_init(|| TlsConnector::from(Arc::new(client))))
    }
}
