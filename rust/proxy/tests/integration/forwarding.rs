//! The proxy among its neighbours, down to the bytes on the wire.

use std::time::{Duration, Instant};

use crate::fakes::{Dial, Turn, World, go, provisional};
use proxy::allowed::AllowedTargets;
use serde_json::json;
use status::{Answer, Ask};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn world(dials: &[Dial], turns: &[Turn]) -> World {
    World::new(None, dials, turns, |_| ()).await
}

fn error_name(answer: &serde_json::Value) -> (u64, &str) {
    (
        answer["statusCode"].as_u64().unwrap(),
        answer["headers"]["ts-error-name"].as_str().unwrap_or("none"),
    )
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
async fn a_post_takes_a_new_connection_as_a_freeze_may_hide_the_end_of_a_kept_one() {
    let turns = [Turn::Answer(OK), Turn::Answer(OK)];
    let frozen = world(&[], &turns).await;
    assert_eq!(frozen.get().await["body"], "ok");
    assert_eq!(frozen.post("x").await["body"], "ok");
    assert_eq!(frozen.dials(), 2);

    let never_frozen = World::new(None, &[], &turns, |config| config.may_freeze = false).await;
    assert_eq!(never_frozen.get().await["body"], "ok");
    assert_eq!(never_frozen.post("x").await["body"], "ok");
    assert_eq!(never_frozen.dials(), 1);
}

#[tokio::test]
async fn a_post_takes_a_kept_connection_where_a_new_one_takes_long() {
    let world = world(&[Dial::Connect, Dial::Hang], &[Turn::Answer(OK), Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    let began = Instant::now();
    assert_eq!(world.post("x").await["body"], "ok");
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_target_that_leaves_http_is_an_error() {
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let answer = world(&[], &[Turn::Answer(switching)]).await.get().await;
    assert_eq!(error_name(&answer), (502, "TargetUnreachable"));
}

#[tokio::test]
async fn a_target_that_is_not_in_the_list_is_refused_before_any_dial() {
    let list = AllowedTargets::parse("db.tail.net,100.64.0.9").unwrap();
    let world = World::new(None, &[], &[Turn::Answer(OK)], |config| {
        config.allowed_targets = Some(list)
    })
    .await;
    assert_eq!(error_name(&world.get().await), (403, "TargetNotAllowed"));
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
    let world = World::new(None, &[], &[Turn::Answer(OK), Turn::Close], |config| {
        config.may_freeze = false
    })
    .await;
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
    let began = Instant::now();
    assert_eq!(world.get().await["body"], "ok");
    assert!(
        (400..1000).contains(&began.elapsed().as_millis()),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(world.dials(), 3);
}

#[tokio::test]
async fn a_dial_that_hangs_for_long_has_the_extension_look_at_the_way_once() {
    let world = world(&[Dial::Hang; 10], &[Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    let asked = world.asked.lock().unwrap();
    assert!(matches!(asked[..], [Ask::Target { .. }, Ask::Hung { .. }]), "{asked:?}");
}

#[tokio::test]
async fn a_refused_dial_is_final() {
    let world = world(&[Dial::Refuse], &[]).await;
    let answer = world.get().await;
    assert_eq!(error_name(&answer), (502, "TargetUnreachable"));
    assert_eq!(world.dials(), 1);
}

#[tokio::test]
async fn a_refused_dial_is_tried_again_while_the_tailnet_settles() {
    let settling = Answer::Go {
        addresses: vec![[127, 0, 0, 1].into()],
        sources: None,
        settling: true,
        ready_ms: 45,
        anew: false,
    };
    let world = World::new(
        Some(settling),
        &[Dial::Refuse, Dial::Refuse],
        &[Turn::Answer(OK)],
        |_| (),
    )
    .await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 3);
}

#[tokio::test]
async fn a_refused_address_gives_way_to_the_names_next_one() {
    let two = Answer::Go {
        addresses: vec![[127, 0, 0, 1].into(), [127, 0, 0, 1].into()],
        sources: None,
        settling: false,
        ready_ms: 45,
        anew: false,
    };
    let world = World::new(Some(two), &[Dial::Refuse], &[Turn::Answer(OK)], |_| ()).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 2);
}

#[tokio::test]
async fn nothing_is_sent_on_a_connection_that_left_by_another_way_and_the_extension_is_asked_again() {
    let world = world(&[Dial::ConnectOutside], &[Turn::Answer(OK)]).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!((world.dials(), world.requests().len()), (2, 1));
    assert_eq!(world.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn where_connections_go_on_leaving_by_another_way_the_request_is_refused() {
    let world = world(&[Dial::ConnectOutside; 3], &[]).await;
    let answer = world.get().await;
    assert_eq!(error_name(&answer), (403, "TargetNotAllowed"));
    let message = answer["headers"]["ts-error-message"].as_str().unwrap();
    assert!(message.contains("169.254.100.2"), "{message}");
    assert_eq!(world.requests(), [] as [String; 0]);
}

#[tokio::test]
async fn a_dial_that_gets_through_before_the_path_has_been_looked_at_has_proved_it() {
    let world = World::answering(vec![provisional()], &[], &[Turn::Answer(OK)], |_| ()).await;
    assert_eq!(world.get().await["body"], "ok");
    assert_eq!(world.dials(), 1);
}

#[tokio::test]
async fn a_dial_under_way_goes_on_where_the_path_was_good_and_gives_way_to_another_where_it_was_made_anew() {
    const HEDGE: Duration = Duration::from_millis(200);
    for (anew, quick) in [(false, false), (true, true)] {
        let answers = vec![provisional(), go(anew)];
        let world = World::answering(answers, &[Dial::Hang], &[Turn::Answer(OK)], |_| ()).await;
        let began = Instant::now();
        assert_eq!(world.get().await["body"], "ok");
        assert_eq!(began.elapsed() < HEDGE, quick, "{anew}");
        assert_eq!(world.dials(), 2, "{anew}");
    }
}

#[tokio::test]
async fn a_dial_that_fails_before_the_path_has_been_looked_at_says_nothing() {
    for early in [Dial::Refuse, Dial::ConnectOutside] {
        let answers = vec![provisional(), go(true)];
        let world = World::answering(answers, &[early], &[Turn::Answer(OK)], |_| ()).await;
        assert_eq!(world.get().await["body"], "ok");
        assert_eq!(world.dials(), 2);
    }
    let refused = Answer::NotAllowed { message: "m".into() };
    let world = World::answering(vec![provisional(), refused], &[Dial::Hang], &[], |_| ()).await;
    assert_eq!(error_name(&world.get().await), (403, "TargetNotAllowed"));
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
    for (verdict, status, name) in [
        (Answer::NotAllowed { message: "m".into() }, 403, "TargetNotAllowed"),
        (Answer::UnknownName { message: "m".into() }, 502, "TargetUnreachable"),
        (Answer::Unavailable { message: "m".into() }, 503, "TailnetUnavailable"),
    ] {
        let world = World::new(Some(verdict), &[], &[], |_| ()).await;
        let answer = world.get().await;
        assert_eq!(error_name(&answer), (status, name));
        assert_eq!(answer["headers"]["ts-error-message"], "m");
        assert_eq!(world.dials(), 0);
    }
}

#[tokio::test]
async fn without_an_extension_the_tailnet_is_unavailable() {
    let world = World::new(None, &[], &[], |config| {
        config.status_socket = "/nonexistent/socket".into()
    })
    .await;
    assert_eq!(error_name(&world.get().await), (503, "TailnetUnavailable"));
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
