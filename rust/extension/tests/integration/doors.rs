//! What listens in front of tailscaled's own SOCKS5 server, and what it asks of that.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use extension::{
    doors::{
        config::{DoorsConfig, OutboundConfig, ServerConfig},
        flow::{FORGOTTEN, Thaws},
        forwards::config::Forward,
        listeners::Doors,
        target::Target,
    },
    policy::Uncovered,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    fake_keys::FakeKeys,
    fake_tailscaled::{PEER, Plan},
    stage::{Ending, Stage},
};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How many connections there may be at a time.
const MAX_CONNECTIONS: usize = 200;

/// The function's address in the tailnet.
const INSIDE: [u8; 4] = [100, 64, 0, 1];
/// The peer, and the same with a port to which connections leave by the function's own network.
const TO_PEER: &[u8] = &[5, 1, 0, 1, 100, 64, 0, 2, 0, 80];
const TO_LEAVING: &[u8] = &[5, 1, 0, 1, 100, 64, 0, 2, 0, 81];
const TO_OUTSIDE: &[u8] = &[5, 1, 0, 1, 203, 0, 113, 7, 0, 80];
const TO_WEB: &[u8] = &[5, 1, 0, 1, 203, 0, 113, 7, 0, 82];
const UDP: &[u8] = &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0];

/// The server in front of one that grants all requests, and remembers them; both end with the test.
struct Servers {
    stage: Stage,
    address: SocketAddr,
    /// A local port that leads to the peer.
    forward: SocketAddr,
    thaws: Thaws,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Servers {
    async fn new(keys: FakeKeys, uncovered: Uncovered) -> Self {
        let stage = Stage::with_keys(Plan::default(), keys);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let daemon = listener.local_addr().unwrap();
        let requests = Arc::default();
        tokio::spawn(grant(listener, Arc::clone(&requests)));
        Self::in_front_of(stage, daemon, uncovered, requests).await
    }

    async fn in_front_of(
        stage: Stage,
        daemon: SocketAddr,
        uncovered: Uncovered,
        requests: Arc<Mutex<Vec<Vec<u8>>>>,
    ) -> Self {
        stage.ready().await;
        let listen = ([127, 0, 0, 1], 0).into();
        let config = DoorsConfig {
            server: Some(ServerConfig { listen }),
            forwards: vec![Forward {
                local_port: 0,
                target: Target {
                    host: "100.64.0.2".to_owned(),
                    port: 80,
                },
            }],
            outbound: OutboundConfig { daemon, uncovered },
        };
        let doors = Doors::bind(&config, &stage.preflight).await.unwrap();
        let address = doors.server.as_ref().unwrap().address().unwrap();
        let forward = doors.forwards[0].address().unwrap();
        let thaws = doors.thaws();
        tokio::spawn(doors.serve());
        Self {
            stage,
            address,
            forward,
            thaws,
            requests,
        }
    }

    /// A connection on which this was requested, and the reply's code.
    async fn request(&self, request: &[u8]) -> (TcpStream, u8) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(&[5, 1, 0]).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer[..3], [5, 0, 5], "{answer:?}");
            (stream, answer[3])
        };
        timeout(LIMIT, exchange).await.unwrap()
    }

    /// A connection on which this was sent, and the head of the response.
    async fn http(&self, request: &str) -> (TcpStream, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = head(&mut stream).await;
            (stream, head)
        };
        timeout(LIMIT, exchange).await.unwrap()
    }

    fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }
}

/// tailscaled's server, as far as it matters here: it grants what is asked, then sends back what it hears.
async fn grant(listener: TcpListener, requests: Arc<Mutex<Vec<Vec<u8>>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let requests = Arc::clone(&requests);
        // A client may break off.
        tokio::spawn(async move { drop(grant_one(stream, &requests).await) });
    }
}

async fn grant_one(mut stream: TcpStream, requests: &Mutex<Vec<Vec<u8>>>) -> std::io::Result<()> {
    let mut greeting = [0; 3];
    stream.read_exact(&mut greeting).await?;
    assert_eq!(greeting, [5, 1, 0]);
    stream.write_all(&[5, 0]).await?;
    let mut request = [0; 10];
    stream.read_exact(&mut request).await?;
    requests.lock().unwrap().push(request.to_vec());
    let inside = request[..10] == *TO_PEER;
    let [a, b, c, d] = if inside { INSIDE } else { [127, 0, 0, 1] };
    stream.write_all(&[5, 0, 0, 1, a, b, c, d, 0, 9]).await?;
    if request[..] == *TO_WEB {
        return serve(stream).await;
    }
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

/// A web server behind the function's own network: it answers each request on its connection with its own head.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let body = head(&mut stream).await;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: x-hop\r\nx-hop: 1\r\nts-error-name: forged\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The head of a message, to its last byte and no further.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// What is said comes back, after the `rest` of the reply.
async fn echoes(stream: &mut TcpStream, rest: [u8; 8]) {
    let exchange = async {
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 13];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!((&heard[..8], &heard[8..]), (&rest[..], &b"hello"[..]));
    };
    timeout(LIMIT, exchange).await.unwrap();
}

const OWN_REPLY: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
const DAEMONS_REPLY: [u8; 8] = [0, 1, 127, 0, 0, 1, 0, 9];

#[tokio::test]
async fn a_peer_is_dialed_after_it_was_greeted() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    let (mut stream, reply) = servers.request(TO_PEER).await;
    assert_eq!((reply, servers.requests()), (0, vec![TO_PEER.to_vec()]));
    echoes(&mut stream, OWN_REPLY).await;
    assert!(
        servers.stage.tailscaled.pings(PEER).0 > 0,
        "the peer was not greeted before the dial"
    );
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn uncovered_targets_and_other_commands_are_passed_through_as_they_came() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    for request in [TO_OUTSIDE, UDP] {
        let (mut stream, reply) = servers.request(request).await;
        assert_eq!(reply, 0);
        echoes(&mut stream, DAEMONS_REPLY).await;
    }
    assert_eq!(servers.requests(), [TO_OUTSIDE, UDP]);
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn with_a_required_exit_node_only_the_tailnet_is_dialed() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Refuse).await;
    for (request, expected) in [(TO_OUTSIDE, 2), (UDP, 2), (TO_PEER, 0)] {
        assert_eq!(servers.request(request).await.1, expected, "{request:?}");
    }
    assert_eq!(servers.requests(), [TO_PEER]);
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_connection_that_left_the_tailnet_is_closed_before_anything_passes() {
    for uncovered in [Uncovered::Refuse, Uncovered::Allow] {
        let servers = Servers::new(FakeKeys::Good, uncovered).await;
        assert_eq!(servers.request(TO_LEAVING).await.1, 2, "{uncovered:?}");
        assert_eq!(servers.requests(), vec![TO_LEAVING; 3]);
        servers.stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test]
async fn without_a_tailnet_nothing_is_asked_of_tailscaleds_server() {
    let servers = Servers::new(FakeKeys::Missing, Uncovered::Allow).await;
    for request in [TO_PEER, TO_OUTSIDE, UDP] {
        assert_eq!(servers.request(request).await.1, 3, "{request:?}");
    }
    assert_eq!(servers.requests(), [] as [Vec<u8>; 0]);
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_tailscaled_that_is_gone_is_reported_in_time() {
    let stage = Stage::new(Plan::default());
    // Bound, and not listening: connections are refused, and nobody else can take the port.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nobody = bound.local_addr().unwrap();
    let servers = Servers::in_front_of(stage, nobody, Uncovered::Allow, Arc::default()).await;
    for request in [TO_PEER, TO_OUTSIDE] {
        assert_eq!(servers.request(request).await.1, 3, "{request:?}");
    }
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn connections_above_the_maximum_are_refused_and_leave_the_others_alone() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let (stream, reply) = servers.request(TO_OUTSIDE).await;
        assert_eq!(reply, 0);
        streams.push(stream);
    }
    assert_eq!(servers.request(TO_OUTSIDE).await.1, 1);
    echoes(&mut streams[0], DAEMONS_REPLY).await;
    assert_eq!(servers.requests().len(), MAX_CONNECTIONS);
    // Places become free when connections end: the server sees that soon, and no event tells.
    drop(streams);
    let served = async { while servers.request(TO_OUTSIDE).await.1 != 0 {} };
    timeout(LIMIT, served).await.unwrap();
    servers.stage.end(Ending::Shutdown).await;
}

const CONNECT_PEER: &str = "CONNECT 100.64.0.2:80 HTTP/1.1\r\nhost: 100.64.0.2:80\r\n\r\n";

/// What is said comes back, alone.
async fn repeats(stream: &mut TcpStream) {
    let exchange = async {
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    };
    timeout(LIMIT, exchange).await.unwrap();
}

/// How a connection ends on which nothing more is said.
async fn end(stream: &mut TcpStream) -> Result<usize, std::io::ErrorKind> {
    let read = timeout(LIMIT, stream.read(&mut [0])).await.unwrap();
    read.map_err(|error| error.kind())
}

#[tokio::test]
async fn an_http_client_gets_a_tunnel_on_the_same_port() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    let (mut stream, head) = servers.http(CONNECT_PEER).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    repeats(&mut stream).await;
    // What a client sends right after its request is the target's.
    let (mut stream, head) = servers.http(&format!("{CONNECT_PEER}early")).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut early = [0; 5];
    timeout(LIMIT, stream.read_exact(&mut early)).await.unwrap().unwrap();
    assert_eq!(&early, b"early");
    assert_eq!(servers.requests(), [TO_PEER, TO_PEER]);
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn an_absolute_form_request_is_forwarded_and_its_connection_kept() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    let request = "GET http://203.0.113.7:82/a%2Fb?c HTTP/1.1\r\nHost: wrong\r\nProxy-Connection: keep-alive\r\n\
                   Proxy-Authorization: Basic dTpw\r\nX-Kept: 1\r\nConnection: close\r\n\r\n";
    for _ in 0..3 {
        let (mut stream, head) = servers.http(request).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(!head.contains("x-hop") && !head.contains("forged"), "{head}");
        let mut body = String::new();
        timeout(LIMIT, stream.read_to_string(&mut body)).await.unwrap().unwrap();
        assert!(body.starts_with("GET /a%2Fb?c HTTP/1.1\r\n"), "{body}");
        let lower = body.to_ascii_lowercase();
        assert!(
            lower.contains("host: 203.0.113.7:82\r\n") && lower.contains("x-kept: 1\r\n"),
            "{body}"
        );
        assert!(lower.contains("via: 1.1 tailscale-extension\r\n"), "{body}");
        assert!(!lower.contains("proxy-") && !lower.contains("wrong"), "{body}");
    }
    assert_eq!(servers.requests(), [TO_WEB], "the connection was not kept");
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn an_http_client_is_told_why_it_is_refused() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Refuse).await;
    for (request, status, name) in [
        ("CONNECT 203.0.113.7:80 HTTP/1.1\r\n\r\n", "403", "TargetNotAllowed"),
        ("CONNECT localhost:9001 HTTP/1.1\r\n\r\n", "403", "TargetNotAllowed"),
        (
            "GET http://127.0.0.1:9001/ HTTP/1.1\r\nhost: x\r\n\r\n",
            "403",
            "TargetNotAllowed",
        ),
        (
            "GET / HTTP/1.1\r\nhost: localhost:1055\r\n\r\n",
            "400",
            "InvalidRequest",
        ),
        (
            "GET https://100.64.0.2/ HTTP/1.1\r\nhost: x\r\n\r\n",
            "400",
            "InvalidRequest",
        ),
    ] {
        let (_, head) = servers.http(request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        assert!(
            head.contains(&format!("ts-error-name: {name}\r\n")),
            "{request}: {head}"
        );
        assert!(head.contains("ts-error-message: "), "{head}");
    }
    servers.stage.end(Ending::Shutdown).await;
    let servers = Servers::new(FakeKeys::Missing, Uncovered::Allow).await;
    let (_, head) = servers.http(CONNECT_PEER).await;
    assert!(
        head.starts_with("HTTP/1.1 503 ") && head.contains("ts-error-name: TailnetUnavailable\r\n"),
        "{head}"
    );
    // A forward's client knows no protocol in which it could be told.
    let mut stream = TcpStream::connect(servers.forward).await.unwrap();
    assert_eq!(end(&mut stream).await, Err(std::io::ErrorKind::ConnectionReset));
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_local_port_leads_to_its_target() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    let mut stream = TcpStream::connect(servers.forward).await.unwrap();
    repeats(&mut stream).await;
    assert_eq!(servers.requests(), [TO_PEER]);
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_client_that_sends_no_more_still_gets_all_of_the_response() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    let (mut tunnel, _) = servers.http(CONNECT_PEER).await;
    let mut forward = TcpStream::connect(servers.forward).await.unwrap();
    for stream in [&mut tunnel, &mut forward] {
        stream.write_all(b"the last of it").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = [0; 14];
        timeout(LIMIT, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"the last of it");
    }
    // The peer hears of the end when the client has closed, or has waited in vain: then its end comes back.
    let waited = timeout(Duration::from_secs(15), forward.read(&mut [0])).await.unwrap();
    assert_eq!(waited.unwrap(), 0);
    servers.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_thaw_resets_the_flows_that_it_killed_and_no_others() {
    let servers = Servers::new(FakeKeys::Good, Uncovered::Allow).await;
    let path = servers.stage.preflight.path();
    let mut forward = TcpStream::connect(servers.forward).await.unwrap();
    let (mut tunnel, _) = servers.http(CONNECT_PEER).await;
    let (mut outside, _) = servers.request(TO_OUTSIDE).await;
    echoes(&mut outside, DAEMONS_REPLY).await;
    for stream in [&mut forward, &mut tunnel] {
        repeats(stream).await;
    }
    let now = SystemTime::now();
    // A short freeze that left the path alive.
    servers.thaws.announce(path, path, now - Duration::from_secs(5), now);
    for stream in [&mut forward, &mut tunnel, &mut outside] {
        repeats(stream).await;
    }
    // One after which the path was made anew.
    servers
        .thaws
        .announce(path, path + 1, now - Duration::from_secs(5), now);
    for stream in [&mut forward, &mut tunnel] {
        assert_eq!(end(stream).await, Err(std::io::ErrorKind::ConnectionReset));
    }
    repeats(&mut outside).await;
    // One so long that nothing on the way knows the flow any more.
    let mut forward = TcpStream::connect(servers.forward).await.unwrap();
    repeats(&mut forward).await;
    let now = SystemTime::now();
    servers.thaws.announce(path, path, now - FORGOTTEN, now);
    assert_eq!(end(&mut forward).await, Err(std::io::ErrorKind::ConnectionReset));
    servers.stage.end(Ending::Shutdown).await;
}
