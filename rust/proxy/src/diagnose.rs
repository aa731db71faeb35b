//! What the doctor asks, and what it hears back.
//!
//! A diagnosis is an invocation whose payload is `{"diagnose":{"ts-target-ip":"100.64.0.7","ts-target-port":"8080"}}` and
//! nothing else: the headers that a request would name its target by. As with a warm-up, no Function URL's request looks
//! so: only who may invoke the function itself can send one.

use serde::Serialize;
use tailnet::diagnosis::Diagnosis;
use tokio::time::Instant;

use crate::{error::ProxyError, target::Target};

/// The payload's only field.
pub const FIELD: &str = "diagnose";

/// What was found, step by step.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of the proxy.
    pub version: &'static str,
    /// Which environment it was: its log stream's name.
    pub environment: String,
    /// The target, as the headers name it.
    pub target: String,
    /// Whether the list of allowed targets has it.
    pub allowed: Step,
    /// What the extension knows; absent if it does not respond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tailnet: Option<Diagnosis>,
    /// Why the extension does not respond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_error: Option<String>,
    /// A connection to the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Step>,
    /// A connection and a TLS session with the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Step>,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepError {
    /// What `ts-error-name` would be.
    pub name: &'static str,
    /// What `ts-error-message` would be.
    pub message: String,
}

impl Report {
    /// A report that has come as far as the extension's response.
    pub(crate) fn of(target: &Target, tailnet: Result<Diagnosis, ProxyError>) -> Self {
        let (tailnet, extension_error) = match tailnet {
            Ok(diagnosis) => (Some(diagnosis), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            environment: String::new(),
            target: target.to_string(),
            allowed: Step { ms: 0, error: None },
            tailnet,
            extension_error,
            connection: None,
            tls: None,
        }
    }
}

impl Step {
    /// A step that began then, and came to this.
    pub(crate) fn of<T>(began: Instant, outcome: &Result<T, ProxyError>) -> Self {
        Self {
            ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            error: outcome.as_ref().err().map(|error| StepError {
                name: error.code().1,
                message: error.to_string(),
            }),
        }
    }
}
