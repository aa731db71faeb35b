//! The status socket, as a client sees it: real sockets, and real time.

use std::time::Duration;

use extension::ipc::StatusServer;
use tailnet::protocol::{self, Request, Response, epoch_ms};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{Instant, timeout},
};

use crate::{
    fake_keys::FakeKeys,
    fake_tailscaled::{Counts, PEER, Peer, Plan},
    stage::{Ending, Stage, ms, secs, unique_path},
};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

fn deadline_ms(wait: Duration) -> u64 {
    epoch_ms(Instant::now() + wait)
}

async fn ask(stage: &Stage, request: &Request) -> Response {
    protocol::ask(stage.socket(), request, Instant::now() + LIMIT)
        .await
        .unwrap()
}

async fn ready(plan: Plan) -> Stage {
    let stage = Stage::new(plan);
    stage.ready().await;
    stage
}

/// Waits for something that no event tells of.
async fn until(condition: impl Fn() -> bool) {
    let turns = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, turns).await.unwrap();
}

#[tokio::test]
async fn each_request_gets_its_response() {
    let stage = ready(Plan::default()).await;
    let deadline_ms = deadline_ms(secs(5));
    let host = "db".to_owned();
    let route = ask(&stage, &Request::Route { host, deadline_ms }).await;
    let Response::Route {
        addresses,
        just_joined: true,
        path,
        ..
    } = route
    else {
        panic!("{route:?}")
    };
    assert_eq!(addresses, [PEER]);
    let address = PEER;
    for request in [
        Request::Verify { address, deadline_ms },
        Request::Stalled { address, deadline_ms },
        Request::KeepAlive { deadline_ms },
        Request::Invoked { deadline_ms },
    ] {
        assert_eq!(ask(&stage, &request).await, Response::Verified { path }, "{request:?}");
    }
    // The ping has just proved the path.
    let host = "db".to_owned();
    let route = ask(&stage, &Request::Route { host, deadline_ms }).await;
    assert!(matches!(route, Response::Route { verified: true, .. }), "{route:?}");
    let host = "203.0.113.7".to_owned();
    let refused = ask(&stage, &Request::Route { host, deadline_ms }).await;
    assert!(matches!(refused, Response::NotAllowed { .. }), "{refused:?}");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn without_a_tailnet_each_request_is_answered_with_the_code() {
    let stage = Stage::with_keys(Plan::default(), FakeKeys::Missing);
    stage.ready().await;
    let deadline_ms = deadline_ms(secs(5));
    let host = "db".to_owned();
    for request in [
        Request::Route { host, deadline_ms },
        Request::KeepAlive { deadline_ms },
        Request::Invoked { deadline_ms },
    ] {
        let response = ask(&stage, &request).await;
        assert!(
            matches!(&response, Response::Unavailable { code, .. } if code == "NoAuthKey"),
            "{response:?}"
        );
    }
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_client_of_another_version_is_told_the_version_of_this_one() {
    let stage = ready(Plan::default()).await;
    for line in [
        "{\"version\":2,\"request\":\"route\"}\n",
        "{\"ask\":\"path\"}\n",
        "GET / HTTP/1.1\r\n",
    ] {
        let mut stream = UnixStream::connect(stage.socket()).await.unwrap();
        stream.write_all(line.as_bytes()).await.unwrap();
        let mut response = String::new();
        let read = BufReader::new(stream).read_line(&mut response).await;
        assert!(read.unwrap() > 0);
        assert_eq!(
            response, "{\"version\":1,\"response\":\"version_mismatch\",\"supported\":1}\n",
            "{line}"
        );
    }
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_request_and_not_the_repair() {
    let stage = ready(Plan::with_peers([Peer::new("db", PEER).at(ms(300))])).await;
    let address = PEER;
    let request = Request::Verify {
        address,
        deadline_ms: deadline_ms(secs(5)),
    };
    let Response::Verified { path } = ask(&stage, &request).await else {
        panic!("the path is not alive")
    };
    let before = stage.tailscaled.counts();
    stage.freeze(secs(30));
    stage.tailscaled.kill_links();
    // It hangs up while the probe is under way.
    let asked = protocol::ask(stage.socket(), &request, Instant::now() + ms(20)).await;
    assert!(asked.is_err(), "{asked:?}");
    assert_eq!(stage.tailscaled.counts() - before, Counts::NONE);
    until(|| stage.tailscaled.counts() - before == Counts::STRONG_STEP).await;
    assert!(stage.preflight.path() > path);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn more_clients_than_are_served_at_a_time_wait_and_those_that_hang_up_make_room() {
    let stage = ready(Plan::with_peers([
        Peer::new("db", PEER),
        Peer::new("hung", "100.64.0.9".parse().unwrap()).silent(),
    ]))
    .await;
    stage.tailscaled.plan(|plan| plan.hung = vec!["dns-query"]);
    let slow = |host: String| Request::Route {
        host,
        deadline_ms: deadline_ms(secs(5)),
    };
    let mut waiting = Vec::new();
    for number in 0..100 {
        let (socket, request) = (stage.socket().to_owned(), slow(format!("n{number}.example.com")));
        waiting.push(tokio::spawn(async move {
            protocol::ask(&socket, &request, Instant::now() + LIMIT).await
        }));
    }
    until(|| stage.tailscaled.count("dns-query") >= 64).await;
    for client in waiting {
        client.abort();
    }
    let response = timeout(secs(2), ask(&stage, &slow("db".to_owned()))).await.unwrap();
    assert!(matches!(response, Response::Route { .. }), "{response:?}");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_socket_that_an_earlier_environment_left_is_replaced() {
    let stage = ready(Plan::default()).await;
    let socket = unique_path("left");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let server = StatusServer::bind(&socket, stage.preflight.clone()).unwrap();
    let serving = tokio::spawn(server.serve());
    let request = Request::KeepAlive {
        deadline_ms: deadline_ms(secs(5)),
    };
    let response = protocol::ask(&socket, &request, Instant::now() + LIMIT).await.unwrap();
    assert!(matches!(response, Response::Verified { .. }), "{response:?}");
    serving.abort();
    std::fs::remove_file(socket).unwrap();
    stage.end(Ending::Shutdown).await;
}
