//! What the product is for, in steps: each sends requests to the Function URL, or has a function send some, and says whether the
//! answer is right.

mod callers;
mod shown;

use std::{
    fs::File,
    io::Read,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use crate::{
    Error, control::MAGIC_DNS_DOMAIN, function_url::FunctionUrl, http_call::header, lambda::Event, target, world::World,
};
pub use callers::prepare;
pub use shown::Report;
use shown::{expect_status, show_answer, show_request};

/// How many warm requests are timed.
const WARM_REQUESTS: usize = 100;
/// The size of the body that is echoed.
const ECHO_BYTES: usize = 1 << 20;
/// How long local-lambda may take to tell of an invocation that was answered.
const EVENT_LIMIT: Duration = Duration::from_secs(5);

/// One of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A GET with a query, as the first request of all: the environment is cold.
    Get,
    /// Binary data there and back.
    Echo,
    /// A request that nobody signed.
    Unsigned,
    /// A name that no machine has.
    UnknownName,
    /// A machine that is there, a port where nobody listens.
    ClosedPort,
    /// A function that signs nothing.
    Caller,
    /// The same, where its profile lacks the target.
    Profile,
    /// Cold and warm times.
    Times,
}

/// The steps in their order.
pub const STEPS: [Step; 8] = [
    Step::Get,
    Step::Echo,
    Step::Unsigned,
    Step::UnknownName,
    Step::ClosedPort,
    Step::Caller,
    Step::Profile,
    Step::Times,
];

impl Step {
    /// What it shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Get => "GET with a query, in a cold environment",
            Self::Echo => "POST of 1 MiB of random bytes, echoed by the target",
            Self::Unsigned => "a request that is not signed",
            Self::UnknownName => "a target that does not exist",
            Self::ClosedPort => "a target that refuses the connection",
            Self::Caller => "a caller's function that knows nothing of signatures: it has the layer, and HTTP_PROXY",
            Self::Profile => "the same function, as the caller of a profile that lacks the target",
            Self::Times => "times",
        }
    }

    /// Runs it, in a world whose function is [prepared](prepare). An error means that there was no answer at all.
    pub async fn run(self, world: &World) -> Result<Report, Error> {
        match self {
            Self::Get => get(world).await,
            Self::Echo => echo(world).await,
            Self::Unsigned => unsigned(world).await,
            Self::UnknownName => unreachable(world, &format!("nobody.{MAGIC_DNS_DOMAIN}"), target::PORT).await,
            Self::ClosedPort => {
                unreachable(
                    world,
                    &world.surroundings.target.node.address().to_string(),
                    target::CLOSED_PORT,
                )
                .await
            }
            Self::Caller => callers::passes(world).await,
            Self::Profile => callers::is_refused(world).await,
            Self::Times => times(world).await,
        }
    }
}

async fn get(world: &World) -> Result<Report, Error> {
    let path = "/get?name=J%C3%BCrgen&tag=a&tag=b&empty=";
    let url = world.url();
    let request = world.request("GET", path).body(Bytes::new())?;
    let shown = show_request(&request);
    let (answer, took) = timed(&url, request).await?;
    let mut verdict = expect_status(&answer, StatusCode::OK).map(|()| String::new());
    let mut lines = show_answer(&answer, &["content-type"]);
    if verdict.is_ok() {
        verdict = match serde_json::from_slice::<Value>(answer.body()) {
            Ok(seen) => {
                lines.truncate(2);
                lines.extend(["url", "args"].map(|name| format!("{name:<18}{}", seen[name])));
                check_get(&seen, path)
            }
            Err(error) => Err(format!("the answer is not JSON: {error}")),
        };
    }
    Ok(Report {
        request: shown,
        answer: lines,
        took: Some(took),
        verdict,
    })
}

/// go-httpbin answers with what it saw.
fn check_get(seen: &Value, path: &str) -> Result<String, String> {
    let expected = serde_json::json!({"name": ["Jürgen"], "tag": ["a", "b"], "empty": [""]});
    if seen["args"] != expected {
        return Err(format!("the target saw the query {}, and not {expected}", seen["args"]));
    }
    if !seen["url"].as_str().is_some_and(|url| url.ends_with(path)) {
        return Err(format!(
            "the target saw the URL {}, which does not end in {path}",
            seen["url"]
        ));
    }
    let headers = seen["headers"].as_object().cloned().unwrap_or_default();
    let private = |name: &&String| {
        let name = name.to_ascii_lowercase();
        name == "authorization" || name.starts_with("ts-") || name.starts_with("x-amz")
    };
    if let Some(name) = headers.keys().find(private) {
        return Err(format!("the target saw the header {name}, which is not for it"));
    }
    Ok("the target saw the query byte for byte, and no header of AWS or of the proxy".into())
}

async fn echo(world: &World) -> Result<Report, Error> {
    let data = random_bytes();
    let url = world.url();
    let request = world.request("POST", "/dump/request");
    let request = request
        .header("content-type", "application/octet-stream")
        .body(data.clone())?;
    let shown = show_request(&request);
    let (answer, took) = timed(&url, request).await?;
    // The answer is the whole request as the target got it: its head, an empty line, its body.
    let echoed = answer
        .body()
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .map(|end| answer.body().slice(end + 4..));
    let verdict = expect_status(&answer, StatusCode::OK).and_then(|()| match &echoed {
        Some(echoed) if *echoed == data => Ok(format!("all {} bytes came back as they were sent", data.len())),
        Some(echoed) => Err(format!(
            "{} bytes were sent, and {} others came back",
            data.len(),
            echoed.len()
        )),
        None => Err("the answer holds no request".into()),
    });
    let answer = vec![answer.status().to_string(), format!("{} bytes", answer.body().len())];
    Ok(Report {
        request: shown,
        answer,
        took: Some(took),
        verdict,
    })
}

async fn unsigned(world: &World) -> Result<Report, Error> {
    let url = world.url();
    let request = world.request("GET", "/get").body(Bytes::new())?;
    let mut shown = show_request(&request);
    shown.push("(no signature)".into());
    let began = Instant::now();
    let answer = url.send_as_is(request.map(Full::new)).await?;
    let message = serde_json::from_slice::<Value>(answer.body())
        .ok()
        .filter(|body| body["Message"].is_string());
    let verdict = expect_status(&answer, StatusCode::FORBIDDEN).and_then(|()| match message {
        _ if answer.headers().contains_key("ts-error-name") => Err("the request reached the proxy".into()),
        Some(_) => Ok("refused by the Function URL, before the function".into()),
        None => Err("the body is not the service's JSON with its Message".into()),
    });
    let headers = ["content-type", "x-amzn-errortype"];
    Ok(Report {
        request: shown,
        answer: show_answer(&answer, &headers),
        took: Some(began.elapsed()),
        verdict,
    })
}

async fn unreachable(world: &World, host: &str, port: u16) -> Result<Report, Error> {
    let url = world.url();
    let request = url.request_to(host, port, "GET", "/get");
    let request = request.body(Bytes::new())?;
    let shown = show_request(&request);
    let (answer, took) = timed(&url, request).await?;
    let header = |name| header(answer.headers(), name);
    let (name, message) = (header("ts-error-name"), header("ts-error-message"));
    let verdict = expect_status(&answer, StatusCode::BAD_GATEWAY).and_then(|()| match (name, message) {
        ("TargetUnreachable", "") => Err("ts-error-message is missing".into()),
        ("TargetUnreachable", _) => Ok("the proxy's own error, with its name and the reason".into()),
        _ => Err(format!("ts-error-name is {name:?}, and not \"TargetUnreachable\"")),
    });
    let headers = ["ts-error-name", "ts-error-message", "content-type"];
    Ok(Report {
        request: shown,
        answer: show_answer(&answer, &headers),
        took: Some(took),
        verdict,
    })
}

async fn times(world: &World) -> Result<Report, Error> {
    let url = world.url();
    let mut warm = Vec::with_capacity(WARM_REQUESTS);
    let mut verdict = Ok(());
    for number in 1..=WARM_REQUESTS {
        let (answer, took) = timed(&url, world.request("GET", "/get").body(Bytes::new())?).await?;
        warm.push(took);
        verdict =
            verdict.and(expect_status(&answer, StatusCode::OK).map_err(|error| format!("request {number}: {error}")));
    }
    warm.sort();
    let (median, p99) = (warm[WARM_REQUESTS / 2], warm[WARM_REQUESTS * 99 / 100]);
    let cold = cold_start(world).await?;
    let answer = vec![
        format!("cold start    {:>8.1} ms  INIT: extension and tailnet, proxy", cold.0),
        format!("              {:>8.1} ms  first answer", cold.1),
        format!(
            "warm, median  {:>8.1} ms  of {WARM_REQUESTS} GETs, seen by the caller",
            milliseconds(median)
        ),
        format!("warm, p99     {:>8.1} ms", milliseconds(p99)),
    ];
    let verdict = verdict.map(|()| format!("{WARM_REQUESTS} of {WARM_REQUESTS} answered"));
    Ok(Report {
        request: vec![format!("GET /get, {WARM_REQUESTS} times, one after the other")],
        answer,
        took: None,
        verdict,
    })
}

/// Milliseconds of the first environment's INIT, and of the answer after it.
async fn cold_start(world: &World) -> Result<(f64, f64), Error> {
    let cold = world.lambda.events.find(0, |event| match event {
        Event::Invocation {
            init_ms: Some(init),
            duration_ms,
            ..
        } => Some((*init, *duration_ms)),
        _ => None,
    });
    Ok(crate::deadline::within(EVENT_LIMIT, "local-lambda's word on the cold start", cold).await?)
}

async fn timed(url: &FunctionUrl, request: Request<Bytes>) -> Result<(Response<Bytes>, Duration), Error> {
    let began = Instant::now();
    Ok((url.send(request).await?, began.elapsed()))
}

fn random_bytes() -> Bytes {
    let mut data = vec![0; ECHO_BYTES];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut data));
    read.expect("BUG: /dev/urandom is there on every Linux");
    data.into()
}

/// For people: milliseconds with their fraction.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
