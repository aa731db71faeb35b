//! What happens, as one JSON object a line on standard output: for programs that drive this one.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use crate::lambda_api::calls::ShutdownReason;
use crate::sandbox::protocol::ExitStatus;

/// One thing that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Event<'a> {
    /// The URL can be called.
    Ready {
        /// Where.
        url: &'a str,
        /// Where the Invoke API is, if it was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        invoke_url: Option<&'a str>,
        /// Where the URLs of aliases are, if some were asked for.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        alias_urls: &'a BTreeMap<String, String>,
    },
    /// An environment changed its state.
    Environment {
        /// Its number, never used twice.
        id: u64,
        /// What it is now.
        state: State,
        /// Why it ended: `spindown`, `timeout` or `failure`.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<ShutdownReason>,
        /// The service's name for the failure, such as `Runtime.ExitError`.
        #[serde(skip_serializing_if = "Option::is_none")]
        error_type: Option<&'a str>,
        /// The failure in words.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
    /// SIGUSR1 came: these environments end, or did so already.
    Spindown {
        /// Their numbers.
        environments: Vec<u64>,
    },
    /// A process of an environment started or ended.
    Process {
        /// The environment's number.
        environment: u64,
        /// `runtime`, or `extension:` and the extension's name.
        name: &'a str,
        /// Which of the two.
        #[serde(flatten)]
        change: Change,
    },
    /// An invocation ended.
    Invocation {
        /// The environment's number.
        environment: u64,
        /// How long the INIT before it took; absent in a warm environment.
        #[serde(skip_serializing_if = "Option::is_none")]
        init_ms: Option<f64>,
        /// From the event's delivery to the end of the answer.
        duration_ms: f64,
        /// `success`, `error` or `timeout`.
        outcome: &'a str,
        /// The failure's type.
        #[serde(skip_serializing_if = "Option::is_none")]
        error_type: Option<&'a str>,
    },
}

/// The states of an environment that are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// INIT began.
    Starting,
    /// The runtime and every extension are ready.
    Initialized,
    /// No process runs.
    Frozen,
    /// They run again.
    Thawed,
    /// An event is being handled.
    Invoking,
    /// Nothing of it is left.
    Stopped,
}

/// What became of a process.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Change {
    /// It runs.
    Started {
        /// Its id in the namespace of local-lambda; absent if it ended at once.
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    /// It ended.
    Exited {
        /// The id it had.
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
        /// Its exit status.
        #[serde(flatten)]
        status: ExitStatus,
        /// Whether it was being shut down.
        expected: bool,
    },
}

/// Writes one event, and flushes it. A reader that went away is not an error of the function's: it is logged.
pub(crate) fn write(event: &Event<'_>) {
    let line = match serde_json::to_string(event) {
        Ok(line) => line + "\n",
        Err(error) => return tracing::error!(%error, "an event cannot be written as JSON"),
    };
    let mut output = std::io::stdout().lock();
    if let Err(error) = output.write_all(line.as_bytes()).and_then(|()| output.flush()) {
        tracing::warn!(%error, "an event could not be written to standard output");
    }
}
