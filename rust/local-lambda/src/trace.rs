//! X-Ray trace ids: one root for a request, in the event and in the runtime's header
//! (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-traceids>).

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// A new root: `Root=1-<seconds, hex>-<24 hex digits>`.
pub(crate) fn new_root(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let random = Uuid::new_v4().simple().to_string();
    format!("Root=1-{seconds:08x}-{}", &random[..24])
}

/// The tracing header of an invocation that is not sampled.
pub(crate) fn header(root: &str) -> String {
    let parent = Uuid::new_v4().simple().to_string();
    format!("{root};Parent={};Sampled=0", &parent[..16])
}
