//! Frozen environments, kept connections that died meanwhile, and the dials of 3,000 new ones.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use testbed::{
    deadline::within,
    lambda::Event,
    raw_target::{Move, RawTarget},
    stack::TestStack,
};
use tokio::time::sleep;

use crate::{SuiteContext, TestResult};

/// How many requests, each after a freeze.
const FREEZES: usize = 200;
/// How long a target's connection was idle when it hangs up.
const PAUSE: Duration = Duration::from_millis(150);
/// How many requests that each need a new connection.
const FRESH: usize = 3000;
/// How many cold starts.
const STARTS: usize = 20;
/// The longest that one of those may take.
const LONGEST: Duration = Duration::from_secs(1);
/// How long the freeze after a request may take to come.
const FREEZE_LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "freeze: no request fails although the target closes idle connections meanwhile" => freezes,
        "freeze: the first request of a new environment is answered, and soon" => starts,
        "freeze: of 3,000 requests over new connections none fails and none takes long" => fresh,
    ]
}

/// Sends a request, whose answer must be the target's, and tells how long that took.
async fn send(stack: &TestStack, raw: &RawTarget, method: &str, number: usize) -> Result<Duration, Failed> {
    let (url, target) = (stack.url(), stack.backends.target.node.address());
    let request = url.request_to(target, raw.address().port(), method, &format!("/{number}"));
    let body = if method == "POST" {
        format!("body {number}")
    } else {
        String::new()
    };
    let began = Instant::now();
    let answer = stack.url().send(request.body(Bytes::from(body))?).await?;
    let took = began.elapsed();
    if answer.status() == 200 && answer.body() == "ok" {
        return Ok(took);
    }
    Err(format!("{method} number {number} after {took:.1?}: {answer:?}\n{}", stack.log()).into())
}

async fn freezes(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let raw = RawTarget::start().await?;
    raw.play([Move::Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into())]);
    let mut times = Vec::new();
    for number in 0..FREEZES {
        let since = stack.lambda.events.len();
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        times.push(send(&stack, &raw, method, number).await?);
        stack.lambda.reached(since, "frozen").await?;
        // Every other pair of requests finds its kept connection alive.
        if number % 4 < 2 {
            raw.hang_up().await;
            // Servers hang up after a pause: callers in a row find what they left.
            sleep(PAUSE).await;
        }
    }
    // Each arrived once, though some GETs may have been sent twice: on a connection that was dead already.
    let posts = raw.seen().len();
    assert_eq!(posts, FREEZES, "the target saw {posts} requests");
    show("after a freeze each", times);
    stack.end().await
}

/// Each start is a new machine in the tailnet, of which the target has yet to hear.
async fn starts(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let raw = RawTarget::start().await?;
    raw.play([Move::Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into())]);
    let mut times = Vec::new();
    for number in 0..STARTS {
        let since = stack.lambda.events.len();
        send(&stack, &raw, "GET", number).await?;
        let invoked = stack.lambda.events.find(since, |event| match event {
            Event::Invocation {
                duration_ms,
                init_ms: Some(_),
                ..
            } => Some(*duration_ms),
            _ => None,
        });
        times.push(Duration::from_secs_f64(
            within(FREEZE_LIMIT, "word of the cold start", invoked).await? / 1000.0,
        ));
        stack.lambda.retire(since).await?;
    }
    let longest = show("first in a new environment each, after its INIT", times);
    assert!(longest < LONGEST, "a first request took {longest:?}");
    stack.end().await
}

async fn fresh(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let raw = RawTarget::start().await?;
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    raw.play([Move::Send(answer.into()), Move::Close]);
    // The first one pays for the start.
    send(&stack, &raw, "GET", 0).await?;
    let mut times = Vec::new();
    for number in 1..=FRESH {
        times.push(send(&stack, &raw, if number % 3 == 0 { "POST" } else { "GET" }, number).await?);
    }
    let longest = show("over a new connection each", times);
    assert!(longest < LONGEST, "a request took {longest:?}");
    stack.end().await
}

/// Prints how long requests took, and returns the longest.
fn show(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    let hedged = times.iter().filter(|took| **took > Duration::from_millis(250)).count();
    eprintln!(
        "{} requests {what}: median {:.1?}, p90 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, longest {:.1?}; {hedged} over 250 ms",
        times.len(),
        at(500),
        at(900),
        at(990),
        at(999),
        at(1000),
    );
    at(1000)
}
