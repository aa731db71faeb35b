//! A Function URL under test, with a fake function behind it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use local_lambda::function_url::{Settings, serve};
use local_lambda::invocation::{Answer, Function, Invocation, InvokeError, StreamBroken, StreamingAnswer};
use local_lambda::invoke_api;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) type Outcome = Result<Answer, InvokeError>;
type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;
type Handler = Box<dyn Fn(Invocation) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// No step of a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Fake {
    handler: Handler,
    seen: Arc<Mutex<Vec<Invocation>>>,
}

impl Function for Fake {
    async fn invoke(&self, invocation: Invocation) -> Outcome {
        self.seen.lock().unwrap().push(invocation.clone());
        (self.handler)(invocation).await
    }
}

pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Invocation>>>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
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
    fn described(&self) -> serde_json::Value {
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
        "functionName": "proxy", "handlerZip": "proxy.zip", "architecture": "arm64",
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
    pub(crate) async fn start(
        settings: Settings,
        handler: impl Fn(Invocation) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self::served(handler, |listener, fake, stopped| {
            serve(listener, settings, fake, stopped)
        })
        .await
    }

    /// The Invoke API of the function.
    pub(crate) async fn invoke_api(
        handler: impl Fn(Invocation) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self::served(handler, |listener, fake, stopped| {
            invoke_api::serve(listener, settings("BUFFERED"), fake, stopped)
        })
        .await
    }

    async fn served<S: Future<Output = ()> + Send + 'static>(
        handler: impl Fn(Invocation) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync + 'static,
        server: impl FnOnce(TcpListener, Arc<Fake>, Stopped) -> S,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let fake = Arc::new(Fake {
            handler: Box::new(handler),
            seen: Arc::clone(&seen),
        });
        let (stop, stopped) = oneshot::channel();
        let stopped = Box::pin(async move {
            let _ = stopped.await;
        });
        Self {
            address,
            seen,
            stop: Some(stop),
            server: tokio::spawn(server(listener, fake, stopped)),
        }
    }

    /// A URL whose function always answers this JSON.
    pub(crate) async fn answering(payload: impl Into<Bytes>) -> Self {
        let payload = payload.into();
        Self::start(settings("BUFFERED"), move |_| {
            let payload = payload.clone();
            Box::pin(async move { Ok(Answer::Buffered(payload)) })
        })
        .await
    }

    /// A URL whose function hands out this one streamed answer.
    pub(crate) async fn streaming(settings: Settings, answer: StreamingAnswer) -> Self {
        let answer = Mutex::new(Some(answer));
        Self::start(settings, move |_| {
            let answer = answer.lock().unwrap().take().unwrap();
            Box::pin(async move { Ok(Answer::Streaming(answer)) })
        })
        .await
    }

    pub(crate) fn invocations(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The only event that the function has seen.
    pub(crate) fn event(&self) -> serde_json::Value {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "invocations");
        serde_json::from_slice(&seen[0].payload).unwrap()
    }

    /// Stops the server and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(PATIENCE, self.server).await.unwrap().unwrap();
    }
}

/// A streamed answer and the function's end of it.
pub(crate) fn stream(content_type: Option<&str>) -> (mpsc::Sender<Result<Bytes, StreamBroken>>, StreamingAnswer) {
    let (sender, body) = mpsc::channel(1);
    (
        sender,
        StreamingAnswer {
            content_type: content_type.map(str::to_owned),
            body,
        },
    )
}
