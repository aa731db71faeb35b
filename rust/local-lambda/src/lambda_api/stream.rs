//! A streamed answer: its pieces go to the caller as they arrive, and an end before its end is passed on as one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::calls::Call;
use super::{Api, Refusal, header_text};
use crate::invocation::{StreamBroken, StreamingAnswer};

/// Pieces that wait for a slow caller: beyond these the function waits.
const PIECES: usize = 16;

/// How long the news of a broken stream waits for room behind the pieces before it.
const LAST_WORD: Duration = Duration::from_secs(30);

const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

type Pieces = mpsc::Sender<Result<Bytes, StreamBroken>>;

/// Passes a streamed answer on; returns when it is over, and the environment knows.
pub(super) async fn pass_on(api: &Arc<Api>, id: &str, request: Request<Incoming>) -> Result<(), Refusal> {
    // A task of its own, from the moment that the caller may have an answer: when the runtime is killed, this connection's
    // task ends, and the caller must still be told that something is missing.
    let passed = tokio::spawn(begin(api.clone(), id.to_owned(), request));
    passed
        .await
        .unwrap_or_else(|error| Err(Refusal::internal(&error.to_string())))
}

async fn begin(api: Arc<Api>, id: String, request: Request<Incoming>) -> Result<(), Refusal> {
    let content_type = header_text(&request, header::CONTENT_TYPE.as_str()).map(str::to_owned);
    let (pieces, body) = mpsc::channel(PIECES);
    let stream = StreamingAnswer { content_type, body };
    let begun = api
        .ask(|reply| Call::StreamBegins {
            id: id.clone(),
            stream,
            reply,
        })
        .await?;
    pump(api, id, request.into_body(), pieces, begun).await
}

async fn pump(
    api: Arc<Api>,
    id: String,
    mut body: Incoming,
    pieces: Pieces,
    mut stopped: oneshot::Receiver<StreamBroken>,
) -> Result<(), Refusal> {
    let mut broken = tokio::select! {
        broken = copy(&mut body, &pieces) => broken,
        Ok(broken) = &mut stopped => Some(broken),
    };
    // A body whose connection is taken down with its environment ends like a whole one: the environment's word counts.
    broken = broken.or_else(|| stopped.try_recv().ok());
    // Told before the caller can see the end: its next request must find the environment no longer busy.
    let ended = api
        .ask(|reply| Call::StreamEnded {
            id,
            broken: broken.clone(),
            reply,
        })
        .await;
    if broken.is_none() && ended.is_err() {
        broken = Some(StreamBroken {
            reason: "the environment ended before the stream did".to_owned(),
        });
    }
    let Some(broken) = broken else { return ended };
    // A caller that has gone away, or stands still, needs no last word.
    let _ = timeout(LAST_WORD, pieces.send(Err(broken))).await;
    Err(Refusal::truncated())
}

/// None if the stream came to its end.
async fn copy(body: &mut Incoming, pieces: &Pieces) -> Option<StreamBroken> {
    loop {
        let frame = match body.frame().await? {
            Ok(frame) => frame,
            Err(error) => {
                return Some(StreamBroken {
                    reason: format!("the runtime's connection broke: {error}"),
                });
            }
        };
        match frame.into_data() {
            // A caller that hung up does not stop the function: the rest goes nowhere.
            Ok(data) => drop(pieces.send(Ok(data)).await),
            Err(other) => {
                if let Some(broken) = other.into_trailers().ok().as_ref().and_then(reported) {
                    return Some(broken);
                }
            }
        }
    }
}

/// The function failed in mid-stream, and said so in trailers
/// (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html>, "Implementing response streaming").
fn reported(trailers: &HeaderMap) -> Option<StreamBroken> {
    let error_type = trailers.get(ERROR_TYPE)?;
    let reason = String::from_utf8_lossy(error_type.as_bytes()).into_owned();
    Some(StreamBroken { reason })
}
