//! What passes between the Function URL front and the environments that run the function.

use bytes::Bytes;
use tokio::sync::mpsc;

/// The largest buffered answer, as JSON with base64 included: 6 MiB and 100 bytes. The document says 6 MB; the 100 bytes
/// are in the runtime-interface-emulator (`MaxPayloadSize`) and in the service's message, "Response payload size exceeded
/// maximum allowed payload size (6291556 bytes)". A function that counts on the 100 relies on what is not documented.
pub const ANSWER_BYTES: usize = 6 * 1024 * 1024 + 100;

/// One event on its way to the function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The invocation's id: `lambda-runtime-aws-request-id`, and `requestContext.requestId` of the event.
    pub request_id: String,
    /// `Root=1-…`: the X-Ray trace that the request belongs to.
    pub trace_root: String,
    /// The alias or version that was invoked, if it was not the function itself.
    pub qualifier: Option<String>,
    /// The event, as JSON.
    pub payload: Bytes,
}

/// What the function answered.
#[derive(Debug)]
pub enum Answer {
    /// The whole answer, as posted to the Runtime API; at most 6 MB.
    Buffered(Bytes),
    /// An answer that is still being posted (`lambda-runtime-function-response-mode: streaming`).
    Streaming(StreamingAnswer),
}

/// A streamed answer.
#[derive(Debug)]
pub struct StreamingAnswer {
    /// The content type it was posted with; `application/vnd.awslambda.http-integration-response` announces a prelude.
    pub content_type: Option<String>,
    /// The bytes in the order of their arrival. The channel closing after the last `Ok` is the normal end.
    pub body: mpsc::Receiver<Result<Bytes, StreamBroken>>,
}

/// A streamed answer ended before its end: error trailers, an aborted connection, the time-out, or a dead runtime.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the streamed answer broke off: {reason}")]
pub struct StreamBroken {
    /// What ended it.
    pub reason: String,
}

/// Why an invocation has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvokeError {
    /// All environments are busy, and no more may be started: the service answers 429.
    #[error("all environments are busy")]
    Throttled,
    /// The function, or its environment, failed: the service answers 502.
    #[error("{error_type}: {message}")]
    Function {
        /// As on the service: `Runtime.ExitError`, `Extension.Crash`, `Sandbox.Timedout`, or what the runtime posted.
        error_type: String,
        /// What happened, in words.
        message: String,
    },
    /// The function posted more than 6 MB: the service answers 502.
    #[error("the response is over the limit of {ANSWER_BYTES} bytes")]
    ResponseTooLarge,
}

/// Something that runs invocations: the fleet of environments, or a fake in a test of the front.
pub trait Function: Send + Sync + 'static {
    /// Runs one invocation to its answer, or to the start of its streamed answer.
    fn invoke(&self, invocation: Invocation) -> impl Future<Output = Result<Answer, InvokeError>> + Send;
}
