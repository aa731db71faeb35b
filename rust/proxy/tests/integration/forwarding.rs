//! The proxy among its neighbours, down to the bytes on the wire.

use std::time::Duration;

use crate::fakes::{Dial, Turn, Verify, World, error_name, go, unavailable};
use proxy::allowlist::Allowlist;
use serde_json::json;
use tailnet::protocol::{Request, Response};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn world(dials: &[Dial], turns: &[Turn]) -> World {
    World::new(None, dials, turns, |_| ()).await
}

#[tokio::test]
async fn the_request_arrives_byte_for_byte() {
    let world = world(&[], &[Turn::Answer(OK)]).await;
    let port = world.target.port();
    world
        .send(|event| {
            event["rawPath"] = "/a%2Fb//c/../%C3%A9".into();
            event["rawQueryString"] = "x=1&x=2&empty=&plus=a+b".into();
            event["requestContext"]["http"]["method"] = "PATCH".into();
            event["cookies"] = json!(["a=1", "b=2"]);
            event["body"] = "hello".into();
            event["headers"]["content-type"] = "text/plain; charset=iso-8859-1".into();
            event["headers"]["authorization"] = "AWS4-HMAC-SHA256 …".into();
            event["headers"]["x-amz-security-token"] = "caller's own".into();
            event["headers"]["ts-authorization"] = "Bearer target's".into();
            event["headers"]["x-forwarded-for"] = "192.0.2.1".into();
        })
        .await;
    let request = world.requests().remove(0);
    let (line, rest) = request.split_once("\r\n").unwrap();
    assert_eq!(line, "PATCH /a%2Fb//c/../%C3%A9?x=1&x=2&empty=&plus=a+b HTTP/1.1");
    let (head, body) = rest.split_once("\r\n\r\n").unwrap();
    let mut headers: Vec<&str> = head.split("\r\n").collect();
    headers.sort_unstable();
    let host = format!("host: 100.64.0.2:{port}");
    let expected = [
        "authorization: Bearer target's",
        "content-length: 5",
        "content-type: text/plain; charset=iso-8859-1",
        "cookie: a=1; b=2",
        &host,
    ];
    assert_eq!(headers, expected);
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn a_chunked_answer_comes_back_whole() {
    let chunked =
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 418 Teapot\r\ntransfer-encoding: chunked\r\n\
        set-cookie: a=1\r\nx-a: 1\r\nset-cookie: b=2\r\nx-a: 2\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: t\r\n\r\n";
    let answer = world(&[], &[Turn::Answer(chunked)]).await.get().await;
    let expected = json!({"statusCode": 418, "headers": {"x-a": "1, 2"}, "cookies": ["a=1", "b=2"], "body": "abcde",
        "isBase64Encoded": false});
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_folded_header_comes_back_in_one_line() {
    let folded = b"HTTP/1.1 200 OK\r\nx-folded: a\r\n b\r\ncontent-length: 0\r\n\r\n";
    let answer = world(&[], &[Turn::Answer(folded)]).await.get().await;
    assert_eq!(answer["headers"]["x-folded"], "a b");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let world = world(&[], &[Turn::Answer(OK), Turn::Answer(OK)]).await;
    for _ in 0..2 {
        assert_eq!(world.get().await["body"], "ok");
    }
    assert_eq!(world.dials(), 1);
}

#[tokio::test]
async fn a_target_that_leaves_http_is_an_error() {
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let answer = world(&[], &[Turn::Answer(switching)]).await.get().await;
    assert_eq!(error_name(&answer), (502, "TargetUnreachable"));
}

#[tokio::test]
async fn a_target_that_is_not_in_the_list_is_refused_before_any_dial() {
    let list = Allowlist::parse("db.tail.net,100.64.0.9").unwrap();
    let world = World::new(None, &[], &[Turn::Answer(OK)], |config| {
        config.allowed_targets = Some(list)
    })
    .await;
    assert_eq!(error_name(&world.get().await), (403, "TargetNotAllowed"));
    // Nor is its body decoded before.
    let undecodable = world.send(|event| {
        event["body"] = "no base64".into();
        event["isBase64Encoded"] = true.into();
    });
    assert_eq!(error_name(&undecodable.await), (403, "TargetNotAllowed"));
    assert_eq!(world.dials(), 0);
    let answer = world.send(|event| event["headers"]["ts-target-ip"] = "db.tail.net".into());
    assert_eq!(answer.await["body"], "ok");
}

#[tokio::test]
async fn a_kept_connection_that_the_target_closed_is_not_noticed_by_the_caller() {
    let world = world(
        &[],
        &[Turn::AnswerAndClose(OK), Turn::AnswerAndClose(OK), Turn::Answer(OK)],
    )
    .await;
    for _ in 0..3 {
        assert_eq!(world.get().await["body"], "ok");
    }
    assert_eq!(world.dials(), 3);
}

#[tokio::test]
async fn an_idempotent_request_that_a_kept_connection_lost_is_sent_once_more() {
    let world = world(&[], &[Turn::Answer(OK), Turn::Close, Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.requests().len(), 3);
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let world = world(&[], &[Turn::Answer(OK), Turn::Close]).await;
    assert_eq!(world.get().await["body"], "ok");
    let answer = world.post("pay").await;
    assert_eq!(error_name(&answer), (502, "TargetUnreachable"));
    assert_eq!(
        world
            .requests()
            .iter()
            .filter(|request| request.ends_with("pay"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_request_that_a_new_connection_lost_is_an_error() {
    let world = world(&[], &[Turn::Close]).await;
    assert_eq!(error_name(&world.get().await), (502, "TargetUnreachable"));
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_not_a_shorter_answer() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort";
    let answer = world(&[], &[Turn::AnswerAndClose(cut)]).await.get().await;
    assert_eq!(error_name(&answer), (502, "TargetUnreachable"));
}

#[tokio::test]
async fn a_dial_that_hangs_is_overtaken_by_another() {
    let world = world(&[Dial::Hang, Dial::Hang], &[Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 3);
}

#[tokio::test]
async fn a_dial_that_stalls_is_reported_to_the_extension_once() {
    let world = world(&[Dial::Hang; 4], &[Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    let asked = world.asked.lock().unwrap();
    let stalls = asked
        .iter()
        .filter(|request| matches!(request, Request::Stalled { .. }));
    assert_eq!(stalls.count(), 1, "{asked:?}");
}

#[tokio::test]
async fn a_refused_dial_is_final() {
    let world = world(&[Dial::Refuse], &[]).await;
    let answer = world.get().await;
    assert_eq!(error_name(&answer), (502, "TargetUnreachable"));
    assert_eq!(world.dials(), 1);
}

#[tokio::test]
async fn a_refused_dial_is_tried_again_just_after_the_tailnet_was_joined() {
    let mut just_joined = go(&[[127, 0, 0, 1]]);
    if let Response::Route { just_joined, .. } = &mut just_joined {
        *just_joined = true;
    }
    let dials = [Dial::Refuse, Dial::Refuse];
    let world = World::new(Some(just_joined), &dials, &[Turn::Answer(OK)], |_| ()).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 3);
}

#[tokio::test]
async fn a_refused_address_gives_way_to_the_names_next_one() {
    let two = go(&[[127, 0, 0, 1], [127, 0, 0, 2]]);
    let world = World::new(Some(two), &[Dial::Refuse], &[Turn::Answer(OK)], |_| ()).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 2);
}

#[tokio::test]
async fn nothing_is_sent_on_a_connection_that_leaves_the_tailnet_and_the_extension_is_asked_again() {
    let world = world(&[Dial::ConnectOffTailnet], &[Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!((world.dials(), world.requests().len()), (2, 1));
    let asked = world.asked.lock().unwrap();
    let routes = asked.iter().filter(|request| matches!(request, Request::Route { .. }));
    assert_eq!(routes.count(), 2, "{asked:?}");
}

/// A route over a path that has just been proved.
fn proved() -> Response {
    let mut route = go(&[[127, 0, 0, 1]]);
    if let Response::Route { verified, .. } = &mut route {
        *verified = true;
    }
    route
}

fn asked(world: &World) -> (usize, usize) {
    let asked = world.asked.lock().unwrap();
    let routes = asked.iter().filter(|request| matches!(request, Request::Route { .. }));
    (routes.count(), asked.len())
}

#[tokio::test]
async fn a_target_that_closes_each_connection_is_asked_about_once_a_second_at_most() {
    let world = World::new(Some(proved()), &[], &[const { Turn::AnswerAndClose(OK) }; 5], |_| ()).await;
    for _ in 0..3 {
        assert_eq!(world.get().await["body"], "ok");
    }
    assert_eq!((world.dials(), asked(&world)), (3, (1, 1)));
    world.clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(world.get().await["body"], "ok");
    }
    assert_eq!((world.dials(), asked(&world)), (5, (2, 2)));
}

#[tokio::test]
async fn a_route_over_a_path_that_is_not_proved_is_asked_for_each_time() {
    let world = world(&[], &[const { Turn::AnswerAndClose(OK) }; 3]).await;
    for _ in 0..3 {
        assert_eq!(world.get().await["body"], "ok");
    }
    assert_eq!(asked(&world).0, 3);
}

#[tokio::test]
async fn a_route_that_led_to_no_connection_is_asked_for_again() {
    let dials = [Dial::Connect, Dial::Refuse];
    let turns = [const { Turn::AnswerAndClose(OK) }; 2];
    let world = World::new(Some(proved()), &dials, &turns, |_| ()).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(error_name(&world.get().await), (502, "TargetUnreachable"));
    assert_eq!(world.get().await["body"], "ok");
    // A refusal says something only over a path that is verified then.
    assert_eq!((world.dials(), asked(&world)), (3, (2, 3)));
    // And so it is within one request.
    let dials = [Dial::Connect, Dial::ConnectOffTailnet];
    let world = World::new(Some(proved()), &dials, &turns, |_| ()).await;
    for _ in 0..2 {
        assert_eq!(world.get().await["body"], "ok");
    }
    assert_eq!((world.dials(), asked(&world)), (3, (2, 2)));
}

#[tokio::test]
async fn where_connections_go_on_leaving_the_tailnet_the_request_is_refused() {
    let world = world(&[Dial::ConnectOffTailnet; 3], &[]).await;
    let answer = world.get().await;
    assert_eq!(error_name(&answer), (403, "TargetNotAllowed"));
    let message = answer["headers"]["ts-error-message"].as_str().unwrap();
    assert!(message.contains("169.254.100.2"), "{message}");
    assert_eq!(world.requests(), [] as [String; 0]);
}

#[tokio::test]
async fn a_dial_that_gets_through_before_the_path_is_verified_has_proved_it() {
    let world = world(&[], &[Turn::Answer(OK)]).await;
    world.extension(|extension| extension.verify = Verify::Silent);
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 1);
}

#[tokio::test]
async fn a_dial_over_a_path_that_is_made_anew_gives_way_to_another() {
    for early in [Dial::Hang, Dial::Refuse, Dial::ConnectOffTailnet] {
        let world = world(&[early], &[Turn::Answer(OK)]).await;
        world.extension(|extension| {
            extension.verify = Verify::MakesAnew;
            extension.verify_after_dials = 1;
        });
        assert_eq!(world.get().await["body"], "ok", "{early:?}");
        assert_eq!(world.dials(), 2, "{early:?}");
    }
}

#[tokio::test]
async fn no_connection_in_time_is_a_504() {
    let limit = Duration::from_millis(400);
    let world = World::new(None, &[Dial::Hang, Dial::Hang], &[], |config| {
        config.connect_timeout = limit
    })
    .await;
    let answer = world.get().await;
    assert_eq!(error_name(&answer), (504, "TargetTimeout"));
    assert!(
        answer["headers"]["ts-error-message"]
            .as_str()
            .unwrap()
            .contains("400 ms"),
        "{answer}"
    );
}

#[tokio::test]
async fn no_answer_in_time_is_a_504() {
    let limit = Some(Duration::from_millis(200));
    let world = World::new(None, &[], &[Turn::Hang], |config| config.response_timeout = limit).await;
    assert_eq!(error_name(&world.get().await), (504, "TargetTimeout"));
}

#[tokio::test]
async fn what_the_extension_says_decides_the_error() {
    let message = || "m".to_owned();
    for (route, status, name, expected) in [
        (
            Response::NotAllowed { message: message() },
            403,
            "TargetNotAllowed",
            "m",
        ),
        (
            Response::UnknownName { message: message() },
            502,
            "TargetUnreachable",
            "m",
        ),
        (unavailable(None), 503, "TailnetUnavailable", "AuthKeyRejected: no key"),
    ] {
        let world = World::new(Some(route), &[], &[], |_| ()).await;
        let answer = world.get().await;
        assert_eq!(error_name(&answer), (status, name));
        assert_eq!(answer["headers"]["ts-error-message"], expected);
        assert_eq!(world.dials(), 0);
    }
}

#[tokio::test]
async fn without_an_extension_the_tailnet_is_unavailable() {
    let world = World::new(None, &[], &[], |config| {
        config.extension_socket = "/nonexistent/socket".into()
    })
    .await;
    let answer = world.get().await;
    assert_eq!(error_name(&answer), (503, "TailnetUnavailable"));
    let message = answer["headers"]["ts-error-message"].as_str().unwrap();
    assert!(message.starts_with("ExtensionMissing: "), "{message}");
}

#[tokio::test]
async fn a_socks_server_that_is_gone_means_the_tailnet_is_unavailable() {
    let world = World::new(None, &[], &[], |config| {
        config.socks = ([127, 0, 0, 1], 1).into();
        config.connect_timeout = Duration::from_millis(300);
    });
    assert_eq!(error_name(&world.await.get().await), (503, "TailnetUnavailable"));
}

#[tokio::test]
async fn a_request_without_a_target_is_told_what_is_missing() {
    let world = world(&[], &[]).await;
    let answer = world.send(|event| event["headers"] = json!({})).await;
    assert_eq!(error_name(&answer), (400, "InvalidRequest"));
    assert!(
        answer["headers"]["ts-error-message"]
            .as_str()
            .unwrap()
            .contains("ts-target-ip"),
        "{answer}"
    );
}

/// Whether the request may have reached the target, by the proxy's own error.
fn sent(answer: &serde_json::Value) -> &str {
    answer["headers"]["ts-error-sent"].as_str().unwrap_or("none")
}

#[tokio::test]
async fn a_target_that_says_nothing_is_given_up_after_the_first_byte_time_out() {
    let world = World::new(None, &[], &[Turn::Hang, Turn::Answer(OK)], |config| {
        config.first_byte_timeout = Some(Duration::from_millis(200));
    })
    .await;
    let answer = world.get().await;
    assert_eq!(
        (error_name(&answer), sent(&answer)),
        ((504, "TargetTimeout"), "unknown")
    );
    let message = answer["headers"]["ts-error-message"].as_str().unwrap();
    assert!(message.contains("did not begin to respond within 200 ms"), "{message}");
    assert_eq!(world.get().await["body"], "ok");
}

#[tokio::test]
async fn a_target_that_stops_in_the_middle_is_given_up_after_the_idle_time_out() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let world = World::new(None, &[], &[Turn::Answer(half)], |config| {
        config.idle_timeout = Some(Duration::from_millis(200));
    })
    .await;
    let answer = world.get().await;
    assert_eq!((error_name(&answer), sent(&answer)), ((504, "TargetTimeout"), "yes"));
    let message = answer["headers"]["ts-error-message"].as_str().unwrap();
    assert!(message.contains("sent nothing for 200 ms"), "{message}");
}

#[tokio::test]
async fn a_caller_narrows_the_time_outs_and_the_target_does_not_hear_of_it() {
    let connecting = world(&[Dial::Hang; 9], &[]).await;
    let answer = connecting.send(|event| event["headers"]["ts-connect-timeout"] = "300".into());
    let answer = answer.await;
    assert_eq!((error_name(&answer), sent(&answer)), ((504, "TargetTimeout"), "no"));
    assert!(
        answer["headers"]["ts-error-message"]
            .as_str()
            .unwrap()
            .contains("300 ms")
    );

    let responding = world(&[], &[Turn::Hang]).await;
    let answer = responding.send(|event| event["headers"]["ts-response-timeout"] = "300".into());
    assert_eq!(error_name(&answer.await), (504, "TargetTimeout"));
    let requests = responding.requests();
    assert!(requests.len() == 1 && !requests[0].contains("ts-"), "{requests:?}");
}

#[tokio::test]
async fn an_error_says_whether_the_request_may_have_reached_the_target() {
    let refused = world(&[Dial::Refuse], &[]).await.get().await;
    assert_eq!(
        (error_name(&refused), sent(&refused)),
        ((502, "TargetUnreachable"), "no")
    );
    let broken = world(&[], &[Turn::Close]).await.post("x").await;
    assert_eq!(
        (error_name(&broken), sent(&broken)),
        ((502, "TargetUnreachable"), "unknown")
    );
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort";
    let cut = world(&[], &[Turn::AnswerAndClose(cut)]).await.get().await;
    assert_eq!((error_name(&cut), sent(&cut)), ((502, "TargetUnreachable"), "yes"));
    // Sent over the kept connection, which broke, and not over a new one.
    let kept = world(&[Dial::Connect, Dial::Refuse], &[Turn::Answer(OK), Turn::Close]).await;
    kept.get().await;
    assert_eq!(sent(&kept.get().await), "unknown");
}

#[tokio::test]
async fn a_503_says_when_to_try_again_where_that_is_known() {
    let world = World::new(Some(unavailable(Some(1500))), &[], &[], |_| ()).await;
    let answer = world.get().await;
    assert_eq!(
        (error_name(&answer), sent(&answer)),
        ((503, "TailnetUnavailable"), "no")
    );
    assert_eq!(answer["headers"]["retry-after"], "2");
}

#[tokio::test]
async fn a_response_that_says_it_is_too_large_is_not_read() {
    let huge = b"HTTP/1.1 200 OK\r\ncontent-length: 7000000\r\n\r\n";
    let answer = world(&[], &[Turn::Answer(huge)]).await.get().await;
    assert_eq!(error_name(&answer), (502, "TargetUnreachable"));
    assert!(
        answer["headers"]["ts-error-message"]
            .as_str()
            .unwrap()
            .contains("too large")
    );
    // To HEAD it is what a GET would bring.
    let head = world(&[], &[Turn::Answer(huge)]).await;
    let answer = head.send(|event| event["requestContext"]["http"]["method"] = "HEAD".into());
    assert_eq!(answer.await["headers"]["content-length"], "7000000");
}
