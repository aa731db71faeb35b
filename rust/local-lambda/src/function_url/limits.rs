//! Sizes and times that the service keeps.

use std::time::Duration;

/// The largest event, as JSON with base64 included: 6 MiB. Doc: "6 MB each for request and response (synchronous)",
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>; that it is exactly this many bytes is in
/// the service's own message, "Request must be smaller than 6291456 bytes for the InvokeFunction operation" (report:
/// <https://zaccharles.medium.com/deep-dive-lambdas-request-payload-size-limit-2-2-6350c1ae5577>).
pub const EVENT_BYTES: usize = 6 * 1024 * 1024;

/// The largest prelude of a streamed answer. Guess: no limit is documented, but something has to stop a function that
/// never writes the eight NULs.
pub(crate) const PRELUDE_BYTES: usize = 1024 * 1024;

/// How far the clocks of caller and service may differ: five minutes
/// (doc: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>).
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// How long requests under way may take to end once the server was told to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
