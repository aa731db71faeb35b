//! What the product is for, in steps: each sends requests to the Function URL, or has a function send some, and says whether the
//! answer is right.

use std::{
    fs::File,
    io::Read,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    Error,
    caller_function::{CallerFunction, Via, reachable},
    control::MAGIC_DNS_DOMAIN,
    deadline::within,
    error::failed,
    function_url::FunctionUrl,
    http_call::header,
    lambda::{Event, Function, NOT_FORWARDED},
    port_forwarder::PortForwarder,
    stack::{Backends, TestStack},
    target::{CLOSED_PORT, PORT},
};

/// How many warm requests are timed.
const WARM_REQUESTS: usize = 100;
/// The size of the body that is echoed.
const ECHO_BYTES: usize = 1 << 20;
/// How long local-lambda may take to tell of an invocation that was answered.
const EVENT_LIMIT: Duration = Duration::from_secs(5);
/// How many lines of an answer's body are shown.
const BODY_LINES: usize = 5;
/// A profile, and what alone its callers may name.
const PROFILE: &str = "reports";
const PROFILE_TARGETS: &str = "db.example.ts.net:5432";

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

/// What is right, or what is wrong.
type Verdict = Result<String, String>;

/// What a step did.
#[derive(Debug)]
pub struct Report {
    /// Requests and answers, for a person to read.
    pub lines: Vec<String>,
    /// What is right about the answers, or what is wrong.
    pub verdict: Verdict,
}

/// Gives the proxy's function the profile that the steps need.
pub fn prepare(function: &mut Function) {
    function.settings.insert("aliases".into(), json!([PROFILE]));
    let profiles = format!("{PROFILE}={PROFILE_TARGETS}");
    function.environment.insert("TS_PROFILES".into(), profiles);
}

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

    /// Runs it, in a stack whose function is [prepared](prepare). An error means that there was no answer at all.
    pub async fn run(self, stack: &TestStack) -> Result<Report, Error> {
        let url = stack.url();
        match self {
            Self::Get => {
                let path = "/get?name=J%C3%BCrgen&tag=a&tag=b&empty=";
                let request = stack.request("GET", path).body(Bytes::new())?;
                let exchange = exchange(&url, request, true).await?;
                Ok(exchange.report(StatusCode::OK, |answer| check_get(answer, path)))
            }
            Self::Echo => echo(stack).await,
            Self::Unsigned => {
                let request = stack.request("GET", "/get").body(Bytes::new())?;
                let exchange = exchange(&url, request, false).await?;
                Ok(exchange.report(StatusCode::FORBIDDEN, check_unsigned))
            }
            Self::UnknownName => unreachable(&url, &format!("nobody.{MAGIC_DNS_DOMAIN}"), PORT).await,
            Self::ClosedPort => {
                let address = stack.backends.target.node.address().to_string();
                unreachable(&url, &address, CLOSED_PORT).await
            }
            Self::Caller => {
                let check = |answer: &Response<Bytes>| {
                    match json_of(answer)?["args"] {
                    ref args if *args == json!({"month": ["11"]}) => Ok(
                        "the target answered, though the function's code neither signed the request nor named the proxy"
                            .into(),
                    ),
                    ref args => Err(format!("the target saw the query {args}")),
                }
                };
                called(stack, &url, StatusCode::OK, check).await
            }
            Self::Profile => {
                let url = stack.alias_url(PROFILE);
                let url = url.ok_or_else(|| Error::Other(format!("the alias {PROFILE} has no URL")))?;
                let right = "refused by the proxy before it dialed: the profile allows another target alone";
                let check = |answer: &Response<Bytes>| has_error(answer, "TargetNotAllowed", right);
                called(stack, &url, StatusCode::FORBIDDEN, check).await
            }
            Self::Times => times(stack).await,
        }
    }
}

/// A request and its answer.
struct Exchange {
    lines: Vec<String>,
    answer: Response<Bytes>,
}

impl Exchange {
    fn new(mut lines: Vec<String>, answer: Response<Bytes>, took: Duration) -> Self {
        lines.push(format!("← {} in {took:.1?}", answer.status()));
        for name in ["content-type", "ts-error-name", "ts-error-message"] {
            let value = header(answer.headers(), name);
            lines.extend((!value.is_empty()).then(|| format!("  {name:<18}{value}")));
        }
        match std::str::from_utf8(answer.body()) {
            Ok(text) => lines.extend(text.lines().take(BODY_LINES).map(|line| format!("  {line}"))),
            Err(_) => lines.push(format!("  {} bytes", answer.body().len())),
        }
        Self { lines, answer }
    }

    fn report(self, status: StatusCode, check: impl FnOnce(&Response<Bytes>) -> Verdict) -> Report {
        let verdict = if self.answer.status() == status {
            check(&self.answer)
        } else {
            Err(format!("the status is {}, and not {status}", self.answer.status()))
        };
        let lines = self.lines;
        Report { lines, verdict }
    }
}

/// Sends a request, `signed` by a caller who may.
async fn exchange(url: &FunctionUrl, request: Request<Bytes>, signed: bool) -> Result<Exchange, Error> {
    let signature = if signed { "" } else { " (no signature)" };
    let mut lines = vec![format!("→ {} {}{signature}", request.method(), request.uri())];
    let headers = request.headers().iter().filter(|(name, _)| *name != "host");
    lines.extend(headers.map(|(name, value)| format!("  {:<18}{}", name.as_str(), value.to_str().unwrap_or("?"))));
    let began = Instant::now();
    let answer = match signed {
        true => url.send(request).await?,
        false => url.send_as_is(request.map(Full::new)).await?,
    };
    Ok(Exchange::new(lines, answer, began.elapsed()))
}

/// go-httpbin answers with what it saw.
fn check_get(answer: &Response<Bytes>, path: &str) -> Verdict {
    let seen = json_of(answer)?;
    let expected = json!({"name": ["Jürgen"], "tag": ["a", "b"], "empty": [""]});
    if seen["args"] != expected {
        return Err(format!("the target saw the query {}, and not {expected}", seen["args"]));
    }
    if !seen["url"].as_str().is_some_and(|url| url.ends_with(path)) {
        return Err(format!("the target saw the URL {}, without {path}", seen["url"]));
    }
    let headers = seen["headers"].as_object().cloned().unwrap_or_default();
    let private = |name: &&String| {
        let name = name.to_ascii_lowercase();
        name == "authorization" || name.starts_with("ts-") || name.starts_with("x-amz")
    };
    match headers.keys().find(private) {
        Some(name) => Err(format!("the target saw the header {name}, which is not for it")),
        None => Ok("the target saw the query byte for byte, and no header of AWS or of the proxy".into()),
    }
}

fn json_of(answer: &Response<Bytes>) -> Result<Value, String> {
    serde_json::from_slice(answer.body()).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// The answer is the whole request as the target got it, its body at the end.
async fn echo(stack: &TestStack) -> Result<Report, Error> {
    let mut data = vec![0; ECHO_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut data)?;
    let request = stack.request("POST", "/dump/request");
    let request = request.header("content-type", "application/octet-stream");
    let exchange = exchange(&stack.url(), request.body(data.clone().into())?, true).await?;
    Ok(exchange.report(StatusCode::OK, |answer| {
        let [head, body] = [b"\r\n\r\n", &data[..]];
        match answer
            .body()
            .strip_suffix(body)
            .is_some_and(|rest| rest.ends_with(head))
        {
            true => Ok(format!("all {ECHO_BYTES} bytes came back as they were sent")),
            false => Err(format!("not the {ECHO_BYTES} bytes that were sent came back")),
        }
    }))
}

fn check_unsigned(answer: &Response<Bytes>) -> Verdict {
    if answer.headers().contains_key("ts-error-name") {
        return Err("the request reached the proxy".into());
    }
    match json_of(answer)?["Message"].is_string() {
        true => Ok("refused by the Function URL, before the function".into()),
        false => Err("the body is not the service's JSON with its Message".into()),
    }
}

async fn unreachable(url: &FunctionUrl, host: &str, port: u16) -> Result<Report, Error> {
    let request = url.request_to(host, port, "GET", "/get").body(Bytes::new())?;
    let exchange = exchange(url, request, true).await?;
    Ok(exchange.report(StatusCode::BAD_GATEWAY, |answer| {
        has_error(
            answer,
            "TargetUnreachable",
            "the proxy's own error, with its name and the reason",
        )
    }))
}

/// The answer is the proxy's own error of this name.
fn has_error(answer: &Response<Bytes>, name: &str, right: &str) -> Verdict {
    let [found, message] = ["ts-error-name", "ts-error-message"].map(|name| header(answer.headers(), name));
    match found == name && !message.is_empty() {
        true => Ok(right.into()),
        false => Err(format!(
            "ts-error-name is {found:?}, and not {name:?}; the message is {message:?}"
        )),
    }
}

/// Has a function ask the target once, whose layer sends to `proxy`.
async fn called(
    stack: &TestStack,
    proxy: &FunctionUrl,
    status: StatusCode,
    check: impl FnOnce(&Response<Bytes>) -> Verdict,
) -> Result<Report, Error> {
    let Backends { binaries, run_dir, .. } = &stack.backends;
    let forwarder = PortForwarder::open(reachable(), proxy.address.clone()).await;
    let forwarder = forwarder.map_err(failed(NOT_FORWARDED))?;
    let asked = format!("http://target:{PORT}/get?month=11");
    let way = (Via::FunctionUrl, forwarder.address());
    let caller = CallerFunction::start(binaries, run_dir, &proxy.caller, way, &asked).await?;
    let began = Instant::now();
    let answer = caller.call().await?;
    let lines = vec![format!("→ GET {asked} (by Python's urllib)")];
    let mut report = Exchange::new(lines, answer, began.elapsed()).report(status, check);
    let log = caller.lambda.process.log().tail();
    report.verdict = report
        .verdict
        .map_err(|wrong| format!("{wrong}; the caller's log:\n{log}"));
    caller.stop().await;
    forwarder.close();
    Ok(report)
}

async fn times(stack: &TestStack) -> Result<Report, Error> {
    let mut warm = Vec::with_capacity(WARM_REQUESTS);
    let mut answered = 0;
    for _ in 0..WARM_REQUESTS {
        let request = stack.request("GET", "/get").body(Bytes::new())?;
        let began = Instant::now();
        answered += usize::from(stack.url().send(request).await?.status() == StatusCode::OK);
        warm.push(began.elapsed());
    }
    warm.sort();
    let [median, p99] = [50, 99].map(|percent| warm[WARM_REQUESTS * percent / 100].as_secs_f64() * 1000.0);
    let cold = stack.lambda.events.find(0, |event| match event {
        Event::Invocation {
            init_ms: Some(init),
            duration_ms,
        } => Some((*init, *duration_ms)),
        _ => None,
    });
    let (init, first) = within(EVENT_LIMIT, "local-lambda's word on the cold start", cold).await?;
    let lines = vec![
        format!("→ GET /get, {WARM_REQUESTS} times, one after the other"),
        format!("← cold start    {init:>8.1} ms  INIT: extension and tailnet, proxy"),
        format!("                {first:>8.1} ms  first answer"),
        format!("  warm, median  {median:>8.1} ms  seen by the caller"),
        format!("  warm, p99     {p99:>8.1} ms"),
    ];
    let words = format!("{answered} of {WARM_REQUESTS} answered");
    let verdict = if answered == WARM_REQUESTS {
        Ok(words)
    } else {
        Err(words)
    };
    Ok(Report { lines, verdict })
}
