//! What a process of the environment can ask for: each call with the way back for its answer.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Refusal;
use crate::invocation::{InvokeError, StreamBroken, StreamingAnswer};

/// The way back.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// A call to the API, checked for form only.
#[derive(Debug)]
pub(crate) enum Call {
    /// The runtime is ready for an event.
    RuntimeNext(Reply<Delivery>),
    /// The answer to an invocation, in whole.
    Response {
        id: String,
        answer: Result<Bytes, InvokeError>,
        reply: Reply<()>,
    },
    /// An answer begins, and goes on outside of this channel.
    StreamBegins {
        id: String,
        stream: StreamingAnswer,
        reply: Reply<oneshot::Receiver<StreamBroken>>,
    },
    /// That answer is over; `broken` if it ended before its end.
    StreamEnded {
        id: String,
        broken: Option<StreamBroken>,
        reply: Reply<()>,
    },
    /// An extension registers.
    Register {
        name: String,
        events: BTreeSet<Subscription>,
        reply: Reply<Uuid>,
    },
    /// An extension is ready for an event.
    ExtensionNext {
        identifier: Uuid,
        reply: Reply<ExtensionEvent>,
    },
    /// An extension could not start.
    ExtensionInitError {
        identifier: Uuid,
        error_type: String,
        reply: Reply<()>,
    },
}

/// An event on its way to the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) request_id: String,
    /// With the qualifier by which it was invoked.
    pub(crate) function_arn: String,
    /// Milliseconds since 1970.
    pub(crate) deadline_ms: u128,
    pub(crate) trace_id: String,
    pub(crate) payload: Bytes,
}

/// An error that a process reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error_type: String,
    pub(crate) message: String,
}

/// What an extension can register for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Subscription {
    Invoke,
    Shutdown,
}

/// The answer to an extension's `event/next`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "eventType", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub(crate) enum ExtensionEvent {
    /// An invocation began.
    Invoke {
        deadline_ms: u128,
        request_id: String,
        invoked_function_arn: String,
        tracing: Tracing,
    },
    /// The environment ends.
    Shutdown {
        shutdown_reason: ShutdownReason,
        deadline_ms: u128,
    },
}

/// The invocation's X-Ray header.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tracing {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) value: String,
}

impl Tracing {
    pub(crate) fn xray(value: &str) -> Self {
        Self {
            kind: "X-Amzn-Trace-Id",
            value: value.to_owned(),
        }
    }
}

/// Why an environment ends, in the Extensions API's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ShutdownReason {
    /// Nobody needs it any more.
    Spindown,
    /// The function's time-out.
    Timeout,
    /// A process ended, or reported an error.
    Failure,
}
