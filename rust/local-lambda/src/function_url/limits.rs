//! Sizes and times that the service keeps, and those that keep this server itself bounded.

use std::time::Duration;

/// The largest event, as JSON with base64 included: 6 MiB. Doc: "6 MB each for request and response (synchronous)",
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>; that it is exactly this many bytes is in
/// the service's own message, "Request must be smaller than 6291456 bytes for the InvokeFunction operation" (report:
/// <https://zaccharles.medium.com/deep-dive-lambdas-request-payload-size-limit-2-2-6350c1ae5577>).
pub const EVENT_BYTES: usize = 6 * 1024 * 1024;

/// The largest buffered answer, as JSON with base64 included: 6 MiB and 100 bytes. The document says 6 MB; the 100 bytes
/// are in the runtime-interface-emulator (`MaxPayloadSize`) and in the service's message, "Response payload size exceeded
/// maximum allowed payload size (6291556 bytes)". A function that counts on the 100 relies on what is not documented.
pub const ANSWER_BYTES: usize = 6 * 1024 * 1024 + 100;

/// The largest streamed answer: 200 MB
/// (doc: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>; MiB is a guess).
pub const STREAM_BYTES: u64 = 200 * 1024 * 1024;

/// The largest prelude of a streamed answer. Guess: no limit is documented, but something has to stop a function that
/// never writes the eight NULs.
pub(crate) const PRELUDE_BYTES: usize = 1024 * 1024;

/// How far the clocks of caller and service may differ: five minutes
/// (doc: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>).
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// The longest life of a presigned request: seven days
/// (doc: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>).
pub(crate) const PRESIGNED_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// No invocation outlives this: the longest time-out of a function is 15 minutes (doc: quotas, as above), and a minute
/// goes to INIT and what is around it. The fleet ends invocations at their own, shorter time-out.
pub(crate) const INVOCATION: Duration = Duration::from_secs(16 * 60);

/// Connections at once: the default of concurrent executions in an account is 1,000 (doc: quotas, as above).
pub(crate) const CONNECTIONS: usize = 1000;

/// How long a client may take for a request's head, and may leave a connection idle.
pub(crate) const HEAD: Duration = Duration::from_secs(60);

/// How long a client may take to send a request's body.
pub(crate) const BODY: Duration = Duration::from_secs(60);

/// How much of a refused request's body is read, so that its sender gets to see the answer: a server that closes with
/// unread bytes resets the connection, and the answer may be lost with it.
pub(crate) const REFUSED_BODY_BYTES: usize = 64 * 1024 * 1024;

/// How long requests under way may take to end once the server was told to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
