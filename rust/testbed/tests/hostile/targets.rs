//! Targets that misbehave: each ends in the right error or in what it sent, in time and in bounded memory, and the next
//! request to it, when it has come to its senses, is answered right.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use libtest_mimic::{Failed, Trial};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use testbed::{Error, deadline::within, http_call::header, lambda::Event, log::Log, stack::TestStack, vitals::Vitals};
use tokio::time::sleep;
use tokio_rustls::rustls::{ServerConfig, pki_types::PrivateKeyDer};

use crate::{
    SuiteContext, TestResult,
    actor::{Act, Actor},
    plays::{self, Ends, Play},
    set, stream, without_freeze,
};

/// Fewer prove less.
const LEAST_TARGETS: usize = 60;
/// What the function is set to, in milliseconds: the longest of them, and what a busy machine adds, bounds each answer.
const TIME_OUTS: [(&str, &str); 4] = [
    ("TS_CONNECT_TIMEOUT", "900"),
    ("TS_FIRST_BYTE_TIMEOUT", "400"),
    ("TS_IDLE_TIMEOUT", "400"),
    ("TS_RESPONSE_TIMEOUT", "1500"),
];
const IN_TIME: Duration = Duration::from_millis(4000);
/// What the proxy may need at most: three times the largest buffered response, itself, and what the allocator has yet to give
/// back. 25 to 29 MB are measured, and 33 MB on a busy machine.
const MOST_RESIDENT_KB: u64 = 40_000;
/// How many descriptors may be open at the end that were not before: connections that are kept.
const MORE_DESCRIPTORS: usize = 4;
/// How long the environment may be busy with a response that its caller no longer gets: as long as a response may take.
const FREE: Duration = Duration::from_secs(5);
/// The pause before it is asked again.
const BUSY: Duration = Duration::from_millis(20);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "targets: each misbehavior ends with the right response, in time, and leaves nothing behind, BUFFERED"
            => |context| misbehaving(context, false),
        "targets: each misbehavior ends with the right response, in time, and leaves nothing behind, RESPONSE_STREAM"
            => |context| misbehaving(context, true),
    ]
}

async fn misbehaving(context: Arc<SuiteContext>, streamed: bool) -> TestResult {
    let stack = context
        .stack(|function| {
            without_freeze(function);
            if streamed {
                stream(function);
                // One proxy: what it keeps of one target meets the next request.
                function.settings.insert("maxEnvironments".into(), 1.into());
            }
            for (name, value) in TIME_OUTS {
                set(function, name, value);
            }
            set(function, "TS_SKIP_TLS_VERIFICATION", "true");
        })
        .await?;
    let actor = Actor::start(tls_config()?).await?;
    healthy(&stack, &actor).await?;
    let pid = stack.lambda.events.find(0, Event::runtime_started).await;
    let before = Vitals::of(pid)?;
    let machine = stack.backends.target.node.address().to_string();
    let (plays, began) = (plays::all(), Instant::now());
    assert!(plays.len() >= LEAST_TARGETS, "only {} targets", plays.len());
    let (mut wrong, mut slowest) = (Vec::new(), Duration::ZERO);
    for play in &plays {
        actor.play(&play.acts);
        let (response, took) = ask(&stack, &actor, play).await?;
        slowest = slowest.max(took);
        if let Err(why) = judge(play.ends, response.as_ref(), &machine, streamed) {
            wrong.push(format!("{}: {why}", play.name));
        }
        if took > IN_TIME {
            wrong.push(format!("{}: it took {took:.1?}", play.name));
        }
        if let Err(why) = healthy(&stack, &actor).await {
            wrong.push(format!("after {}: {}", play.name, why.message().unwrap_or("failed")));
        }
    }
    let after = Vitals::of(pid)?;
    eprintln!(
        "  {} misbehaving targets in {:.1?}, the slowest {slowest:.1?}; the proxy before {before:?}, after {after:?}",
        plays.len(),
        began.elapsed()
    );
    if after.peak_kb > MOST_RESIDENT_KB || after.descriptors > before.descriptors + MORE_DESCRIPTORS {
        wrong.push(format!("the proxy grew from {before:?} to {after:?}"));
    }
    let log = stack.lambda.process.log().clone();
    stack.stop().await;
    if !wrong.is_empty() {
        let log = log.tail();
        return Err(format!("{} of {}:\n  {}\n{log}", wrong.len(), plays.len(), wrong.join("\n  ")).into());
    }
    logged_once(&log, 2 * plays.len() + 1, streamed);
    Ok(())
}

/// Each request has one line in the log, with the status that its caller got: 200 though the response broke off, where its
/// head had gone out by then.
fn logged_once(log: &Log, requests: usize, streamed: bool) {
    let lines = log.all(|line| {
        let (_, rest) = line.split_once(" request request_id=\"")?;
        let (id, rest) = rest.split_once('"')?;
        Some((id.to_owned(), rest.contains(" status=200 ") && rest.contains(" error=")))
    });
    let ids: HashSet<&str> = lines.iter().map(|(id, _)| &**id).collect();
    assert_eq!((lines.len(), ids.len()), (requests, requests), "lines and requests");
    let broken = lines.iter().filter(|(_, broken)| *broken).count();
    assert_eq!(broken > 0, streamed, "{broken} responses broke off");
}

/// What a caller got: a response, or none where it broke off, and how long that took.
async fn ask(stack: &TestStack, actor: &Actor, play: &Play) -> Result<(Option<Response<Bytes>>, Duration), Failed> {
    let machine = stack.backends.target.node.address();
    let method = if play.upload { "POST" } else { "GET" };
    let mut request = stack.url().request_to(machine, actor.port, method, "/");
    if play.https {
        request = request.header("ts-https", "true");
    }
    let body = if play.upload { vec![b'u'; 1_000_000] } else { Vec::new() };
    let (response, took) = send_when_free(stack, request.body(Bytes::from(body))?).await?;
    Ok((response.ok(), took))
}

/// Sends a request, again where the one environment is still busy with the last response: its caller had enough of it before
/// the proxy did. Tells how long the last try took.
async fn send_when_free(
    stack: &TestStack,
    request: Request<Bytes>,
) -> Result<(Result<Response<Bytes>, Error>, Duration), Failed> {
    let tries = async {
        loop {
            let began = Instant::now();
            let response = stack.url().send(request.clone()).await;
            match &response {
                Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => sleep(BUSY).await,
                _ => return (response, began.elapsed()),
            }
        }
    };
    Ok(within(FREE, "an environment that is not busy", tries).await?)
}

/// A healthy server at the same place answers as it should.
async fn healthy(stack: &TestStack, actor: &Actor) -> TestResult {
    actor.play(&[Act::Serve]);
    let machine = stack.backends.target.node.address();
    // With a body, and idempotent: the last target may have closed a kept connection without a word just now.
    let request = stack.url().request_to(machine, actor.port, "PUT", "/");
    let (response, _) = send_when_free(stack, request.body(Bytes::from_static(b"body"))?).await?;
    let response = response?;
    if response.status() == 200 && response.body() == "healthy" {
        return Ok(());
    }
    Err(format!("the next request: {response:?}").into())
}

fn judge(ends: Ends, response: Option<&Response<Bytes>>, machine: &str, streamed: bool) -> Result<(), String> {
    let told = |name| response.map_or("", |response| header(response.headers(), name));
    let (error, message) = (told("ts-error-name"), told("ts-error-message"));
    let whole = response.filter(|_| error.is_empty());
    let right = match ends {
        Ends::Fails(name) => error == name && message.contains(machine),
        Ends::Whole(status, body) => whole.is_some_and(|whole| whole.status() == status && whole.body() == body),
        // What is streamed may have been seen to be broken before its head left.
        Ends::Cut(name) => error == name || (streamed && response.is_none()),
        Ends::Endless if streamed => response.is_none(),
        Ends::Large if streamed => whole.is_some_and(|whole| whole.body().len() == 7_000_000),
        Ends::Endless | Ends::Large => error == "TargetUnreachable",
        Ends::Either => error == "TargetUnreachable" || whole.is_some(),
    };
    if right {
        return Ok(());
    }
    let shown = response.map(|response| format!("{} {message:?} {:?}", response.status(), response.body()));
    let shown = shown.unwrap_or_else(|| "broken off".into());
    let shown: String = shown.chars().take(300).collect();
    Err(format!("expected {ends:?}, got {shown}"))
}

fn tls_config() -> Result<ServerConfig, Failed> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["target.example".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    Ok(ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?)
}
