//! Callers' functions, whose code asks the target as if it were beside it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::shown::{Report, expect_status, show_answer};
use crate::{
    Error,
    caller_function::{CallerFunction, Via, reachable},
    door::Door,
    error::failed,
    function_url::FunctionUrl,
    http_call::header,
    lambda::{Function, NOT_FORWARDED},
    target,
    world::{Surroundings, World},
};

/// A profile, and what alone its callers may name.
const PROFILE: &str = "reports";
const PROFILE_TARGETS: &str = "db.example.ts.net:5432";

/// Gives the proxy's function the profile that the steps need.
pub fn prepare(function: &mut Function) {
    function.settings.insert("aliases".into(), json!([PROFILE]));
    let profiles = format!("{PROFILE}={PROFILE_TARGETS}");
    function.environment.insert("TS_PROFILES".into(), profiles);
}

/// What a function's request came to.
struct Called {
    request: Vec<String>,
    answer: Response<Bytes>,
    took: Duration,
    log: String,
}

pub(super) async fn passes(world: &World) -> Result<Report, Error> {
    let called = called(world, &world.url()).await?;
    let seen = serde_json::from_slice::<Value>(called.answer.body()).unwrap_or_default();
    let verdict = expect_status(&called.answer, StatusCode::OK).and_then(|()| match &seen["args"] {
        args if *args == json!({"month": ["11"]}) => {
            Ok("the target answered, though the function's code neither signed the request nor named the proxy".into())
        }
        args => Err(format!("the target saw the query {args}")),
    });
    let mut answer = show_answer(&called.answer, &["content-type"]);
    if verdict.is_ok() {
        answer.truncate(2);
        answer.extend(["url", "args"].map(|name| format!("{name:<18}{}", seen[name])));
    }
    Ok(called.report(answer, verdict))
}

pub(super) async fn is_refused(world: &World) -> Result<Report, Error> {
    let url = world.alias_url(PROFILE);
    let url = url.ok_or_else(|| Error::Other(format!("the alias {PROFILE} has no URL")))?;
    let mut called = called(world, &url).await?;
    called
        .request
        .push(format!("(its profile allows {PROFILE_TARGETS} alone)"));
    let name = header(called.answer.headers(), "ts-error-name");
    let verdict = expect_status(&called.answer, StatusCode::FORBIDDEN).and_then(|()| match name {
        "TargetNotAllowed" => Ok("refused by the proxy, before it dialed".into()),
        _ => Err(format!("ts-error-name is {name:?}, and not \"TargetNotAllowed\"")),
    });
    let answer = show_answer(&called.answer, &["ts-error-name", "ts-error-message"]);
    Ok(called.report(answer, verdict))
}

impl Called {
    fn report(self, mut answer: Vec<String>, verdict: Result<String, String>) -> Report {
        if verdict.is_err() {
            answer.push("the end of the log of the caller's function:".into());
            answer.extend(self.log.lines().map(str::to_owned));
        }
        Report {
            request: self.request,
            answer,
            took: Some(self.took),
            verdict,
        }
    }
}

/// Has a function ask the target once, whose layer sends to `proxy`.
async fn called(world: &World, proxy: &FunctionUrl) -> Result<Called, Error> {
    let Surroundings { binaries, run_dir, .. } = &world.surroundings;
    let door = Door::open(reachable(), proxy.address.clone()).await;
    let door = door.map_err(failed(NOT_FORWARDED))?;
    let asked = format!("http://target:{}/get?month=11", target::PORT);
    let way = (Via::FunctionUrl, door.address());
    let caller = CallerFunction::start(binaries, run_dir, &proxy.caller, way, &asked).await?;
    let began = Instant::now();
    let answer = caller.call().await?;
    let took = began.elapsed();
    let log = caller.lambda.process.log().tail();
    caller.stop().await;
    door.close();
    Ok(Called {
        request: vec![format!("GET {asked}"), "(by Python's urllib)".into()],
        answer,
        took,
        log,
    })
}
