//! The Function URL in front of the function: SigV4, payload-2.0 events, answers, limits.
//!
//! It behaves as the service's documents say, and where they are silent as recorded traffic and public reports say.
//! Each rule names where it comes from: "doc" (AWS's own pages), "recorded" (events and answers that others took from
//! the real service), "report" (an issue or a post), or "guess" (nobody says; the choice and its reason are beside it).

mod answer;
mod caller;
pub(crate) mod errors;
mod event;
pub(crate) mod exchange;
pub(crate) mod gate;
pub(crate) mod limits;
pub(crate) mod outgoing;
mod request_body;
mod response_head;
pub(crate) mod serve;
mod signature;
mod sigv4;
mod stream;

use std::time::SystemTime;

pub use caller::Caller;
pub use exchange::serve;
pub use limits::{ANSWER_BYTES, EVENT_BYTES, STREAM_BYTES};

/// What the URL is, and who may call it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL's id: the first label of its domain name.
    pub url_id: String,
    /// The alias that it is the URL of; `None` where it is the function's own.
    pub alias: Option<String>,
    /// The region, part of the domain name and of every caller's credential scope.
    pub region: String,
    /// The account that owns the function, and, here, its callers.
    pub account_id: String,
    /// How answers reach the caller.
    pub invoke_mode: InvokeMode,
    /// Who may call the URL: it always is an `AWS_IAM` one.
    pub callers: Vec<Caller>,
    /// What time it is: [`SystemTime::now`], but for tests of expiry.
    pub clock: fn() -> SystemTime,
}

impl Settings {
    /// The name that the URL has on the service: what the function sees as `host` and `domainName`.
    pub fn domain_name(&self) -> String {
        format!("{}.lambda-url.{}.on.aws", self.url_id, self.region)
    }
}

/// A Function URL's invoke mode
/// (doc: <https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvokeMode {
    /// The whole answer is collected first; at most 6 MB.
    #[default]
    Buffered,
    /// Bytes leave as the function writes them; at most 200 MB.
    ResponseStream,
}
