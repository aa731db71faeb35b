//! What may be reached depends on the alias that was invoked, and on nothing that the caller sends.

use std::time::SystemTime;

use proxy::{
    allowlist::Allowlist,
    config::InvokeMode,
    profiles::Profiles,
    warm_up::{Payload, WarmUp},
};
use serde_json::{Value, json};

use crate::fakes::{FUNCTION_ARN, Turn, World};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ADDRESSES: [&str; 4] = ["100.64.0.2", "100.64.0.3", "100.64.0.4", "100.64.0.5"];

/// A proxy with two profiles: each has a target of its own, both have a third, and one has a fourth that the proxy itself
/// does not allow.
async fn world(turns: usize) -> World {
    World::new(None, &[], &vec![Turn::Answer(OK); turns], |config| {
        config.allowed_targets = Some(Allowlist::parse("100.64.0.2,100.64.0.3,100.64.0.4").unwrap());
        let profiles = "billing=100.64.0.2,100.64.0.4;web=100.64.0.3,100.64.0.4,100.64.0.5";
        config.profiles = Some(Profiles::parse(profiles).unwrap());
    })
    .await
}

fn invoked_as(world: &mut World, qualifier: &str) {
    world.function_arn = format!("{FUNCTION_ARN}{qualifier}");
}

/// What became of a GET for this address: `200`, or the error's name.
async fn asked(world: &World, address: &str, forge: fn(&mut Value)) -> String {
    let answer = world.send(|event| {
        event["headers"]["ts-target-ip"] = address.into();
        forge(event);
    });
    told(&answer.await)
}

fn told(answer: &Value) -> String {
    let name = answer["headers"]["ts-error-name"].as_str();
    match answer["statusCode"].as_u64().unwrap() {
        200 => "200".to_owned(),
        status => format!("{status} {}", name.unwrap()),
    }
}

/// What became of a GET for each of the addresses.
async fn reached(world: &World, forge: fn(&mut Value)) -> [String; 4] {
    let mut outcomes = [const { String::new() }; 4];
    for (address, outcome) in ADDRESSES.iter().zip(&mut outcomes) {
        *outcome = asked(world, address, forge).await;
    }
    outcomes
}

const REFUSED: &str = "403 TargetNotAllowed";

#[tokio::test]
async fn each_profile_reaches_exactly_its_own_targets_that_the_proxy_allows() {
    let mut world = world(8).await;
    for (qualifier, expected) in [
        // What one left on a kept connection is not there for another.
        (":billing", ["200", REFUSED, "200", REFUSED]),
        (":web", [REFUSED, "200", "200", REFUSED]),
        ("", ["200", "200", "200", REFUSED]),
    ] {
        invoked_as(&mut world, qualifier);
        assert_eq!(reached(&world, |_| ()).await, expected, "{qualifier}");
    }
    assert_eq!(world.requests().len(), 7);
}

#[tokio::test]
async fn the_functions_own_qualifiers_have_the_proxys_list_alone() {
    let mut world = world(6).await;
    for qualifier in [":$LATEST", ":live"] {
        invoked_as(&mut world, qualifier);
        let expected = ["200", "200", "200", REFUSED];
        assert_eq!(reached(&world, |_| ()).await, expected, "{qualifier}");
    }
}

#[tokio::test]
async fn nothing_in_the_event_chooses_a_profile() {
    let mut world = world(2).await;
    invoked_as(&mut world, ":billing");
    let forge = |event: &mut Value| {
        let web = format!("{FUNCTION_ARN}:web");
        for header in [
            "ts-profile",
            "ts-qualifier",
            "qualifier",
            "lambda-runtime-invoked-function-arn",
            "x-amzn-invoked-function-arn",
        ] {
            event["headers"][header] = web.as_str().into();
        }
        for field in ["functionArn", "invokedFunctionArn", "profile", "qualifier"] {
            event[field] = web.as_str().into();
            event["requestContext"][field] = web.as_str().into();
        }
        event["requestContext"]["authorizer"] = json!({"iam": {"userArn": web}});
        event["queryStringParameters"] = json!({"Qualifier": "web"});
        event["rawQueryString"] = "Qualifier=web".into();
        event["rawPath"] = "/2015-03-31/functions/proxy:web/invocations".into();
    };
    assert_eq!(reached(&world, forge).await, ["200", REFUSED, "200", REFUSED]);
}

#[tokio::test]
async fn an_unknown_qualifier_reaches_nothing() {
    let mut world = world(0).await;
    for qualifier in [":7", ":shop", ":Billing", ":billing:web", ":"] {
        invoked_as(&mut world, qualifier);
        let expected = ["403 UnknownProfile"; 4];
        assert_eq!(reached(&world, |_| ()).await, expected, "{qualifier}");
    }
    invoked_as(&mut world, ":shop");
    let answer = world.get().await;
    let message = answer["headers"]["ts-error-message"].as_str().unwrap();
    assert!(
        message.contains("\"shop\"") && message.contains("billing, web"),
        "{message}"
    );
    assert_eq!(answer["headers"]["ts-error-sent"], "no");
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_without_profiles_takes_any_qualifier() {
    let mut world = World::new(None, &[], &[Turn::Answer(OK)], |_| ()).await;
    invoked_as(&mut world, ":7");
    assert_eq!(told(&world.get().await), "200");
}

/// What the function posts: whether it succeeded, and the JSON.
async fn posted(world: &World, payload: Value) -> (bool, Value) {
    let posted = world.invoke(InvokeMode::Buffered, payload).await;
    let succeeded = posted.line().ends_with("/the-id/response HTTP/1.1");
    (succeeded, serde_json::from_str(posted.body()).unwrap())
}

#[tokio::test]
async fn a_diagnosis_is_no_way_around_a_profile() {
    let mut world = world(0).await;
    let port = world.target.port().to_string();
    let diagnose = |address: &str| json!({"diagnose": {"ts-target-ip": address, "ts-target-port": port}});
    for (qualifier, address, name) in [
        (":billing", ADDRESSES[1], "TargetNotAllowed"),
        (":shop", ADDRESSES[0], "UnknownProfile"),
    ] {
        invoked_as(&mut world, qualifier);
        let (succeeded, error) = posted(&world, diagnose(address)).await;
        assert_eq!((succeeded, error["errorType"].as_str()), (false, Some(name)), "{error}");
    }
    assert!(world.asked.lock().unwrap().is_empty(), "of no target of another's");
    invoked_as(&mut world, ":web");
    let (succeeded, report) = posted(&world, diagnose(ADDRESSES[3])).await;
    assert!(succeeded, "{report}");
    assert_eq!(report["allowed"]["error"]["name"], "TargetNotAllowed");
}

#[tokio::test]
async fn a_warm_up_comes_by_any_qualifier_that_is_known() {
    let mut world = world(0).await;
    let warm_up = || {
        serde_json::to_value(Payload {
            warm_up: WarmUp::until(SystemTime::now()),
        })
        .unwrap()
    };
    for qualifier in [":live", ":billing", ""] {
        invoked_as(&mut world, qualifier);
        let (succeeded, warm) = posted(&world, warm_up()).await;
        assert!(succeeded, "{qualifier}: {warm}");
    }
    invoked_as(&mut world, ":shop");
    let (succeeded, error) = posted(&world, warm_up()).await;
    assert_eq!(
        (succeeded, error["errorType"].as_str()),
        (false, Some("UnknownProfile"))
    );
}
