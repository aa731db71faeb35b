//! Those who are asked: the direct path, or a deployed handler; each over one kept connection of the caller's.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use testbed::{
    Error,
    deadline::within,
    function_url::FunctionUrl,
    http_call,
    lambda::{Event, LocalLambda},
    node::Node,
    server::Sample,
    signed::signed,
};
use tokio::io::{AsyncRead, AsyncWrite};
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
/// How many environments a handler may have in a row: each is ended by a request that took too long.
const MOST_ENVIRONMENTS: u64 = 100;
/// How long a failed first request is followed by the next one.
const WARM_UP_PAUSE: Duration = Duration::from_millis(50);

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

    /// The target closes the connection after its answer: each request needs a new one.
    fn closes(&self) -> bool {
        self.path.contains("close")
    }
}

/// A bare tailscaled, and a client of its SOCKS5 server's.
pub(crate) struct Direct {
    node: Node,
    socks: SocketAddr,
    target: Target,
    kept: Option<Connection>,
}

impl Direct {
    pub(crate) fn new(node: Node, socks: SocketAddr, target: Target) -> Self {
        Self {
            node,
            socks,
            target,
            kept: None,
        }
    }

    /// Plain http, also where the function is asked for https. The clock starts with the dial where there is one.
    async fn open(&mut self, ask: &Ask) -> Result<(Instant, Response<Incoming>), Error> {
        let (machine, port) = (self.target.machine, self.target.port(false, ask.closes()));
        let request = Request::builder()
            .method(ask.method)
            .uri(&ask.path)
            .header("host", format!("{machine}:{port}"))
            .header("content-type", "text/plain")
            .body(Full::new(ask.body.clone()))?;
        let usable = match &mut self.kept {
            Some(kept) if !ask.closes() => kept.ready().await.is_ok(),
            _ => false,
        };
        let began = Instant::now();
        if !usable {
            let dialled = Socks5Stream::connect(self.socks, (machine.to_string(), port)).await;
            let stream = dialled.map_err(std::io::Error::other)?;
            self.kept = Some(handshake(stream).await?);
        }
        let kept = self.kept.as_mut().expect("it has just been opened");
        Ok((began, kept.send_request(request).await?))
    }
}

/// A handler, deployed.
pub(crate) struct Deployed {
    pub(crate) handler: Handler,
    pub(crate) lambda: LocalLambda,
    url: FunctionUrl,
    target: Target,
    kept: Option<Connection>,
    /// A process of the environment, once there is one.
    runtime: Option<u32>,
    members: Vec<Member>,
}

impl Deployed {
    pub(crate) fn new(handler: Handler, lambda: LocalLambda, url: FunctionUrl, target: Target) -> Self {
        Self {
            handler,
            lambda,
            url,
            target,
            kept: None,
            runtime: None,
            members: Vec::new(),
        }
    }

    /// Another caller of the same function.
    pub(crate) fn caller(&self) -> (FunctionUrl, Target) {
        (self.url.clone(), self.target.clone())
    }

    /// A process inside the environment. [`Contender::warm_up`] finds it.
    pub(crate) fn runtime(&self) -> u32 {
        self.runtime.expect("the environment has been started")
    }

    /// The environment's processes. [`Contender::warm_up`] finds them.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The handler's process in each environment that there has been, up to so many.
    pub(crate) fn runtimes(&self, environments: u64) -> Vec<u32> {
        let runtime = |number: u64| {
            self.lambda.events.look(0, |event| match event {
                Event::Process { environment, .. } if *environment == number => event.runtime_started(),
                _ => None,
            })
        };
        (1..=environments).filter_map(runtime).collect()
    }

    /// Those of the youngest environment: one whose request took too long has been ended.
    fn find_members(&mut self) -> Result<(), Error> {
        let runtimes = self.runtimes(MOST_ENVIRONMENTS);
        let runtime = *runtimes.last().expect("the environment has been started");
        self.members = processes::members(runtime)?;
        self.runtime = Some(runtime);
        Ok(())
    }

    /// Opens the caller's own connection, signs, and only then starts the clock.
    async fn open(&mut self, ask: &Ask) -> Result<(Instant, Response<Incoming>), Error> {
        let request = signed(request(&self.url, &mut self.target, ask)?, "lambda", &self.url.caller)?;
        let usable = match &mut self.kept {
            Some(kept) => kept.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.kept = Some(connect(&self.url).await?);
        }
        let kept = self.kept.as_mut().expect("it has just been opened");
        let began = Instant::now();
        Ok((began, kept.send_request(request).await?))
    }
}

/// A connection to the function's URL.
pub(crate) async fn connect(url: &FunctionUrl) -> Result<Connection, Error> {
    let stream = http_call::connect(&url.address).await?;
    stream.set_nodelay(true)?;
    handshake(stream).await
}

/// A request to the function, not signed yet.
pub(crate) fn request(url: &FunctionUrl, target: &mut Target, ask: &Ask) -> Result<Request<Bytes>, Error> {
    let port = target.port(ask.https, ask.closes());
    let mut request = url
        .request_to(target.machine, port, ask.method, &ask.path)
        .header("ts-https", ask.https.to_string())
        .header("content-type", "text/plain");
    if ask.metric {
        request = request
            .header("ts-metric-service", "bench")
            .header("ts-metric-dimension-name", "part")
            .header("ts-metric-dimension-value", "firsts");
    }
    Ok(request.body(ask.body.clone())?)
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Connection, Error> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows as an error of the answer under way, or as a closed sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Reads a whole answer in pieces, and forgets them.
async fn read_through(mut answer: Response<Incoming>) -> Result<(StatusCode, u64), Error> {
    let mut bytes = 0;
    while let Some(frame) = answer.body_mut().frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok((answer.status(), bytes))
}

/// Whoever is asked.
pub(crate) enum Contender {
    Direct(Direct),
    Function(Deployed),
}

impl Contender {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Direct(_) => "direct",
            Self::Function(deployed) => deployed.handler.name(),
        }
    }

    pub(crate) fn function(&mut self) -> Option<&mut Deployed> {
        match self {
            Self::Direct(_) => None,
            Self::Function(deployed) => Some(deployed),
        }
    }

    /// Sends a request and reads its answer to the end. Anything but a 200 is printed.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Sample {
        let name = self.name();
        let began = Instant::now();
        let answered = within(ANSWER_LIMIT, "an answer", async {
            match self {
                Self::Direct(direct) => {
                    let (began, answer) = direct.open(ask).await?;
                    Ok::<_, Error>((began, read_through(answer).await?))
                }
                Self::Function(deployed) => {
                    let (began, answer) = deployed.open(ask).await?;
                    Ok((began, read_through(answer).await?))
                }
            }
        });
        let failure = |error: &dyn fmt::Display| {
            let took = began.elapsed();
            eprintln!("    {name}: {} {}: {error} after {took:.1?}", ask.method, ask.path);
            Sample { took, status: 0 }
        };
        match answered.await {
            Ok(Ok((began, (status, _)))) => {
                let took = began.elapsed();
                if status != StatusCode::OK {
                    eprintln!("    {name}: {} {}: {status} after {took:.1?}", ask.method, ask.path);
                }
                Sample {
                    took,
                    status: status.as_u16(),
                }
            }
            Ok(Err(error)) => failure(&error),
            Err(error) => failure(&error),
        }
    }

    /// Sends a request that must be answered with 200.
    pub(crate) async fn must_answer(&mut self, ask: &Ask) -> Duration {
        let Sample { took, status } = self.ask(ask).await;
        let log = match self {
            Self::Direct(direct) => direct.node.process.log().tail(),
            Self::Function(deployed) => deployed.lambda.process.log().tail(),
        };
        assert_eq!(status, 200, "{} after {took:?}\n{log}", self.name());
        took
    }

    /// Asks until there is an answer.
    pub(crate) async fn warm_up(&mut self) -> Result<(), Error> {
        let mut attempts = 1;
        while self.ask(&Ask::get("/")).await.status != 200 {
            attempts += 1;
            assert!(attempts < WARM_UP_ATTEMPTS, "{} never answers", self.name());
            tokio::time::sleep(WARM_UP_PAUSE).await;
        }
        if let Self::Function(deployed) = self {
            deployed.find_members()?;
        }
        Ok(())
    }

    /// The processor's time so far of the environment's processes.
    pub(crate) fn processor(&self) -> Option<Duration> {
        match self {
            Self::Direct(_) => None,
            Self::Function(deployed) => processes::processor(&deployed.members).ok(),
        }
    }

    /// The same of each process by its name.
    pub(crate) fn processors(&self) -> Vec<(String, Duration)> {
        let Self::Function(deployed) = self else {
            return Vec::new();
        };
        let used = |member: &Member| (member.name.clone(), member.processor().unwrap_or_default());
        deployed.members.iter().map(used).collect()
    }

    pub(crate) async fn stop(self, limit: Duration) {
        match self {
            Self::Direct(direct) => direct.node.process.stop(limit).await,
            Self::Function(deployed) => deployed.lambda.process.stop(limit).await,
        };
    }
}
