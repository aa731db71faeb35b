//! Hostile requests through the shipped function: each is refused by it with a 4xx, and the target sees nothing; or the
//! target sees it to the byte.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::StatusCode;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use testbed::{
    function_url::FunctionUrl,
    raw_target::{Move, RawTarget},
    stack::TestStack,
};

use crate::{SuiteContext, TestResult, corpus, event::Wire, stream, without_freeze};

/// Fewer prove less.
const LEAST_CASES: usize = 300;
const INVOCATIONS: &str = "/2015-03-31/functions/tailscale-proxy/invocations";
/// Fits the answer to any method.
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-target: was here\r\n\r\n";

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "requests: each hostile request gets the proxy's own 4xx or arrives intact, in both invoke modes" => hostile,
    ]
}

/// What must become of a request.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// The target sees this.
    Intact(Box<Wire>),
    /// The function refuses it, and the target sees nothing.
    Refused,
    /// Either.
    RefusedOrIntact(Box<Wire>),
}

/// One request, as the function's event.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) payload: String,
    pub(crate) expected: Expected,
}

/// What came of it.
#[derive(Debug)]
enum Came {
    /// The target's response.
    Target,
    /// The proxy's own error.
    Refused,
    /// Neither, in words.
    Neither(String),
}

async fn hostile(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(without_freeze).await?;
    let buffered = run(&stack, "BUFFERED").await;
    let (backends, _) = stack.undeploy().await;
    let stack = backends.deploy(|function| {
        without_freeze(function);
        stream(function);
        // A streamed answer is whole before its environment asks for the next request.
        function.settings.insert("maxEnvironments".into(), 3.into());
    });
    let stack = stack.await?;
    let streamed = run(&stack, "RESPONSE_STREAM").await;
    stack.stop().await;
    buffered.and(streamed)
}

async fn run(stack: &TestStack, mode: &str) -> TestResult {
    let raw = RawTarget::start().await?;
    raw.play([Move::Send(ANSWER.into())]);
    let target = stack.backends.target.node.address().to_string();
    let cases = corpus::all(&target, raw.address().port());
    let count = cases.len();
    assert!(count >= LEAST_CASES, "only {count} cases");
    let began = Instant::now();
    let mut wrong = Vec::new();
    let (mut intact, mut refused) = (0, 0);
    for case in cases {
        let since = raw.seen().len();
        let came = invoke(stack, &case.payload).await?;
        match check(&raw, since, &came, &case.expected) {
            Ok(()) if matches!(came, Came::Target) => intact += 1,
            Ok(()) => refused += 1,
            Err(why) => wrong.push(format!("{}: {why}", case.title)),
        }
    }
    eprintln!(
        "  {mode}: of {count} hostile requests {intact} arrived intact, {refused} were refused, in {:.1?}",
        began.elapsed()
    );
    if wrong.is_empty() {
        return Ok(());
    }
    let log = stack.log();
    Err(format!("{} of {count} in {mode}:\n  {}\n{log}", wrong.len(), wrong.join("\n  ")).into())
}

fn check(raw: &RawTarget, since: usize, came: &Came, expected: &Expected) -> Result<(), String> {
    let seen = raw.seen().len() - since;
    match (came, expected) {
        (Came::Neither(what), _) => Err(what.clone()),
        (Came::Refused, Expected::Refused | Expected::RefusedOrIntact(_)) if seen == 0 => Ok(()),
        (Came::Refused, Expected::Intact(_)) => Err("it was refused".into()),
        (Came::Refused, _) => Err("it was refused, and the target saw it".into()),
        (Came::Target, Expected::Refused) => Err("it was not refused".into()),
        (Came::Target, Expected::Intact(wire) | Expected::RefusedOrIntact(wire)) => {
            let seen = raw
                .only_since(since)
                .ok_or_else(|| format!("the target saw {seen} requests instead of one"))?;
            wire.difference(&Wire::from(&seen)).map_or(Ok(()), Err)
        }
    }
}

/// Invokes the function with an event, whatever it is.
async fn invoke(stack: &TestStack, payload: &str) -> Result<Came, Failed> {
    let api = stack.invoke_api();
    let door = FunctionUrl {
        address: api.address,
        caller: api.caller,
    };
    let request = door
        .request("POST", INVOCATIONS)
        .body(Bytes::copy_from_slice(payload.as_bytes()))?;
    let response = door.send(request).await?;
    let failed = response.headers().contains_key("x-amz-function-error");
    let (status, body) = (response.status(), response.into_body());
    let shown = || body[..body.len().min(300)].escape_ascii().to_string();
    if status != StatusCode::OK {
        return Ok(Came::Neither(format!("the API responded {status}: {}", shown())));
    }
    // A streamed response is its head, eight zero bytes, and its body.
    let head = body
        .windows(8)
        .position(|window| window == [0; 8])
        .map_or(&body[..], |at| &body[..at]);
    let Ok(head) = serde_json::from_slice::<Value>(head) else {
        return Ok(Came::Neither(format!("no JSON: {}", shown())));
    };
    if failed {
        return Ok(match head["errorType"].as_str() {
            Some("InvalidRequest") => Came::Refused,
            _ => Came::Neither(format!("the invocation failed: {head}")),
        });
    }
    let header = |name: &str| head["headers"][name].as_str().unwrap_or_default();
    let unsent = header("ts-error-sent") == "no";
    Ok(match (head["statusCode"].as_u64(), header("ts-error-name")) {
        (Some(200), _) if header("x-target") == "was here" => Came::Target,
        (Some(400), "InvalidRequest") | (Some(403), "TargetNotAllowed") if unsent => Came::Refused,
        _ => Came::Neither(head.to_string().chars().take(600).collect()),
    })
}
