//! The handlers that are measured, and how each is deployed.

use std::path::PathBuf;

use serde_json::json;
use testbed::{
    binaries::{Binaries, architecture},
    lambda::Function,
    stack::AUTH_KEY,
    suite::set,
};

/// A Lambda handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    /// The shipped zips.
    Ours,
    /// Go with tsnet.
    Go,
    /// The published handler, with the shipped extension for its tailnet: its own one knows Tailscale's servers alone.
    Node,
    /// Answers without forwarding.
    Empty,
    /// The shipped handler without the extension: only its start can be measured.
    Alone,
}

impl Handler {
    /// Those that forward.
    pub(crate) fn forwarding() -> Vec<Self> {
        let mut handlers = vec![Self::Ours, Self::Go];
        if std::env::var("BENCH_PUBLISHED").is_ok_and(|value| value == "1") {
            handlers.push(Self::Node);
        }
        handlers
    }

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Go => "go",
            Self::Node => "node",
            Self::Empty => "empty",
            Self::Alone => "ours alone",
        }
    }

    /// Turns the proxy's function into this one.
    pub(crate) fn configure(self, function: &mut Function, binaries: &Binaries) {
        let mut put = |name: &str, value| function.settings.insert(name.to_owned(), value);
        match self {
            Self::Ours => {}
            Self::Alone => drop(put("layerZips", json!([]))),
            Self::Node => drop(put("handlerZip", json!(zip_of(binaries, "node.zip")))),
            Self::Go | Self::Empty => {
                put("handlerZip", json!(zip_of(binaries, "go.zip")));
                put("layerZips", json!([]));
            }
        }
        match self {
            Self::Ours | Self::Alone => set(function, "TS_SKIP_TLS_VERIFICATION", "true"),
            Self::Node => {
                set(function, "NODE_TLS_REJECT_UNAUTHORIZED", "0");
                // Its client is no proxy of ours: the extension looks after its dials.
                function.environment.remove("TS_DIRECT_SOCKS");
            }
            Self::Go => {
                set(function, "TS_AUTHKEY", AUTH_KEY);
                set(function, "TS_NO_LOGS_NO_SUPPORT", "true");
            }
            Self::Empty => set(function, "BENCH_EMPTY", "1"),
        }
    }

    /// Has it pass responses on as they come.
    pub(crate) fn stream(self, function: &mut Function) {
        function.settings.insert("invokeMode".into(), "RESPONSE_STREAM".into());
        match self {
            Self::Go | Self::Empty => set(function, "BENCH_STREAM", "1"),
            _ => set(function, "TS_INVOKE_MODE", "RESPONSE_STREAM"),
        }
    }
}

/// A zip that `npx projen bench:build` makes.
fn zip_of(binaries: &Binaries, name: &str) -> PathBuf {
    let zip = binaries.root.join("dist/bench").join(architecture()).join(name);
    assert!(
        zip.exists(),
        "{} is missing: run `npx projen bench:build`, which makes it",
        zip.display()
    );
    zip
}
