//! The requests to the Extensions API.

use lambda_env::extensions_api::{ApiError, Event, Events, ExtensionsApi, LambdaRuntime, ShutdownReason};

use crate::fake_http::FakeHttp;

const NAME: &str = "tailscale-extension";

/// Accepts the registration, and answers the first request for an event with SHUTDOWN.
fn lambda() -> FakeHttp {
    FakeHttp::new(|request| match request.line.as_str() {
        "GET /2020-01-01/extension/event/next" => Some((
            200,
            r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":1}"#.into(),
        )),
        "POST /2020-01-01/extension/register" | "POST /2020-01-01/extension/init/error" => Some((200, "{}".into())),
        _ => Some((404, "no such path".into())),
    })
}

/// Knows no path.
fn no_lambda() -> FakeHttp {
    FakeHttp::new(|_| Some((404, "no such path".into())))
}

#[tokio::test]
async fn the_extension_registers_for_its_events() {
    for (events, body) in [
        (Events::All, r#"{"events":["INVOKE","SHUTDOWN"]}"#),
        (Events::ShutdownOnly, r#"{"events":["SHUTDOWN"]}"#),
    ] {
        let lambda = lambda();
        ExtensionsApi::register(&lambda.on_loopback().await, NAME, events)
            .await
            .unwrap();
        assert_eq!(lambda.received()[0].body, body);
    }
}

#[tokio::test]
async fn errors_are_reported_and_events_are_read() {
    let lambda = lambda();
    let mut api = ExtensionsApi::register(&lambda.on_loopback().await, NAME, Events::All)
        .await
        .unwrap();
    api.init_error("Extension.TailnetUnavailable", "no key").await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&lambda.received()[1].body).unwrap();
    assert_eq!(body["errorMessage"], "no key");
    let end = api.next().await.unwrap();
    let shutdown_reason = ShutdownReason::Spindown;
    assert_eq!(end, Event::Shutdown { shutdown_reason });
    let refused = ExtensionsApi::register(&no_lambda().on_loopback().await, NAME, Events::All)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(refused, ApiError::Refused { status, .. } if status == 404),
        "{refused}"
    );
}
