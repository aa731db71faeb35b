//! The proxy's neighbours, on loopback: an extension, a SOCKS5 server, a target that plays from a script.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proxy::{
    clock::Clock,
    config::{Config, InvokeMode},
    handler::Handler,
    runtime_api::RuntimeApi,
    service::Service,
};
use serde_json::{Value, json};
use tailnet::protocol::{self, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(20);
/// The function's address in the tailnet.
const SOURCE: [u8; 4] = [100, 64, 0, 1];

/// What the SOCKS5 server does with a dial.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dial {
    /// Connects.
    Connect,
    /// Connects, but from an address that is not the tailnet's.
    ConnectOffTailnet,
    /// Answers "general failure" at once, as tailscaled does whatever the cause.
    Refuse,
    /// Never answers.
    Hang,
}

/// What the target does with a connection's next request.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// Answers with these bytes.
    Answer(&'static [u8]),
    /// Answers with these bytes and closes the connection.
    AnswerAndClose(&'static [u8]),
    /// Answers with these bytes after 400 ms.
    AnswerLate(&'static [u8]),
    /// Reads the request and closes the connection without an answer.
    Close,
    /// Reads the request and never answers.
    Hang,
}

/// The function's ARN, without a qualifier.
pub(crate) const FUNCTION_ARN: &str = "arn:aws:lambda:eu-central-1:123456789012:function:proxy";

/// What the extension does with a request to verify the path.
#[derive(Debug, Clone)]
pub(crate) enum Verify {
    /// Finds the path good.
    Good,
    /// Makes the path anew, once, and finds it good from then on.
    MakesAnew,
    /// Says this.
    Says(Response),
    /// Never responds.
    Silent,
}

/// What the extension says.
#[derive(Debug, Clone)]
pub(crate) struct Extension {
    /// Its response to a request for a route; a route's path is the one below.
    pub(crate) route: Response,
    pub(crate) verify: Verify,
    /// Its response to being told of an invocation.
    pub(crate) invoked: Response,
    /// Gives a permit for each of these responses.
    pub(crate) invoked_permits: Arc<Semaphore>,
    pub(crate) path: u64,
    /// How many dials there must have been before it responds to a request to verify the path.
    pub(crate) verify_after_dials: usize,
}

/// A proxy between its neighbours.
pub(crate) struct World {
    pub(crate) handler: Arc<Handler>,
    pub(crate) target: SocketAddr,
    pub(crate) dials: Arc<AtomicUsize>,
    pub(crate) extension: Arc<Mutex<Extension>>,
    /// What the extension was asked, but for what it was told of invocations.
    pub(crate) asked: Arc<Mutex<Vec<Request>>>,
    /// How often it was told of an invocation.
    pub(crate) invoked: Arc<AtomicUsize>,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    pub(crate) clock: Clock,
    /// By what Lambda says that the function was invoked.
    pub(crate) function_arn: String,
    socket: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        // Best effort: the folder is the system's temporary one.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl World {
    /// A world in which the extension gives this response to a request for a route (or lets the target pass), the SOCKS5
    /// server does `dials` in turn and then connects, and the target does `turns` in turn.
    pub(crate) async fn new(
        route: Option<Response>,
        dials: &[Dial],
        turns: &[Turn],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::with_target(route, dials, target(turns).await, change).await
    }

    /// The same with a target that is there already, and the requests that it gets.
    pub(crate) async fn with_target(
        route: Option<Response>,
        dials: &[Dial],
        (target, requests): (SocketAddr, Arc<Mutex<Vec<String>>>),
        change: impl FnOnce(&mut Config),
    ) -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("proxy-test-{}-{number}", std::process::id()));
        let (asked, invoked) = (Arc::default(), Arc::default());
        let (socks, count) = socks(dials).await;
        let extension = Arc::new(Mutex::new(Extension {
            route: route.unwrap_or_else(|| go(&[[127, 0, 0, 1]])),
            verify: Verify::Good,
            invoked: Response::Verified { path: 1 },
            invoked_permits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            path: 1,
            verify_after_dials: 0,
        }));
        tokio::spawn(serve_extension(
            UnixListener::bind(&socket).unwrap(),
            Arc::clone(&extension),
            Arc::clone(&asked),
            Arc::clone(&invoked),
            Arc::clone(&count),
        ));
        let mut config = Config::parse(|_| None).unwrap();
        config.socks = socks;
        config.extension_socket = socket.clone();
        change(&mut config);
        let clock = Clock::default();
        Self {
            handler: Arc::new(Handler::with_clock(config, clock.clone())),
            target,
            dials: count,
            extension,
            asked,
            invoked,
            requests,
            clock,
            function_arn: FUNCTION_ARN.to_owned(),
            socket,
        }
    }

    /// Changes what the extension says.
    pub(crate) fn extension(&self, change: impl FnOnce(&mut Extension)) {
        change(&mut self.extension.lock().unwrap());
    }

    /// Sends an event for the target, changed by `change`, and returns the response.
    pub(crate) async fn send(&self, change: impl FnOnce(&mut Value)) -> Value {
        let posted = self.invoke(InvokeMode::Buffered, self.event(change)).await;
        assert!(
            posted.line().ends_with("/the-id/response HTTP/1.1"),
            "{}",
            posted.line()
        );
        serde_json::from_str(posted.body()).unwrap()
    }

    /// Invokes the function once, and returns what it posts.
    pub(crate) async fn invoke(&self, invoke_mode: InvokeMode, payload: Value) -> Posted {
        let mut runtime_api = FakeRuntimeApi::start(self, invoke_mode, payload).await;
        let posted = runtime_api.posted(is_whole).await;
        runtime_api.accept(posted).await
    }

    /// An event for the target, changed by `change`.
    pub(crate) fn event(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut event = json!({
            "version": "2.0", "rawPath": "/", "rawQueryString": "",
            "headers": {"ts-target-ip": "100.64.0.2", "ts-target-port": self.target.port().to_string()},
            "requestContext": {"http": {"method": "GET"}}, "isBase64Encoded": false,
        });
        change(&mut event);
        event
    }

    /// Sends a plain GET.
    pub(crate) async fn get(&self) -> Value {
        self.send(|_| ()).await
    }

    /// Sends a POST with a body.
    pub(crate) async fn post(&self, body: &str) -> Value {
        self.send(|event| {
            event["requestContext"]["http"]["method"] = "POST".into();
            event["body"] = body.into();
        })
        .await
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }
}

/// A message as it stood on the Runtime API's wire.
#[derive(Debug)]
pub(crate) struct Posted(pub(crate) String);

impl Posted {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.0.split_once("\r\n").unwrap().0
    }

    /// What follows the head.
    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }
}

/// The Runtime API, for one invocation.
pub(crate) struct FakeRuntimeApi {
    stream: TcpStream,
    service: JoinHandle<()>,
}

impl FakeRuntimeApi {
    /// Has the world's handler serve an invocation with this payload.
    pub(crate) async fn start(world: &World, invoke_mode: InvokeMode, payload: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let runtime_api = RuntimeApi::new(&listener.local_addr().unwrap().to_string());
        let mut service = Service::new(Arc::clone(&world.handler), invoke_mode, runtime_api);
        let service = tokio::spawn(async move { service.serve_next().await.unwrap() });
        let (mut stream, _) = listener.accept().await.unwrap();
        let next = read_request(&mut stream).await.unwrap();
        assert!(
            next.starts_with("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"),
            "{next}"
        );
        let (payload, now) = (
            payload.to_string(),
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap(),
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: the-id\r\nlambda-runtime-deadline-ms: {}\r\n\
             lambda-runtime-invocation-id: the-invocation\r\nlambda-runtime-invoked-function-arn: {}\r\n\
             content-length: {}\r\n\r\n",
            (now + Duration::from_secs(20)).as_millis(),
            world.function_arn,
            payload.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(payload.as_bytes()).await.unwrap();
        Self { stream, service }
    }

    /// Reads what is posted until it is `enough`.
    pub(crate) async fn posted(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            while !enough(&String::from_utf8_lossy(&bytes)) {
                let mut chunk = [0; 65536];
                let count = self.stream.read(&mut chunk).await.unwrap();
                assert!(
                    count > 0,
                    "the connection ended after {:?}",
                    String::from_utf8_lossy(&bytes)
                );
                bytes.extend_from_slice(&chunk[..count]);
            }
        };
        timeout(LIMIT, reading).await.expect("enough was not read in time");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Accepts what was posted, and waits for what the service does after it.
    pub(crate) async fn accept(mut self, posted: String) -> Posted {
        self.confirm().await;
        assert!(self.ends_within(LIMIT).await, "the service does not end");
        Posted(posted)
    }

    /// Accepts what was posted.
    pub(crate) async fn confirm(&mut self) {
        let accepted = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
        self.stream.write_all(accepted).await.unwrap();
    }

    /// Whether the service has done with the invocation within `limit`.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> bool {
        match timeout(limit, &mut self.service).await {
            Ok(ended) => ended.map(|()| true).unwrap(),
            Err(_) => false,
        }
    }
}

/// Whether a message on the wire has come to its end.
pub(crate) fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => body.len() >= length.parse().unwrap(),
        None => body.contains("\r\n0\r\n") && body.ends_with("\r\n\r\n"),
    }
}

/// The response that the target may be dialled, at these addresses.
pub(crate) fn go(addresses: &[[u8; 4]]) -> Response {
    Response::Route {
        addresses: addresses.iter().map(|address| (*address).into()).collect(),
        sources: Some(vec![SOURCE.into()]),
        path: 1,
        round_trip_us: None,
        just_joined: false,
        ready_ms: 45,
        verified: false,
    }
}

/// The status of a response, and the name of the proxy's error if it is one.
pub(crate) fn error_name(answer: &Value) -> (u64, &str) {
    (
        answer["statusCode"].as_u64().unwrap(),
        answer["headers"]["ts-error-name"].as_str().unwrap_or("none"),
    )
}

/// The response that the function is not in the tailnet.
pub(crate) fn unavailable(retry_after_ms: Option<u64>) -> Response {
    Response::Unavailable {
        code: "AuthKeyRejected".into(),
        message: "no key".into(),
        retry_after_ms,
    }
}

async fn serve_extension(
    listener: UnixListener,
    extension: Arc<Mutex<Extension>>,
    asked: Arc<Mutex<Vec<Request>>>,
    invoked: Arc<AtomicUsize>,
    dials: Arc<AtomicUsize>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_request(
            stream,
            Arc::clone(&extension),
            Arc::clone(&asked),
            Arc::clone(&invoked),
            Arc::clone(&dials),
        ));
    }
}

async fn serve_request(
    mut stream: UnixStream,
    extension: Arc<Mutex<Extension>>,
    asked: Arc<Mutex<Vec<Request>>>,
    invoked: Arc<AtomicUsize>,
    dials: Arc<AtomicUsize>,
) {
    let request = protocol::read_request(&mut stream).await.unwrap();
    let said = extension.lock().unwrap().clone();
    if matches!(request, Request::Invoked { .. }) {
        invoked.fetch_add(1, Ordering::Relaxed);
        said.invoked_permits.acquire().await.unwrap().forget();
        return protocol::write_response(&mut stream, &said.invoked).await.unwrap();
    }
    asked.lock().unwrap().push(request.clone());
    if matches!(request, Request::Verify { .. }) {
        while dials.load(Ordering::Relaxed) < said.verify_after_dials {
            tokio::task::yield_now().await;
        }
    }
    let response = match (&request, said.route) {
        (
            Request::Route { .. },
            Response::Route {
                addresses,
                sources,
                round_trip_us,
                just_joined,
                ready_ms,
                verified,
                ..
            },
        ) => Response::Route {
            addresses,
            sources,
            path: said.path,
            round_trip_us,
            just_joined,
            ready_ms,
            verified,
        },
        (Request::Route { .. } | Request::KeepAlive { .. }, other) if !matches!(other, Response::Route { .. }) => other,
        (Request::Verify { .. }, _) => match said.verify {
            Verify::Good => Response::Verified { path: said.path },
            Verify::MakesAnew => {
                let mut extension = extension.lock().unwrap();
                extension.verify = Verify::Good;
                extension.path += 1;
                Response::Verified { path: extension.path }
            }
            Verify::Says(response) => response,
            Verify::Silent => std::future::pending().await,
        },
        _ => Response::Verified { path: said.path },
    };
    // A proxy that knows enough does not wait for the response.
    let _ = protocol::write_response(&mut stream, &response).await;
}

async fn socks(dials: &[Dial]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let mut script: VecDeque<Dial> = dials.iter().copied().collect();
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(socks_connection(stream, script.pop_front().unwrap_or(Dial::Connect)));
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, count)
}

/// RFC 1928, as far as tailscaled speaks it.
pub(crate) async fn socks_connection(mut stream: TcpStream, dial: Dial) {
    let mut greeting = [0; 3];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, [5, 1, 0], "one method: no authentication");
    stream.write_all(&[5, 0]).await.unwrap();
    let mut request = [0; 10];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request[..4], [5, 1, 0, 1], "CONNECT to an IPv4 address");
    let port = u16::from_be_bytes([request[8], request[9]]);
    match dial {
        Dial::Hang => std::future::pending().await,
        Dial::Refuse => stream.write_all(&[5, 1, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap(),
        Dial::Connect | Dial::ConnectOffTailnet => {
            let source = if matches!(dial, Dial::Connect) {
                SOURCE
            } else {
                [169, 254, 100, 2]
            };
            let mut target = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let [a, b, c, d] = source;
            stream.write_all(&[5, 0, 0, 1, a, b, c, d, 0, 9]).await.unwrap();
            // As in tailscaled, the end of either direction is the end of both.
            let (mut from_proxy, mut to_proxy) = stream.split();
            let (mut from_target, mut to_target) = target.split();
            tokio::select! {
                _ = copy(&mut from_target, &mut to_proxy) => {}
                _ = copy(&mut from_proxy, &mut to_target) => {}
            }
        }
    }
}

pub(crate) async fn target(turns: &[Turn]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    target_reading(turns, |request| String::from_utf8(request).unwrap()).await
}

/// The same, with requests as `read` makes them of what stood on the wire.
pub(crate) async fn target_reading<T: Send + 'static>(
    turns: &[Turn],
    read: fn(Vec<u8>) -> T,
) -> (SocketAddr, Arc<Mutex<Vec<T>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let script = Arc::new(Mutex::new(turns.iter().cloned().collect::<VecDeque<_>>()));
    let (recorded, script) = (Arc::clone(&requests), script);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(target_connection(
                stream,
                Arc::clone(&script),
                Arc::clone(&recorded),
                read,
            ));
        }
    });
    (address, requests)
}

async fn target_connection<T>(
    mut stream: TcpStream,
    script: Arc<Mutex<VecDeque<Turn>>>,
    requests: Arc<Mutex<Vec<T>>>,
    read: fn(Vec<u8>) -> T,
) {
    while let Some(request) = read_bytes(&mut stream).await {
        requests.lock().unwrap().push(read(request));
        let turn = script
            .lock()
            .unwrap()
            .pop_front()
            .expect("the script has a turn for each request");
        match turn {
            Turn::Answer(bytes) => stream.write_all(bytes).await.unwrap(),
            Turn::AnswerLate(bytes) => {
                sleep(Duration::from_millis(400)).await;
                stream.write_all(bytes).await.unwrap();
            }
            Turn::AnswerAndClose(bytes) => return stream.write_all(bytes).await.unwrap(),
            Turn::Close => return,
            Turn::Hang => std::future::pending().await,
        }
    }
}

/// One request as it stood on the wire, its body by its content-length; `None` at the end of the connection.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Option<String> {
    read_bytes(stream)
        .await
        .map(|request| String::from_utf8(request).unwrap())
}

async fn read_bytes(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |n| n.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(bytes);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
