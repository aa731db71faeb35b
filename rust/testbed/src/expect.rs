//! What tests on the real stack expect of a function, again and again. What is not as expected fails the test, with the
//! end of the function's log.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    Error, deadline::within, freeze::median, http_call::header, server::Server, stack::TestStack, suite::TestResult,
    target::PORT,
};

/// How soon a request must be answered once the trouble is known, INIT included.
const SOON: Duration = Duration::from_secs(2);

/// How soon a request must get through once its trouble is over: the longest pause between attempts, and a login. Measured are
/// 0.3 to 2.4 s, and up to 7 s on a machine that is busy with other things.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// A request for the target, and how long its answer took.
pub async fn get(stack: &TestStack) -> Result<(Response<Bytes>, Duration), Error> {
    let address = stack.backends.target.node.address();
    let began = Instant::now();
    let answer = stack.get(address, PORT, "/get").await?;
    Ok((answer, began.elapsed()))
}

/// The same, which must be the target's.
pub async fn answered(stack: &TestStack) -> Result<Duration, Error> {
    let (answer, took) = get(stack).await?;
    is_ok(stack, &answer);
    Ok(took)
}

/// An answer is the target's; else the function's log may say why it is not.
pub fn is_ok(stack: &TestStack, answer: &Response<Bytes>) {
    let log = stack.log();
    assert_eq!(answer.status(), StatusCode::OK, "{answer:?}\n{log}");
}

/// What the function itself finds out about its place in the tailnet, and its way to the target, as the doctor asks it.
pub async fn diagnosis(stack: &TestStack) -> Result<Value, Error> {
    let address = stack.backends.target.node.address().to_string();
    let headers = json!({"ts-target-ip": address, "ts-target-port": PORT.to_string()});
    let mut invoked = stack
        .invoke_api()
        .invoke("tailscale-proxy", &json!({"diagnose": headers}))
        .await?;
    Ok(invoked.payload["tailnet"].take())
}

/// The function's log has a line with `words`, or gets one soon: what it writes passes through local-lambda on its way
/// here, and may come after the answer that was sent later.
pub async fn logged(stack: &TestStack, since: usize, words: &str) {
    let log = stack.lambda.process.log();
    let line = log.find(since, |line| line.contains(words).then_some(()));
    let told = within(SOON, &format!("a line of the log with {words:?}"), line).await;
    told.unwrap_or_else(|late| panic!("{late}\n{}", log.tail()));
}

/// The answer is ours, says that there is no tailnet, and why; the function's log says the same.
pub async fn says_why(stack: &TestStack, answer: &Response<Bytes>, words: &[&str]) {
    let log = stack.lambda.process.log();
    let message = header(answer.headers(), "ts-error-message");
    assert_eq!(
        answer.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "{answer:?}\n{}",
        log.tail()
    );
    assert_eq!(answer.headers()["ts-error-name"], "TailnetUnavailable");
    for words in words {
        assert!(message.contains(words), "{message}\n{}", log.tail());
        logged(stack, 0, words).await;
    }
}

/// The first request to a function that cannot join the tailnet: answered soon, with `words` in its message.
pub async fn fails_soon(stack: &TestStack, words: &[&str]) -> TestResult {
    let (answer, took) = get(stack).await?;
    says_why(stack, &answer, words).await;
    assert!(took < SOON, "answered after {took:?}\n{}", stack.log());
    Ok(())
}

/// So many GETs and POSTs, over kept connections and over new ones, each of which must be answered by its server.
pub async fn all_answered(stack: &TestStack, requests: usize) -> TestResult {
    let servers = [
        Server::keeping(stack, Duration::from_secs(75)).await?,
        Server::closing(stack).await?,
    ];
    let mut times = Vec::new();
    for number in 0..requests {
        let method = if number % 4 < 2 { "GET" } else { "POST" };
        times.push(servers[number % 2].must_answer(stack, method).await);
    }
    let longest = times.iter().max().copied().unwrap_or_default();
    eprintln!(
        "  {requests} requests: {:.1?} in the median, {longest:.1?} the longest",
        median(&times)
    );
    Ok(())
}

/// Requests, one after the other, until the target answers one.
pub async fn recovers(stack: &TestStack) -> TestResult {
    let recovered = async {
        loop {
            let (answer, _) = get(stack).await?;
            if answer.status() == StatusCode::OK {
                return Ok::<_, Error>(());
            }
            let log = stack.log();
            // The one environment that there is may still be busy with the login that the last request brought about.
            let busy = answer.status() == StatusCode::TOO_MANY_REQUESTS;
            assert!(
                busy || answer.status() == StatusCode::SERVICE_UNAVAILABLE,
                "{answer:?}\n{log}"
            );
            // A caller's own pause before it tries again.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let began = Instant::now();
    let limited = within(RECOVERY, "an answer of the target's", recovered).await;
    eprintln!("  recovered after {:.1?}", began.elapsed());
    limited.map_err(|late| format!("{late}\n{}", stack.log()))??;
    Ok(())
}
