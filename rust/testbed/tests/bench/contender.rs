//! Who is asked: the direct path, or a deployed handler; each over one kept connection of the caller's.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use testbed::{
    Error,
    deadline::within,
    function_url::FunctionUrl,
    http_call,
    lambda::{Event, LocalLambda},
    process::Process,
    server::Sample,
    signed::signed,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tokio_socks::tcp::Socks5Stream;

use crate::{
    handler::Handler,
    processes::{self, Member},
    scene::Target,
};

/// How long an answer may take: longer than the function's time-out.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// The first dials after a start can fail.
const WARM_UP_ATTEMPTS: usize = 200;
/// How long a failed first request is followed by the next one.
const WARM_UP_PAUSE: Duration = Duration::from_millis(50);
/// How long a process may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

type Connection = SendRequest<Full<Bytes>>;

/// A kind of request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Bytes,
    pub(crate) https: bool,
    /// The request's name as a metric's service, if it is to be counted.
    pub(crate) metric: bool,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            body: Bytes::new(),
            https: false,
            metric: false,
        }
    }

    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            method: "POST",
            body: body.into(),
            ..Self::get(path)
        }
    }

    #[must_use]
    pub(crate) fn over_https(self) -> Self {
        Self { https: true, ..self }
    }

    #[must_use]
    pub(crate) fn counted(self) -> Self {
        Self { metric: true, ..self }
    }

    fn fill(&self, request: http::request::Builder) -> http::Result<Request<Bytes>> {
        let mut request = request
            .method(self.method)
            .uri(&self.path)
            .header("content-type", "text/plain");
        if self.metric {
            request = request
                .header("ts-metric-service", "bench")
                .header("ts-metric-dimension-name", "part")
                .header("ts-metric-dimension-value", "firsts");
        }
        request.body(self.body.clone())
    }

    /// The target closes the connection after its answer: each request needs a new one.
    fn closes(&self) -> bool {
        self.path.contains("close")
    }
}

/// What leads to the target.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// The SOCKS5 server of a bare tailscaled.
    Socks(SocketAddr),
    /// A function.
    Url(FunctionUrl),
}

/// A client with one connection that it keeps.
pub(crate) struct Caller {
    /// The contender's name in tables.
    pub(crate) name: &'static str,
    way: Way,
    target: Target,
    kept: Option<Connection>,
}

impl Caller {
    pub(crate) fn new(name: &'static str, way: Way, target: Target) -> Self {
        let kept = None;
        Self {
            name,
            way,
            target,
            kept,
        }
    }

    /// Another caller of the same contender, with a connection of its own.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.name, self.way.clone(), self.target.clone())
    }

    /// Sends a request. A function's caller has its connection, and has signed, before the clock starts; the direct path,
    /// which is asked over plain http always, starts it with the dial where there is one.
    async fn open(&mut self, ask: &Ask) -> Result<(Instant, Response<Incoming>), Error> {
        let direct = matches!(self.way, Way::Socks(_));
        let machine = self.target.machine;
        let port = self.target.port(ask.https && !direct, ask.closes());
        let request = match &self.way {
            Way::Socks(_) => ask
                .fill(Request::builder().header("host", format!("{machine}:{port}")))?
                .map(Full::new),
            Way::Url(url) => {
                let request = url.request_to(machine, port, ask.method, &ask.path);
                let request = request.header("ts-https", ask.https.to_string());
                signed(ask.fill(request)?, "lambda", &url.caller)?
            }
        };
        let usable = match &mut self.kept {
            Some(kept) if !(direct && ask.closes()) => kept.ready().await.is_ok(),
            _ => false,
        };
        let mut began = Instant::now();
        if !usable {
            self.kept = Some(match &self.way {
                Way::Socks(socks) => {
                    let dialled = Socks5Stream::connect(socks, (machine.to_string(), port)).await;
                    handshake(dialled.map_err(std::io::Error::other)?).await?
                }
                Way::Url(url) => {
                    let stream = http_call::connect(&url.address).await?;
                    stream.set_nodelay(true)?;
                    let connection = handshake(stream).await?;
                    began = Instant::now();
                    connection
                }
            });
        }
        let kept = self.kept.as_mut().expect("it has just been opened");
        Ok((began, kept.send_request(request).await?))
    }

    /// Sends a request and reads its answer to the end, in pieces that are forgotten. Anything but a 200 is printed.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Sample {
        let name = self.name;
        let mut began = Instant::now();
        let answered = within(ANSWER_LIMIT, "an answer", async {
            let (sent, mut answer) = self.open(ask).await?;
            began = sent;
            while let Some(frame) = answer.body_mut().frame().await {
                frame?;
            }
            Ok::<_, Error>(answer.status())
        });
        let answered = answered.await.map_err(Error::from).flatten();
        let took = began.elapsed();
        let (status, words) = match answered {
            Ok(status) => (status.as_u16(), status.to_string()),
            Err(error) => (0, error.to_string()),
        };
        if status != 200 {
            eprintln!("    {name}: {} {}: {words} after {took:.1?}", ask.method, ask.path);
        }
        Sample { took, status }
    }
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Connection, Error> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows as an error of the answer under way, or as a closed sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Who is asked, and its processes.
pub(crate) struct Contender {
    pub(crate) caller: Caller,
    server: Server,
    /// The processes of a function's environment. [`Contender::warm_up`] finds them.
    pub(crate) members: Vec<Member>,
}

/// What answers, or passes on.
pub(crate) enum Server {
    /// The bare tailscaled.
    Direct(Process),
    Function(Handler, LocalLambda),
}

impl Contender {
    pub(crate) fn new(caller: Caller, server: Server) -> Self {
        let members = Vec::new();
        Self {
            caller,
            server,
            members,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.caller.name
    }

    pub(crate) fn handler(&self) -> Option<Handler> {
        match &self.server {
            Server::Direct(_) => None,
            Server::Function(handler, _) => Some(*handler),
        }
    }

    /// The Lambda host of a function.
    pub(crate) fn lambda(&self) -> &LocalLambda {
        match &self.server {
            Server::Direct(_) => panic!("only functions have one"),
            Server::Function(_, lambda) => lambda,
        }
    }

    fn process(&self) -> &Process {
        match &self.server {
            Server::Direct(process) => process,
            Server::Function(_, lambda) => &lambda.process,
        }
    }

    pub(crate) async fn ask(&mut self, ask: &Ask) -> Sample {
        self.caller.ask(ask).await
    }

    /// Sends a request that must be answered with 200.
    pub(crate) async fn must_answer(&mut self, ask: &Ask) -> Duration {
        let Sample { took, status } = self.ask(ask).await;
        let log = self.process().log().tail();
        assert_eq!(status, 200, "{} after {took:?}\n{log}", self.name());
        took
    }

    /// Asks until there is an answer.
    pub(crate) async fn warm_up(&mut self) -> Result<(), Error> {
        let mut attempts = 1;
        while self.ask(&Ask::get("/")).await.status != 200 {
            attempts += 1;
            assert!(attempts < WARM_UP_ATTEMPTS, "{} never answers", self.name());
            sleep(WARM_UP_PAUSE).await;
        }
        if self.handler().is_some() {
            self.members = processes::members(self.runtime())?;
        }
        Ok(())
    }

    /// The handler's process in each environment that a function has had.
    pub(crate) fn runtimes(&self) -> Vec<u32> {
        self.lambda().events.all(Event::runtime_started)
    }

    /// The one in the youngest environment: one whose request took too long has been ended.
    pub(crate) fn runtime(&self) -> u32 {
        *self.runtimes().last().expect("the environment has been started")
    }

    /// The processor's time so far of each of the environment's processes.
    pub(crate) fn processors(&self) -> Vec<Duration> {
        let used = |member: &Member| member.processor().unwrap_or_default();
        self.members.iter().map(used).collect()
    }

    /// Resident memory of all of them, in MB.
    pub(crate) fn resident(&self) -> std::io::Result<f64> {
        self.members.iter().map(Member::resident).sum()
    }

    pub(crate) async fn stop(self) {
        let process = match self.server {
            Server::Direct(process) => process,
            Server::Function(_, lambda) => lambda.process,
        };
        process.stop(STOP_LIMIT).await;
    }
}
