//! Connections that are kept between requests: when they are used, checked and closed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tailnet::protocol::{EXIT_NODE_UNAVAILABLE, OUTSIDE, Request, Response};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::fakes::{Dial, Extension, Turn, Verify, World, error_name, go, read_request, unavailable};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Longer than a connection is used without a check.
const PAUSE: Duration = Duration::from_secs(3);

async fn world(turns: &[Turn]) -> World {
    World::new(None, &[], turns, |_| ()).await
}

/// A target that takes the next connection when the last one has been closed.
async fn single_connection_target() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let recorded = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Some(request) = read_request(&mut stream).await {
                recorded.lock().unwrap().push(request);
                stream.write_all(OK).await.unwrap();
            }
        }
    });
    (address, requests)
}

/// Sends a GET to a target that is named, and not given by its address.
async fn get_by_name(world: &World) -> Value {
    world
        .send(|event| event["headers"]["ts-target-ip"] = "db.tail.net".into())
        .await
}

fn posts(world: &World) -> usize {
    let requests = world.requests();
    requests.iter().filter(|request| request.starts_with("POST")).count()
}

fn routes(world: &World) -> usize {
    let asked = world.asked.lock().unwrap();
    let routes = asked.iter().filter(|request| matches!(request, Request::Route { .. }));
    routes.count()
}

#[tokio::test]
async fn a_fresh_connection_serves_every_method_and_nobody_is_asked() {
    let world = world(&[Turn::Answer(OK), Turn::Answer(OK), Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    let asked = world.asked.lock().unwrap().len();
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.post("x").await["body"], "ok");
    }
    assert_eq!((world.dials(), world.asked.lock().unwrap().len()), (1, asked));
}

#[tokio::test]
async fn a_target_that_serves_one_connection_at_a_time_is_never_left_waiting() {
    for pause in [Duration::ZERO, PAUSE, Duration::from_secs(51)] {
        let world = World::with_target(None, &[], single_connection_target().await, |config| {
            config.response_timeout = Some(Duration::from_secs(3));
        })
        .await;
        assert_eq!(world.get().await["body"], "ok");
        for _ in 0..3 {
            world.clock.advance(pause);
            assert_eq!(world.post("x").await["body"], "ok", "{pause:?}");
        }
        world.clock.advance(pause);
        world.extension(|extension| extension.path += 1);
        assert_eq!(world.get().await["body"], "ok", "{pause:?}");
    }
}

#[tokio::test]
async fn after_a_pause_a_get_goes_out_at_once_while_the_path_is_verified() {
    let world = world(&[Turn::Answer(OK), Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    world.clock.advance(PAUSE);
    world.extension(|extension| extension.verify = Verify::Silent);
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 1);
}

#[tokio::test]
async fn a_get_over_a_connection_whose_path_has_died_goes_again_over_a_new_one() {
    // The target's FIN was lost with the old flows: what is sent on the connection is acknowledged, and never read.
    let world = world(&[Turn::Answer(OK), Turn::Hang, Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    world.clock.advance(PAUSE);
    world.extension(|extension| extension.verify = Verify::MakesAnew);
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 2);
}

#[tokio::test]
async fn a_get_over_a_connection_whose_end_was_lost_goes_out_over_a_new_one_as_well() {
    // The path is good, and still the target's FIN may have been lost in a freeze.
    for turns in [
        &[Turn::Answer(OK), Turn::Hang, Turn::Answer(OK)][..],
        &[Turn::Answer(OK), Turn::Close, Turn::Answer(OK)],
    ] {
        let world = world(turns).await;
        assert_eq!(world.get().await["body"], "ok");
        world.clock.advance(PAUSE);
        let began = Instant::now();
        assert_eq!(world.get().await["body"], "ok");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!((world.dials(), world.requests().len()), (2, 3));
        // The new connection is the one that is kept.
        world.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_request_on_a_connection_whose_route_is_gone_is_refused() {
    let refused: fn(&mut Extension) = |extension| {
        extension.route = Response::NotAllowed {
            message: "no route covers it".to_owned(),
        };
    };
    let without_exit_node: fn(&mut Extension) = |extension| {
        extension.route = Response::Unavailable {
            code: EXIT_NODE_UNAVAILABLE.to_owned(),
            message: "the exit node is gone".to_owned(),
            retry_after_ms: None,
        };
    };
    let leads_outside: fn(&mut Extension) = |extension| extension.path = OUTSIDE;
    for (method, pause, change, expected) in [
        ("GET", Duration::ZERO, refused, (403, "TargetNotAllowed")),
        ("POST", Duration::ZERO, refused, (403, "TargetNotAllowed")),
        ("GET", PAUSE, refused, (403, "TargetNotAllowed")),
        ("GET", Duration::ZERO, without_exit_node, (503, "TailnetUnavailable")),
        ("POST", Duration::ZERO, without_exit_node, (503, "TailnetUnavailable")),
        ("GET", Duration::ZERO, leads_outside, (502, "TargetUnreachable")),
        ("POST", Duration::ZERO, leads_outside, (502, "TargetUnreachable")),
    ] {
        let world = world(&[Turn::Answer(OK), Turn::Hang]).await;
        assert_eq!(world.get().await["body"], "ok");
        world.clock.advance(pause);
        world.extension(change);
        let began = Instant::now();
        let answer = match method {
            "GET" => world.get().await,
            _ => world.post("x").await,
        };
        assert_eq!(error_name(&answer), expected, "{method} after {pause:?}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(world.dials(), 1);
    }
}

#[tokio::test]
async fn a_slow_response_after_a_pause_is_taken_where_the_second_try_has_none() {
    let world = World::new(
        None,
        &[Dial::Connect, Dial::Refuse, Dial::Refuse, Dial::Refuse],
        &[Turn::Answer(OK), Turn::AnswerLate(OK)],
        |_| (),
    )
    .await;
    assert_eq!(world.get().await["body"], "ok");
    world.clock.advance(PAUSE);
    assert_eq!(world.get().await["body"], "ok");
    assert!(world.dials() > 1);
}

#[tokio::test]
async fn after_a_pause_a_post_takes_a_new_connection_and_the_old_one_is_closed_before() {
    for turns in [
        [Turn::Answer(OK), Turn::Answer(OK)],
        [Turn::AnswerAndClose(OK), Turn::Answer(OK)],
    ] {
        let world = world(&turns).await;
        assert_eq!(world.get().await["body"], "ok");
        world.clock.advance(PAUSE);
        assert_eq!(world.post("x").await["body"], "ok");
        assert_eq!((world.dials(), posts(&world)), (2, 1));
    }
}

#[tokio::test]
async fn a_tailnet_that_is_gone_after_a_pause_is_reported_and_not_the_silence_of_the_connection() {
    for method in ["GET", "POST"] {
        let world = world(&[Turn::Answer(OK), Turn::Hang]).await;
        assert_eq!(world.get().await["body"], "ok");
        world.clock.advance(PAUSE);
        world.extension(|extension| extension.verify = Verify::Says(unavailable(None)));
        let answer = world
            .send(|event| event["requestContext"]["http"]["method"] = method.into())
            .await;
        assert_eq!(answer["statusCode"], 503, "{answer}");
    }
}

#[tokio::test]
async fn a_connection_is_used_for_50_s_of_rest_and_5_minutes_in_all() {
    let world = world(&vec![Turn::Answer(OK); 12]).await;
    assert_eq!(world.get().await["body"], "ok");
    world.clock.advance(Duration::from_secs(49));
    assert_eq!((world.get().await["body"].as_str(), world.dials()), (Some("ok"), 1));
    world.clock.advance(Duration::from_secs(51));
    assert_eq!((world.get().await["body"].as_str(), world.dials()), (Some("ok"), 2));
    for _ in 0..8 {
        world.clock.advance(Duration::from_secs(40));
        assert_eq!(world.get().await["body"], "ok");
    }
    assert_eq!(world.dials(), 3);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_takes_its_connection_with_it() {
    // A GET is on its way already, and goes again; of a POST the old address sees nothing.
    let turns = [Turn::Answer(OK), Turn::Hang, Turn::Answer(OK)];
    for (method, turns, requests) in [
        ("GET", &turns[..], 3),
        ("POST", &[Turn::Answer(OK), Turn::Answer(OK)], 2),
    ] {
        let world = world(turns).await;
        assert_eq!(get_by_name(&world).await["body"], "ok");
        world.clock.advance(PAUSE);
        world.extension(|extension| {
            extension.route = go(&[[127, 0, 0, 9]]);
            extension.verify_after_dials = 2;
        });
        let answer = world.send(|event| {
            event["headers"]["ts-target-ip"] = "db.tail.net".into();
            event["requestContext"]["http"]["method"] = method.into();
        });
        assert_eq!(answer.await["body"], "ok", "{method}");
        assert_eq!((world.dials(), world.requests().len()), (2, requests), "{method}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_again_though_its_connection_never_rests() {
    let world = world(&vec![Turn::Answer(OK); 40]).await;
    for _ in 0..32 {
        assert_eq!(get_by_name(&world).await["body"], "ok");
        world.clock.advance(Duration::from_secs(1));
    }
    assert_eq!((world.dials(), routes(&world)), (1, 2));
}

#[tokio::test]
async fn a_name_that_is_unknown_for_a_moment_says_nothing_against_a_live_connection() {
    for route in [Response::UnknownName { message: "m".into() }, unavailable(None)] {
        let world = world(&[Turn::Answer(OK), Turn::Answer(OK), Turn::Answer(OK)]).await;
        assert_eq!(get_by_name(&world).await["body"], "ok");
        world.extension(|extension| extension.route = route);
        for _ in 0..2 {
            world.clock.advance(PAUSE);
            assert_eq!(get_by_name(&world).await["body"], "ok");
        }
        assert_eq!(world.dials(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_a_caller_authenticated_is_never_anothers() {
    for scheme in ["NTLM TlRMTVNTUAAD", "negotiate YII", "Negotiate"] {
        let world = world(&[Turn::Answer(OK), Turn::Answer(OK)]).await;
        let answer = world.send(|event| event["headers"]["ts-authorization"] = scheme.into());
        assert_eq!(answer.await["body"], "ok");
        assert_eq!(world.get().await["body"], "ok");
        assert_eq!(world.dials(), 2, "{scheme}");
    }
    for offer in [
        &b"HTTP/1.1 401 No\r\nwww-authenticate: Basic realm=\"x, y\", NTLM\r\ncontent-length: 0\r\n\r\n"[..],
        b"HTTP/1.1 401 No\r\nwww-authenticate: Negotiate\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nwww-authenticate: Negotiate oYG=\r\ncontent-length: 0\r\n\r\n",
    ] {
        let world = world(&[Turn::Answer(offer), Turn::Answer(OK)]).await;
        world.get().await;
        assert_eq!(world.get().await["body"], "ok");
        assert_eq!(world.dials(), 2, "{}", String::from_utf8_lossy(offer));
    }
    let basic = world(&[Turn::Answer(OK), Turn::Answer(OK)]).await;
    for _ in 0..2 {
        let answer = basic.send(|event| event["headers"]["ts-authorization"] = "Basic TlRMTTo=".into());
        assert_eq!(answer.await["body"], "ok");
    }
    assert_eq!(basic.dials(), 1);
}
