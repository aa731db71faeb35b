//! What the layer does with requests and responses that are not the usual ones, and what it costs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use libtest_mimic::{Failed, Trial};
use testbed::{
    caller_function::Via,
    caller_layer::{ADDRESS, CallerLayer},
    deadline::within,
    freeze::median,
    function_url::ANSWER_LIMIT,
    http_call::{call, header, open},
    invoke_api::InvokeApi,
    processor,
    raw_target::{Move, RawTarget},
    stack::TestStack,
    suite::{set, stream},
    target::PORT,
    vitals::Vitals,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use crate::{SuiteContext, TestResult};

/// How many requests the overhead is measured with, of each kind.
const MEASURED: usize = 300;
/// What the layer may add to the median.
const OVERHEAD: Duration = Duration::from_millis(1);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "layer: an event of a stream arrives before the next one is sent" => streams,
        "layer: a missing grant and a wrong secret are reported with their fix" => |context| refused(context, Via::FunctionUrl),
        "layer: the same by Lambda's Invoke API" => |context| refused(context, Via::Invoke),
        "layer: the proxy's own errors pass unchanged" => proxys_errors,
        "layer: requests and tunnels to other targets leave directly" => direct,
        "layer: a TLS tunnel into the tailnet is refused with the URL to use instead" => no_tunnel,
        "layer: requests through a tunnel, as Node.js's fetch sends them, are signed like others" => tunnel,
        "layer: a body over Lambda's limit is refused before it is sent"
            => |context| too_large(context, Via::FunctionUrl, vec![b'x'; (6 << 20) + 1]),
        "layer: so is one that would fit, but not in base64, by Lambda's Invoke API"
            => |context| too_large(context, Via::Invoke, vec![0xff; 5 << 20]),
        "layer: it adds at most a millisecond to the median" => overhead,
    ]
}

async fn start(context: &SuiteContext, stack: &TestStack) -> Result<CallerLayer, Failed> {
    start_as(context, stack, Via::FunctionUrl, stack.url().caller).await
}

/// The layer of a function whose role is `caller`.
async fn start_as(
    context: &SuiteContext,
    stack: &TestStack,
    via: Via,
    caller: Credentials,
) -> Result<CallerLayer, Failed> {
    let (binaries, run_dir) = (&context.binaries, &context.run_dir);
    match via {
        Via::FunctionUrl => CallerLayer::start(binaries, run_dir, &stack.url().address, &caller).await,
        Via::Invoke => {
            let api = stack.invoke_api();
            CallerLayer::start_by_invoke(binaries, run_dir, &InvokeApi { caller, ..api }, "").await
        }
    }
}

/// A request by the layer.
pub(crate) async fn send(method: &str, url: &str, body: impl Into<Bytes>) -> Result<Response<Bytes>, Failed> {
    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let request = Request::builder().method(method).uri(url).header("host", host);
    let request = request.body(Full::new(body.into()))?;
    Ok(call(TcpStream::connect(ADDRESS).await?, request, ANSWER_LIMIT).await?)
}

/// Asks the layer for a tunnel, and reads the head of its answer, which must have this status.
async fn open_tunnel(authority: &str, status: &str) -> Result<TcpStream, Failed> {
    let mut tunnel = TcpStream::connect(ADDRESS).await?;
    let connect = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    tunnel.write_all(connect.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(ANSWER_LIMIT, "the tunnel", tunnel.read_u8()).await??);
    }
    let head = String::from_utf8_lossy(&head);
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    Ok(tunnel)
}

pub(crate) fn error_of(answer: &Response<Bytes>) -> (u16, &str, &str) {
    let text = |name| header(answer.headers(), name);
    (
        answer.status().as_u16(),
        text("ts-error-name"),
        text("ts-error-message"),
    )
}

async fn streams(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(stream).await?;
    let layer = start(&context, &stack).await?;
    let raw = RawTarget::start().await?;
    let goes_on = Arc::new(Semaphore::new(0));
    raw.play([
        Move::Send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: first\n\n".into()),
        Move::Await(Arc::clone(&goes_on)),
        Move::Send("data: second\n\n".into()),
        Move::Close,
    ]);
    let authority = format!("target:{}", raw.address().port());
    let request = Request::get(format!("http://{authority}/events")).header("host", &authority);
    let stream = TcpStream::connect(ADDRESS).await?;
    let answer = within(ANSWER_LIMIT, "the head", open(stream, request.body(Full::default())?)).await??;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while !text.ends_with(b"first\n\n") {
        let frame = within(ANSWER_LIMIT, "the first event", body.frame())
            .await?
            .ok_or("the stream ended")??;
        text.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    goes_on.add_permits(1);
    let rest = within(ANSWER_LIMIT, "the rest", body.collect()).await??.to_bytes();
    assert_eq!(rest, "data: second\n\n");
    drop(layer);
    stack.end().await
}

async fn refused(context: Arc<SuiteContext>, via: Via) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let stranger = Credentials::new("ASIASTRANGER", "secret", None, None, "test");
    let caller = stack.url().caller;
    let forger = Credentials::new(caller.access_key_id(), "another secret", None, None, "test");
    for (role, words) in [
        (stranger, "billing"),
        (forger, "AWS rejected the signature of the function billing"),
    ] {
        let layer = start_as(&context, &stack, via, role).await?;
        let answer = send("GET", &format!("http://target:{PORT}/get"), "").await?;
        let (status, name, message) = error_of(&answer);
        assert_eq!((status, name), (403, "CallerNotAllowed"), "{message}");
        assert!(message.contains(words), "{message}");
        layer.process.stop(Duration::from_secs(2)).await;
    }
    stack.end().await
}

async fn proxys_errors(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| set(function, "TS_ALLOWED_TARGETS", "target:8080"))
        .await?;
    let layer = start(&context, &stack).await?;
    let answer = send("GET", "http://target:8081/get", "").await?;
    assert_eq!(error_of(&answer).1, "TargetNotAllowed", "{answer:?}");
    drop(layer);
    stack.end().await
}

async fn direct(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let layer = start(&context, &stack).await?;
    let answer = send("POST", &format!("http://127.0.0.1:{PORT}/post?a=1"), "straight").await?;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(
        text.contains("c3RyYWlnaHQ=") && !text.to_ascii_lowercase().contains("x-amz"),
        "{text}"
    );
    // By a tunnel, as clients ask for https: any bytes pass.
    let mut tunnel = open_tunnel(&format!("127.0.0.1:{PORT}"), "200").await?;
    let rest = b"GET /get?by=tunnel HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    tunnel.write_all(rest).await?;
    let mut text = String::new();
    within(ANSWER_LIMIT, "the answer", tunnel.read_to_string(&mut text)).await??;
    assert!(text.contains("\"by\""), "{text}");
    drop(layer);
    stack.end().await
}

async fn no_tunnel(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let layer = start(&context, &stack).await?;
    let mut client = open_tunnel("db.example.ts.net:443", "405").await?;
    client.shutdown().await?;
    let mut text = String::new();
    within(ANSWER_LIMIT, "the refusal", client.read_to_string(&mut text)).await??;
    assert!(text.contains("request http://db.example.ts.net:443/"), "{text}");
    drop(layer);
    stack.end().await
}

async fn tunnel(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let layer = start(&context, &stack).await?;
    let target = format!("target:{PORT}");
    let mut requests = open_tunnel(&target, "200").await?;
    for (closes, by) in [("", "first"), ("connection: close\r\n", "second")] {
        let request = format!("GET /get?by={by} HTTP/1.1\r\nhost: target:{PORT}\r\n{closes}\r\n");
        requests.write_all(request.as_bytes()).await?;
    }
    let mut text = String::new();
    within(ANSWER_LIMIT, "both responses", requests.read_to_string(&mut text)).await??;
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    assert!(text.contains("first") && text.contains("second"), "{text}");
    // As the target writes the names of headers; AWS writes its own in lower case.
    assert!(!text.contains("X-Amz-"), "{text}");

    // A ClientHello.
    let mut tls = open_tunnel(&target, "200").await?;
    tls.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await?;
    let mut rest = Vec::new();
    within(ANSWER_LIMIT, "the end of the tunnel", tls.read_to_end(&mut rest)).await??;
    let hint = layer.process.log().find(0, |line| {
        (line.contains("a tunnel ended: the tailnet's proxy takes requests") && line.contains("ts-https: true"))
            .then_some(())
    });
    within(ANSWER_LIMIT, "the hint", hint).await?;
    drop(layer);
    stack.end().await
}

async fn too_large(context: Arc<SuiteContext>, via: Via, body: Vec<u8>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let layer = start_as(&context, &stack, via, stack.url().caller).await?;
    let raw = RawTarget::start().await?;
    let answer = send("POST", &format!("http://target:{}/", raw.address().port()), body).await?;
    let (status, name, message) = error_of(&answer);
    assert_eq!((status, name), (413, "RequestTooLarge"), "{message}");
    assert_eq!(raw.seen().len(), 0);
    drop(layer);
    stack.end().await
}

async fn overhead(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let layer = start(&context, &stack).await?;
    let raw = RawTarget::start().await?;
    raw.play([Move::Send(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok".into(),
    )]);
    let port = raw.address().port();
    let (url, asked) = (stack.url(), format!("http://target:{port}/"));
    let (mut signed, mut layered) = (Vec::new(), Vec::new());
    let before = processor::of(layer.process.pid())?;
    // By turns, so that a busy machine slows both.
    for _ in 0..MEASURED {
        let request = url.request_to("target", port, "GET", "/").body(Bytes::new())?;
        let began = Instant::now();
        url.send(request).await?;
        signed.push(began.elapsed());
        let began = Instant::now();
        let answer = send("GET", &asked, "").await?;
        layered.push(began.elapsed());
        assert_eq!(answer.body(), "ok");
    }
    let spent = processor::of(layer.process.pid())? - before;
    let resident = Vitals::of(layer.process.pid())?.resident_kb;
    let (signed, layered) = (median(&signed), median(&layered));
    eprintln!(
        "median signed by the client {signed:?}, by the layer {layered:?}; {:?} of processor time for each request; {resident} kB resident",
        spent / u32::try_from(MEASURED)?
    );
    assert!(
        layered <= signed + OVERHEAD,
        "{layered:?} by the layer, {signed:?} without it"
    );
    drop(layer);
    stack.end().await
}
