//! Stands before an AWS service, and has it fail on demand: refuse connections, answer with errors, take its time.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::sleep};

use crate::{
    Error, cloudwatch,
    http_call::{call, connect},
    http_server::serve_all,
    network::ADDRESS,
};

/// How long the service behind it may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// What errors say.
pub const FAULT_WORDS: &str = "as the test says";

/// What is wrong with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nobody listens.
    Refused,
    /// Each call is answered with an error, of this status and code.
    Error(u16, &'static str),
    /// Each call waits before it is passed on.
    Stalled(Duration),
}

/// The service as it seems from before this proxy.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    service: Arc<Service>,
    /// Nobody listens without it.
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Service {
    address: String,
    fault: Mutex<Fault>,
    calls: watch::Sender<usize>,
    answered: watch::Sender<usize>,
}

impl FaultProxy {
    /// Listens before the service at `service` (`host:port`), with nothing wrong so far.
    pub async fn start(service: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let mut proxy = Self {
            address: listener.local_addr()?,
            service: Arc::new(Service {
                address: service.to_owned(),
                fault: Mutex::new(Fault::None),
                calls: watch::Sender::new(0),
                answered: watch::Sender::new(0),
            }),
            listening: None,
        };
        proxy.listen(listener);
        Ok(proxy)
    }

    fn listen(&mut self, listener: TcpListener) {
        let service = Arc::clone(&self.service);
        let answer = move |request| Arc::clone(&service).answer(request);
        self.listening = Some(tokio::spawn(serve_all(listener, answer)));
    }

    /// What `AWS_ENDPOINT_URL_...` has to say.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has the service fail like this from now on: connections to come find it so when this returns.
    pub async fn set(&mut self, fault: Fault) {
        *self.service.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        match (&mut self.listening, fault) {
            (Some(listening), Fault::Refused) => {
                listening.abort();
                // The listener is closed when its task has ended.
                let _ = listening.await;
                self.listening = None;
            }
            (None, fault) if fault != Fault::Refused => {
                // Sets SO_REUSEADDR: connections of before may still be in TIME-WAIT.
                let listener = TcpListener::bind(self.address).await;
                self.listen(listener.expect("the address is this proxy's own"));
            }
            _ => {}
        }
    }

    /// Waits until so many calls have been answered by the service behind it.
    pub async fn answered(&self, count: usize) {
        // Its sender lives as long as this.
        let _ = self
            .service
            .answered
            .subscribe()
            .wait_for(|answered| *answered >= count)
            .await;
    }

    /// Waits until so many calls have come, whatever became of them.
    pub async fn called(&self, count: usize) {
        // As above.
        let _ = self.service.calls.subscribe().wait_for(|calls| *calls >= count).await;
    }

    /// How many calls have come, whatever became of them.
    pub fn calls(&self) -> usize {
        *self.service.calls.borrow()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

impl Service {
    async fn answer(self: Arc<Self>, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        // Whoever hears of the call may set another fault: for the next one.
        let fault = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        self.calls.send_modify(|count| *count += 1);
        match fault {
            Fault::Error(status, code) => return Ok(error(&request, status, code)?),
            Fault::Stalled(time) => sleep(time).await,
            Fault::None | Fault::Refused => {}
        }
        let stream = connect(&self.address).await?;
        let answer = call(stream, request.map(Full::new), CALL_LIMIT).await?;
        self.answered.send_modify(|count| *count += 1);
        Ok(answer)
    }
}

/// An error in the form of the protocol that the request is in: <https://smithy.io/2.0/aws/protocols/>
fn error(request: &Request<Bytes>, status: u16, code: &str) -> http::Result<Response<Bytes>> {
    if cloudwatch::speaks_cbor(request.headers()) {
        return cloudwatch::error(status, code, FAULT_WORDS);
    }
    let body = serde_json::json!({"__type": code, "message": FAULT_WORDS});
    Response::builder().status(status).body(body.to_string().into())
}
