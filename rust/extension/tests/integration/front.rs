//! The SOCKS5 server before tailscaled's own, and what it asks of that.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use extension::{
    front::{Front, Terms},
    guide::Guide,
    netmap::Uncovered,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    fake_daemon::Plan,
    stage::{Ending, FakeKeys, Stage},
};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How many connections there may be at a time.
const MOST: usize = 200;

/// The function's address in the tailnet.
const INSIDE: [u8; 4] = [100, 64, 0, 1];
/// The peer, and the same with a port to which connections leave by another way.
const PEER: &[u8] = &[5, 1, 0, 1, 100, 64, 0, 2, 0, 80];
const LEAVING: &[u8] = &[5, 1, 0, 1, 100, 64, 0, 2, 0, 81];
const OUTSIDE: &[u8] = &[5, 1, 0, 1, 203, 0, 113, 7, 0, 80];
const UDP: &[u8] = &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0];

/// A front before a server that grants all requests, and remembers them; both end with the test.
struct Scene {
    stage: Stage,
    front: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Scene {
    async fn new(name: &str, keys: FakeKeys, uncovered: Uncovered) -> Self {
        let stage = Stage::new(name, Plan::default(), keys, false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let daemon = listener.local_addr().unwrap();
        let requests = Arc::default();
        tokio::spawn(grant(listener, Arc::clone(&requests)));
        Self::before(stage, daemon, uncovered, requests).await
    }

    async fn before(
        mut stage: Stage,
        daemon: SocketAddr,
        uncovered: Uncovered,
        requests: Arc<Mutex<Vec<Vec<u8>>>>,
    ) -> Self {
        stage.asks().await;
        let terms = Terms {
            listen: ([127, 0, 0, 1], 0).into(),
            daemon,
            uncovered,
        };
        let front = Front::bind(terms, Guide::new(stage.tailnet.clone())).await.unwrap();
        let address = front.address().unwrap();
        tokio::spawn(front.serve());
        Self {
            stage,
            front: address,
            requests,
        }
    }

    /// A connection on which this was requested, and the reply's code.
    async fn request(&self, request: &[u8]) -> (TcpStream, u8) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.front).await.unwrap();
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
    let inside = request[..10] == *PEER;
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
async fn a_peer_is_dialled_after_its_path_was_looked_after() {
    let scene = Scene::new("front-peer", FakeKeys::Good, Uncovered::Allow).await;
    let (mut stream, reply) = scene.request(PEER).await;
    assert_eq!((reply, scene.requests()), (0, vec![PEER.to_vec()]));
    echoes(&mut stream, OWN_REPLY).await;
    assert!(
        scene.stage.daemon.count("TSMP") > 0,
        "no session was begun before the dial"
    );
    scene.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn what_the_tailnet_does_not_cover_and_what_is_no_dial_is_handed_on_as_it_came() {
    let scene = Scene::new("front-outside", FakeKeys::Good, Uncovered::Allow).await;
    for request in [OUTSIDE, UDP] {
        let (mut stream, reply) = scene.request(request).await;
        assert_eq!(reply, 0);
        echoes(&mut stream, DAEMONS_REPLY).await;
    }
    assert_eq!(scene.requests(), [OUTSIDE, UDP]);
    scene.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn where_there_is_but_one_way_out_only_the_tailnet_is_dialled() {
    let scene = Scene::new("front-required", FakeKeys::Good, Uncovered::Refuse).await;
    for (request, expected) in [(OUTSIDE, 2), (UDP, 2), (PEER, 0)] {
        assert_eq!(scene.request(request).await.1, expected, "{request:?}");
    }
    assert_eq!(scene.requests(), [PEER]);
    scene.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_connection_that_left_by_another_way_is_closed_before_anything_passes_where_there_is_but_one() {
    for (uncovered, expected, dials) in [(Uncovered::Refuse, 2, 3), (Uncovered::Allow, 0, 1)] {
        let scene = Scene::new("front-leaving", FakeKeys::Good, uncovered).await;
        assert_eq!(scene.request(LEAVING).await.1, expected);
        assert_eq!(scene.requests(), vec![LEAVING; dials]);
        scene.stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test]
async fn without_a_tailnet_nothing_is_asked_of_tailscaled() {
    let scene = Scene::new("front-down", FakeKeys::Missing, Uncovered::Allow).await;
    for request in [PEER, OUTSIDE, UDP] {
        assert_eq!(scene.request(request).await.1, 3, "{request:?}");
    }
    assert_eq!(scene.requests(), [] as [Vec<u8>; 0]);
    scene.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_daemon_that_is_gone_is_told_in_time() {
    let stage = Stage::new("front-gone", Plan::default(), FakeKeys::Good, false);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let scene = Scene::before(stage, nobody, Uncovered::Allow, Arc::default()).await;
    for request in [PEER, OUTSIDE] {
        assert_eq!(scene.request(request).await.1, 3, "{request:?}");
    }
    scene.stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_refused_and_leave_the_others_alone() {
    let scene = Scene::new("front-many", FakeKeys::Good, Uncovered::Allow).await;
    let mut streams = Vec::new();
    for _ in 0..MOST {
        let (stream, reply) = scene.request(OUTSIDE).await;
        assert_eq!(reply, 0);
        streams.push(stream);
    }
    assert_eq!(scene.request(OUTSIDE).await.1, 1);
    echoes(&mut streams[0], DAEMONS_REPLY).await;
    assert_eq!(scene.requests().len(), MOST);
    // Places become free when connections end: the front sees that soon, and no event tells.
    drop(streams);
    let served = async { while scene.request(OUTSIDE).await.1 != 0 {} };
    timeout(LIMIT, served).await.unwrap();
    scene.stage.end(Ending::Shutdown).await;
}
