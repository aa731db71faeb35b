//! What goes to the Extensions API, byte by byte where it matters.

use extension::extensions_api::{ApiError, Event, Events, ExtensionsApi, Host, ShutdownReason};

use crate::fake_http::Fake;

/// It takes the registration, and ends the environment at the first question for an event.
fn lambda() -> Fake {
    Fake::new(|asked| match asked.line.as_str() {
        "GET /2020-01-01/extension/event/next" => Some((
            200,
            r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":1}"#.into(),
        )),
        "POST /2020-01-01/extension/register" | "POST /2020-01-01/extension/init/error" => Some((200, "{}".into())),
        _ => Some((404, "no such thing".into())),
    })
}

#[tokio::test]
async fn managed_instances_are_asked_for_shutdown_alone() {
    for (events, body) in [
        (Events::All, r#"{"events":["INVOKE","SHUTDOWN"]}"#),
        (Events::ShutdownOnly, r#"{"events":["SHUTDOWN"]}"#),
    ] {
        let lambda = lambda();
        ExtensionsApi::register(&lambda.on_loopback().await, events)
            .await
            .unwrap();
        assert_eq!(lambda.asked()[0].body, body);
    }
}

#[tokio::test]
async fn errors_and_the_end_are_told() {
    let lambda = lambda();
    let mut api = ExtensionsApi::register(&lambda.on_loopback().await, Events::All)
        .await
        .unwrap();
    api.init_error("Extension.TailnetUnavailable", "no key").await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&lambda.asked()[1].body).unwrap();
    assert_eq!(body["errorMessage"], "no key");
    let end = api.next().await.unwrap();
    let shutdown_reason = ShutdownReason::Spindown;
    assert_eq!(end, Event::Shutdown { shutdown_reason });
    let refused = api.exit_error("Extension.Odd", "it is odd").await.unwrap_err();
    assert!(
        matches!(refused, ApiError::Refused { status, .. } if status == 404),
        "{refused}"
    );
}
