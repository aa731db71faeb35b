//! A streamed answer: its prelude, and the bytes after it.
//!
//! The form is documented for API Gateway, which takes it over from Function URLs
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html>): an answer of
//! type `application/vnd.awslambda.http-integration-response` starts with the head as JSON, then eight NULs. Any other
//! is all body, a 200 of its own type, or of `application/octet-stream`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderValue;
use hyper::body::{Body, Frame};

use super::limits;
use super::outgoing::FlushCounter;
use super::response_head::{Malformed, ResponseHead};
use crate::invocation::{StreamBroken, StreamingAnswer};

const INTEGRATION_RESPONSE: &str = "application/vnd.awslambda.http-integration-response";
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");
const SEPARATOR: [u8; 8] = [0; 8];

/// Why a streamed answer did not even become a response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unstarted {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Broken(#[from] StreamBroken),
}

/// The head of a streamed answer, with the body's bytes that came along with it.
pub(crate) async fn read_head(answer: &mut StreamingAnswer) -> Result<(ResponseHead, Bytes), Unstarted> {
    if !has_prelude(answer) {
        let content_type = answer
            .content_type
            .as_deref()
            .and_then(|value| HeaderValue::from_str(value).ok());
        return Ok((ResponseHead::plain(content_type.unwrap_or(DEFAULT_TYPE)), Bytes::new()));
    }
    let mut read = BytesMut::new();
    loop {
        if let Some(end) = find_separator(&read) {
            let mut rest = read.split_off(end).freeze();
            rest.advance(SEPARATOR.len());
            // A prelude of no bytes says nothing: a 200.
            return Ok((ResponseHead::read(if read.is_empty() { b"{}" } else { &read })?, rest));
        }
        if read.len() > limits::PRELUDE_BYTES {
            return Err(Malformed::Prelude.into());
        }
        // The invocation's time-out breaks the stream.
        match answer.body.recv().await {
            Some(chunk) => read.extend_from_slice(&chunk?),
            None => return Err(Malformed::Prelude.into()),
        }
    }
}

fn has_prelude(answer: &StreamingAnswer) -> bool {
    let content_type = answer.content_type.as_deref().unwrap_or_default();
    content_type
        .split(';')
        .next()
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(INTEGRATION_RESPONSE))
}

/// JSON cannot hold a NUL, so the first eight in a row are the separator.
fn find_separator(bytes: &[u8]) -> Option<usize> {
    let start = bytes.iter().position(|byte| *byte == 0)?;
    bytes[start..].starts_with(&SEPARATOR).then_some(start)
}

/// The body of a streamed answer: its bytes leave as they come. An error of it makes hyper close the connection without
/// the terminating chunk, so that the client knows that something is missing. (What the service does then is unproven.)
pub(crate) struct StreamedBody {
    first: Option<Bytes>,
    answer: StreamingAnswer,
    state: State,
    flushes: Arc<FlushCounter>,
}

enum State {
    Flowing,
    /// It will break off once everything before that has left.
    Breaking {
        error: StreamBroken,
        flushes_before: u64,
    },
    Ended,
}

impl StreamedBody {
    pub(crate) fn new(first: Bytes, answer: StreamingAnswer, flushes: Arc<FlushCounter>) -> Self {
        Self {
            first: Some(first),
            answer,
            state: State::Flowing,
            flushes,
        }
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamBroken>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.answer.body.poll_recv(context)
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = StreamBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamBroken>>> {
        loop {
            let outgoing = match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Breaking { error, flushes_before } => {
                    let (error, flushes_before) = (error.clone(), *flushes_before);
                    ready!(self.flushes.poll_after(flushes_before, context));
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
                State::Flowing => match ready!(self.poll_chunk(context)) {
                    Some(outgoing) => outgoing,
                    None => {
                        self.state = State::Ended;
                        return Poll::Ready(None);
                    }
                },
            };
            match outgoing {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(error) => {
                    tracing::warn!(%error, "the client's connection will be closed");
                    self.state = State::Breaking {
                        error,
                        flushes_before: self.flushes.count(),
                    };
                }
            }
        }
    }
}
