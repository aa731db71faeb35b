//! The Function URL in front of the function: SigV4, payload-2.0 events, answers, limits.
//!
//! It behaves as the service's documents say, and where they are silent as recorded traffic and public reports say.
//! Each rule names where it comes from: "doc" (AWS's own pages), "recorded" (events and answers that others took from
//! the real service), "report" (an issue or a post), or "guess" (nobody says; the choice and its reason are beside it).

mod answer;
pub(crate) mod authenticator;
mod caller;
pub(crate) mod errors;
mod event;
pub(crate) mod exchange;
mod limits;
pub(crate) mod outgoing;
mod response_head;
pub(crate) mod serve;
mod signature;
mod sigv4;
mod stream;

use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Function;
pub use exchange::serve;
pub use limits::EVENT_BYTES;

/// The URL's id, the first label of its domain name: any will do.
const URL_ID: &str = "abcdefg";

/// What is called, and when.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The function, and who may call it.
    pub function: Arc<Function>,
    /// The alias that the URL is the one of; `None` where it is the function's own.
    pub alias: Option<String>,
    /// What time it is: [`SystemTime::now`], but for tests of expiry.
    pub clock: fn() -> SystemTime,
}

impl Settings {
    /// The name that the URL has on the service: what the function sees as `host` and `domainName`.
    pub fn domain_name(&self) -> String {
        format!("{URL_ID}.lambda-url.{}.on.aws", self.function.region)
    }
}
