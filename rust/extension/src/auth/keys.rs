//! The source of auth keys that the settings name.

use tailnet::diagnosis::KeyKind;

use crate::{
    auth::{
        config::Credential, key_source::KeySource, secret::Secret, stored_key::StoredKey,
        workload_identity::WorkloadIdentity,
    },
    error::JoinError,
};

/// One of the sources that there are.
#[derive(Debug)]
pub enum Keys {
    /// A stored key.
    Stored(StoredKey),
    /// The function's role.
    WorkloadIdentity(WorkloadIdentity),
}

impl Keys {
    /// The source that `credential` names, of keys for machines with `tags`.
    pub fn new(credential: Credential, tags: &[String]) -> Self {
        match credential {
            Credential::Stored(config) => Self::Stored(StoredKey::new(config, tags.to_vec())),
            Credential::WorkloadIdentity(identity) => Self::WorkloadIdentity(identity),
        }
    }
}

impl KeySource for Keys {
    async fn login_key(&self) -> Result<Secret, JoinError> {
        match self {
            Self::Stored(key) => key.login_key().await,
            Self::WorkloadIdentity(identity) => identity.login_key().await,
        }
    }

    async fn changed(&self) -> Result<bool, JoinError> {
        match self {
            Self::Stored(key) => key.changed().await,
            Self::WorkloadIdentity(identity) => identity.changed().await,
        }
    }

    fn kind(&self) -> Option<KeyKind> {
        match self {
            Self::Stored(key) => key.kind(),
            Self::WorkloadIdentity(_) => Some(KeyKind::WorkloadIdentity),
        }
    }
}
