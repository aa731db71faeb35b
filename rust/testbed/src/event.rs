//! The events that local-lambda prints.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What local-lambda calls the function's own process.
const RUNTIME: &str = "runtime";

/// An event: one line of JSON each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The URL can be called.
    Ready {
        /// Where.
        url: String,
        /// Where the Invoke API is.
        invoke_url: Option<String>,
        /// Where the URLs of its aliases are.
        #[serde(default)]
        alias_urls: BTreeMap<String, String>,
    },
    /// An environment changed its state.
    Environment {
        /// Its number.
        id: u64,
        /// `starting`, `initialized`, `frozen`, `thawed`, `invoking` or `stopped`.
        state: String,
    },
    /// Environments were told to end.
    Spindown {
        /// Their numbers.
        environments: Vec<u64>,
    },
    /// A process of an environment started or ended.
    Process {
        /// The environment's number.
        environment: u64,
        /// `runtime`, or `extension:` and the extension's name.
        name: String,
        /// `started` or `exited`.
        state: String,
        /// Its id, as seen from here.
        pid: Option<u32>,
        /// How it ended, if it did so by itself.
        exit_code: Option<i32>,
    },
    /// An invocation ended.
    Invocation {
        /// How long INIT took, in a cold environment.
        init_ms: Option<f64>,
        /// From the event's delivery to the end of the answer.
        duration_ms: f64,
    },
}

impl Event {
    /// An environment was frozen.
    pub fn frozen(&self) -> Option<()> {
        matches!(self, Self::Environment { state, .. } if state == "frozen").then_some(())
    }

    /// An extension was started.
    pub fn extension_started(&self) -> Option<()> {
        matches!(self, Self::Process { name, state, .. } if state == "started" && name.starts_with("extension:"))
            .then_some(())
    }

    /// The function's own process was started, with this id.
    pub fn runtime_started(&self) -> Option<u32> {
        match self {
            Self::Process { name, state, pid, .. } if name == RUNTIME && state == "started" => *pid,
            _ => None,
        }
    }
}
