//! What can go wrong while the testbed starts, or in it.

use crate::{
    binaries::Missing, caller_function::NotWritten, deadline::TimedOut, distance::LinkError, http_call::CallError,
    lambda::LambdaError, namespace::NamespaceError, nat::NatError, network::NetworkError, process::ProcessError,
    signed::SigningError,
};

/// Why the testbed is not there. Each message names the part that failed, and how.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is the error that it holds")]
pub enum Error {
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Caller(#[from] NotWritten),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    #[error("the operating system does not allow what every program needs: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Nat(#[from] NatError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Signing(#[from] SigningError),
}
