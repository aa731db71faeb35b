//! The SOCKS5 server in front of tailscaled's own, and what it asks of that.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use extension::{policy::Uncovered, socks::config::SocksConfig, socks::server::SocksServer};
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
const UDP: &[u8] = &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0];

/// The server in front of one that grants all requests, and remembers them; both end with the test.
struct Servers {
    stage: Stage,
    address: SocketAddr,
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
        let config = SocksConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            daemon,
            uncovered,
        };
        let server = SocksServer::bind(config, stage.preflight.clone()).await.unwrap();
        let address = server.address().unwrap();
        tokio::spawn(server.serve());
        Self {
            stage,
            address,
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
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.map(drop)
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
