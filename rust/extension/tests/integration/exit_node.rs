//! The choice of an exit node, against a fake of tailscaled's LocalAPI.

use std::{path::PathBuf, time::Duration};

use crate::fake_http::Fake;
use extension::{exit_node::ExitNode, local_api::LocalApi};

const STATUS: &str = r#"{"TailscaleIPs":["100.64.0.1"],"Peer":{"nodekey:a":{"ID":"nExit","DNSName":"exit.tail.net.",
    "TailscaleIPs":["100.64.0.9"],"AllowedIPs":["100.64.0.9/32","0.0.0.0/0","::/0"]}}}"#;

fn exit_node(node: &str) -> ExitNode {
    ExitNode {
        node: node.into(),
        required: true,
        ping_timeout: Duration::from_millis(50),
        pings: 3,
    }
}

/// A daemon that knows `exit`, and answers pings with `pong`, or not at all.
fn daemon(name: &str, pong: Option<&'static str>) -> (Fake, LocalApi, PathBuf) {
    let socket = std::env::temp_dir().join(format!("exit-node-{name}-{}", std::process::id()));
    let fake = Fake::new(move |asked| match asked.line.split('?').next().unwrap() {
        "GET /localapi/v0/status" => Some((200, STATUS.into())),
        "POST /localapi/v0/ping" => pong.map(|pong| (200, pong.into())),
        "PATCH /localapi/v0/prefs" => Some((200, "{}".into())),
        other => panic!("unexpected: {other}"),
    });
    fake.on_socket(&socket);
    (fake, LocalApi::new(&socket), socket)
}

#[tokio::test]
async fn a_node_that_answers_is_used() {
    for node in ["exit", "exit.tail.net", "100.64.0.9"] {
        let (fake, api, socket) = daemon(node, Some(r#"{"Err":""}"#));
        let taken = exit_node(node).take(&api).await;
        std::fs::remove_file(socket).unwrap();
        assert_eq!(taken, Ok(()));
        let last = fake.asked().pop().unwrap();
        assert_eq!(last.line, "PATCH /localapi/v0/prefs");
        assert_eq!(last.body, r#"{"ExitNodeID":"nExit","ExitNodeIDSet":true}"#);
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_pinged_as_often_as_asked_for_and_not_used() {
    let (fake, api, socket) = daemon("silent", None);
    let words = exit_node("exit").take(&api).await.unwrap_err();
    std::fs::remove_file(socket).unwrap();
    assert_eq!(words, "it answered none of 3 pings of 50 ms");
    let pings = fake.asked().iter().filter(|asked| asked.line.contains("/ping")).count();
    assert_eq!(pings, 3);
    assert!(!fake.asked().iter().any(|asked| asked.line.starts_with("PATCH")));
}

#[tokio::test]
async fn the_settings_of_a_ping_cannot_outlast_init() {
    let (_fake, api, socket) = daemon("patient", None);
    let patient = ExitNode {
        ping_timeout: Duration::from_secs(2),
        pings: 10,
        ..exit_node("exit")
    };
    let began = std::time::Instant::now();
    let words = patient.take(&api).await.unwrap_err();
    std::fs::remove_file(socket).unwrap();
    assert_eq!(words, "it did not answer within 4 s");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_node_that_is_unknown_is_told() {
    let (_fake, api, socket) = daemon("unknown", None);
    let words = exit_node("elsewhere").take(&api).await.unwrap_err();
    std::fs::remove_file(socket).unwrap();
    assert!(words.contains("no machine with this address or name"), "{words}");
}
