//! Stands before an AWS service, and has it fail on demand: refuse connections, answer with errors, take its time.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};

use crate::{
    cloudwatch,
    http_call::{CallError, call, connect},
    http_server::serve,
    network::ADDRESS,
};

/// How long the service behind it may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// What errors say.
pub const FAULT_WORDS: &str = "as the test says";
/// How many connections wait to be accepted.
const BACKLOG: u32 = 64;

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
    fault: watch::Sender<Fault>,
    listening: watch::Receiver<bool>,
    calls: watch::Receiver<usize>,
    answered: watch::Receiver<usize>,
}

impl FaultProxy {
    /// Listens before the service at `service` (`host:port`), with nothing wrong so far.
    pub async fn start(service: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let address = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::None);
        let (tell, listening) = watch::channel(true);
        let (count_calls, calls) = watch::channel(0);
        let (count_answered, answered) = watch::channel(0);
        let service = Service {
            address: service.to_owned(),
            faults,
            calls: count_calls,
            answered: count_answered,
        };
        tokio::spawn(service.listen(listener, address, tell));
        Ok(Self {
            address,
            fault,
            listening,
            calls,
            answered,
        })
    }

    /// What `AWS_ENDPOINT_URL_...` has to say.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has the service fail like this from now on: connections to come find it so when this returns.
    pub async fn set(&mut self, fault: Fault) {
        self.fault.send_replace(fault);
        let listens = fault != Fault::Refused;
        // Its sender lives as long as the listener's task, which ends with this.
        let _ = self.listening.wait_for(|listening| *listening == listens).await;
    }

    /// Waits until so many calls have been answered by the service behind it.
    pub async fn answered(&mut self, count: usize) {
        // As above: its sender lives as long as this.
        let _ = self.answered.wait_for(|answered| *answered >= count).await;
    }

    /// Waits until so many calls have come, whatever became of them.
    pub async fn called(&mut self, count: usize) {
        // As above.
        let _ = self.calls.wait_for(|calls| *calls >= count).await;
    }

    /// How many calls have come, whatever became of them.
    pub fn calls(&self) -> usize {
        *self.calls.borrow()
    }
}

#[derive(Clone)]
struct Service {
    address: String,
    faults: watch::Receiver<Fault>,
    calls: watch::Sender<usize>,
    answered: watch::Sender<usize>,
}

impl Service {
    /// Ends with the proxy: then nobody sets faults any more.
    async fn listen(mut self, listener: TcpListener, address: SocketAddr, tell: watch::Sender<bool>) {
        let mut listener = Some(listener);
        loop {
            let refused = *self.faults.borrow_and_update() == Fault::Refused;
            listener = match listener {
                _ if refused => None,
                Some(listener) => Some(listener),
                None => again(address).ok(),
            };
            tell.send_replace(listener.is_some());
            tokio::select! {
                changed = self.faults.changed() => if changed.is_err() { return },
                Some(stream) = accepted(listener.as_ref()) => {
                    let service = self.clone();
                    tokio::spawn(async move { serve(stream, |request| service.answer(request)).await });
                }
            }
        }
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
        // Whoever hears of the call may set another fault: for the next one.
        let fault = *self.faults.borrow();
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

async fn accepted(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

fn again(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Connections of before may still be in TIME-WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
