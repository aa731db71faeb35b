//! A Function URL under test, with a fake function behind it.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use local_lambda::function_url::{Settings, serve};
use local_lambda::invocation::{Answer, Function, Invocation, InvokeError, StreamBroken, StreamingAnswer};
use local_lambda::invoke_api;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// No step of a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

struct Fake {
    answer: Box<dyn Fn() -> Answer + Send + Sync>,
    seen: Arc<Mutex<Vec<Invocation>>>,
}

impl Function for Fake {
    async fn invoke(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        self.seen.lock().unwrap().push(invocation);
        Ok((self.answer)())
    }
}

pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Invocation>>>,
}

/// 2023-04-18T16:17:17.747Z
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_681_834_637_747)
}

/// Credentials that may call, and sign.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
}

impl Caller {
    pub(crate) fn described(&self) -> serde_json::Value {
        json!({
            "accessKeyId": self.access_key_id,
            "secretAccessKey": self.secret_access_key,
            "sessionToken": self.session_token,
        })
    }
}

pub(crate) fn user() -> Caller {
    Caller {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: None,
    }
}

pub(crate) fn role() -> Caller {
    Caller {
        access_key_id: "ASIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: "another/secret+key".into(),
        session_token: Some("IQoJb3JpZ2luX2VjE+/=token".into()),
    }
}

/// A function that is called `proxy`, and by the alias `live`.
pub(crate) fn settings(invoke_mode: &str) -> Settings {
    let function = serde_json::from_value(json!({
        "functionName": "proxy", "handlerZip": "proxy.zip", "architecture": "arm64", "memoryMb": 256, "timeoutSeconds": 30,
        "region": "us-west-2", "accountId": "111122223333", "invokeMode": invoke_mode, "aliases": ["live"],
        "callers": [user().described(), role().described()], "executionRole": role().described(),
    }));
    Settings {
        function: Arc::new(function.unwrap()),
        alias: None,
        clock: now,
    }
}

impl Url {
    /// A URL whose function always answers this JSON.
    pub(crate) async fn answering(payload: impl Into<Bytes>) -> Self {
        let (url, listener, fake) = Self::bound(always(payload)).await;
        tokio::spawn(serve(listener, settings("BUFFERED"), fake, pending()));
        url
    }

    /// The Invoke API of such a function.
    pub(crate) async fn invoke_api(payload: impl Into<Bytes>) -> Self {
        let (url, listener, fake) = Self::bound(always(payload)).await;
        tokio::spawn(invoke_api::serve(listener, settings("BUFFERED"), fake, pending()));
        url
    }

    /// A RESPONSE_STREAM URL whose function hands out this one streamed answer.
    pub(crate) async fn streaming(answer: StreamingAnswer) -> Self {
        let answer = Mutex::new(Some(answer));
        let once = move || Answer::Streaming(answer.lock().unwrap().take().unwrap());
        let (url, listener, fake) = Self::bound(Box::new(once)).await;
        tokio::spawn(serve(listener, settings("RESPONSE_STREAM"), fake, pending()));
        url
    }

    async fn bound(answer: Box<dyn Fn() -> Answer + Send + Sync>) -> (Self, TcpListener, Arc<Fake>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::default();
        let fake = Arc::new(Fake {
            answer,
            seen: Arc::clone(&seen),
        });
        (Self { address, seen }, listener, fake)
    }

    pub(crate) fn invocations(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The only event that the function has seen.
    pub(crate) fn event(&self) -> serde_json::Value {
        assert_eq!(self.invocations(), 1);
        serde_json::from_slice(&self.seen.lock().unwrap()[0].payload).unwrap()
    }
}

fn always(payload: impl Into<Bytes>) -> Box<dyn Fn() -> Answer + Send + Sync> {
    let payload = payload.into();
    Box::new(move || Answer::Buffered(payload.clone()))
}

/// A streamed answer with a prelude, and the function's end of it.
pub(crate) fn stream() -> (mpsc::Sender<Result<Bytes, StreamBroken>>, StreamingAnswer) {
    let (sender, body) = mpsc::channel(1);
    let content_type = Some("application/vnd.awslambda.http-integration-response".to_owned());
    (sender, StreamingAnswer { content_type, body })
}
