//! The certificate that the proxy shows to targets which ask their clients for one, and its private key.

use std::fmt;

use lambda_env::aws::{
    Access,
    secrets_manager::{SecretNotRead, read_secret},
};
use thiserror::Error;
use tokio_rustls::rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// A certificate, those of its issuers after it, and its private key.
#[derive(PartialEq, Eq)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why it cannot be used. Nothing of the secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientCertificateError {
    /// The secret was not read.
    #[error("TS_CLIENT_CERTIFICATE_SECRET cannot be used: cannot read the secret '{secret}': {source}")]
    NotRead {
        /// Its name or ARN.
        secret: String,
        /// What happened.
        source: SecretNotRead,
    },
    /// The secret holds something else.
    #[error(
        "TS_CLIENT_CERTIFICATE_SECRET cannot be used: the secret '{secret}' {reason}; fix: store PEM text in it: the \
         certificate, those of its issuers, and its private key, not encrypted"
    )]
    Unusable {
        /// Its name or ARN.
        secret: String,
        /// What is wrong with it.
        reason: Unusable,
    },
}

/// What is wrong with the text of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unusable {
    /// It is not PEM.
    #[error("is not PEM text")]
    NotPem,
    /// It has no certificate.
    #[error("has no certificate")]
    NoCertificate,
    /// It has no private key, or an encrypted one.
    #[error("has no private key that is not encrypted")]
    NoKey,
    /// The two do not belong together, or are of a kind that TLS does not use.
    #[error("has a certificate and a private key that cannot be used together: {0}")]
    Pair(String),
}

impl ClientCertificate {
    /// Reads the secret of this name or ARN.
    ///
    /// # Errors
    /// [`ClientCertificateError`], naming the secret.
    pub async fn read(access: &Access, secret: &str) -> Result<Self, ClientCertificateError> {
        let text = read_secret(access, secret)
            .await
            .map_err(|source| ClientCertificateError::NotRead {
                secret: secret.to_owned(),
                source,
            })?;
        Self::parse(&text).map_err(|reason| ClientCertificateError::Unusable {
            secret: secret.to_owned(),
            reason,
        })
    }

    /// Reads PEM text, and checks that the key is the certificate's.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        // The parser's own errors could show a piece of the secret.
        let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| Unusable::NotPem)?;
        if chain.is_empty() {
            return Err(Unusable::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| Unusable::NoKey)?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &aws_lc_rs::default_provider())
            .map_err(|error| Unusable::Pair(error.to_string()))?;
        Ok(Self { chain, key })
    }

    /// Certificates and key, as TLS takes them.
    pub(crate) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }
}

/// The key is never shown.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

    use super::*;

    /// A certificate and its key, as PEM.
    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["client".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn certificates_and_key_are_found_in_any_order() {
        let (certificate, key) = pair();
        let (issuer, _) = pair();
        let used = ClientCertificate::parse(&format!("{certificate}{issuer}{key}")).unwrap();
        assert_eq!(used.parts().0.len(), 2);
        assert!(ClientCertificate::parse(&format!("{key}{certificate}")).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_told_and_nothing_of_it_is_shown() {
        let (certificate, key) = pair();
        let other = KeyPair::generate().unwrap().serialize_pem();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        for (text, expected) in [
            (String::new(), "has no certificate"),
            ("hunter2".to_owned(), "has no certificate"),
            (key.clone(), "has no certificate"),
            (format!("{key}{}", &certificate[..99]), "is not PEM text"),
            (certificate.clone(), "has no private key"),
            (format!("{certificate}{encrypted}"), "has no private key"),
            (format!("{certificate}{other}"), "cannot be used together"),
        ] {
            let reason = ClientCertificate::parse(&text).unwrap_err();
            let error = ClientCertificateError::Unusable {
                secret: "mtls".into(),
                reason,
            };
            let message = format!("{error} {error:?}");
            assert!(message.contains(expected) && message.contains("'mtls'"), "{message}");
            for line in text.lines().filter(|line| line.len() > 8 && !line.starts_with("---")) {
                assert!(!message.contains(line), "{message}");
            }
        }
    }

    #[test]
    fn the_key_is_not_in_what_debug_shows() {
        let (certificate, key) = pair();
        let shown = format!("{:?}", ClientCertificate::parse(&(certificate + &key)));
        assert_eq!(shown, "Ok(ClientCertificate { .. })");
    }
}
