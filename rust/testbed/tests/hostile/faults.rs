//! Faults while requests run: each request has one answer, what must not be repeated reaches the target once at most, and
//! every request is counted once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libtest_mimic::Trial;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    faults::{Reported, Services, counted, round},
    lambda::Event,
    load::Load,
    raw_target::{Move, RawTarget},
    stack::TestStack,
    vitals::{pids, stop},
};
use tokio::{
    sync::Semaphore,
    task::{spawn_blocking, yield_now},
    time::sleep,
};

use crate::{SuiteContext, TestResult, set, without_freeze};

const REQUESTS: usize = 2000;
const CALLERS: usize = 4;
/// How many requests are sent between two looks at whether all faults are over.
const PORTION: usize = 100;
/// Some are on their way out while others take their place.
const ENVIRONMENTS: usize = 12;
const LIMIT: Duration = Duration::from_secs(240);
/// How often tailscaled fails at least: it is killed three times and stopped once.
const DAEMON_FAILURES: u64 = 3;
/// How long a process stands still in the middle of a request.
const FREEZE: Duration = Duration::from_millis(200);
/// The function's time-out where a request is to outlive it, in seconds.
const TIMEOUT_SECONDS: u32 = 2;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "faults: 2,000 requests get one response each and are counted once, whatever fails meanwhile" within LIMIT
            => answered,
        "faults: a freeze at any stage of a request does not change its outcome" => stages,
        "faults: an environment that ends during a request fails that request alone" => ended,
    ]
}

async fn answered(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    let mut services = Services::start(&backends).await?;
    let stack = backends.deploy(|function| {
        without_freeze(function);
        services.serve(function);
        function.settings.insert("maxEnvironments".into(), ENVIRONMENTS.into());
        set(function, "TS_METRICS_INTERVAL", "100");
        set(function, "TS_CONNECT_TIMEOUT", "8000");
    });
    let stack = stack.await?;
    let reported = Reported::follow(stack.lambda.process.log());
    let mut load = Load::start(&stack).await?;
    let began = Instant::now();
    let mut sent = 0;
    {
        let faults = round(&stack, &mut services);
        tokio::pin!(faults);
        let mut over = false;
        // At least so many, and until all that fails has failed.
        while sent < REQUESTS || !over {
            sent += PORTION;
            let sending = load.send(PORTION, CALLERS);
            tokio::pin!(sending);
            loop {
                tokio::select! {
                    done = &mut sending => break done?,
                    failed = &mut faults, if !over => { failed?; over = true; }
                }
            }
        }
    }
    let took = began.elapsed();
    // What was counted is told at the end of each environment.
    end(&stack).await?;
    let summary = load.check()?;
    let (success, failure) = counted(&stack).await?;
    let (answered, failed) = (summary.answered as f64, summary.failed.values().sum::<usize>() as f64);
    let sums = reported.sums();
    eprintln!("  {sent} requests in {took:.1?}: {summary:?}; counted {success} and {failure}; {sums:?}");
    assert_eq!(summary.service, 0, "{}", stack.log());
    assert!(
        success <= answered && failure <= failed,
        "counted twice: {success} and {failure} of {summary:?}"
    );
    assert!(
        success + failure + sums.lost as f64 >= answered + failed,
        "not counted: {success} and {failure} of {summary:?}, {sums:?}"
    );
    assert!(sums.daemon_failures >= DAEMON_FAILURES, "nothing failed: {sums:?}");
    assert!(summary.answered > sent / 2, "{summary:?}");
    stack.end().await
}

/// Ends all environments, as the service does by and by.
async fn end(stack: &TestStack) -> TestResult {
    let since = stack.lambda.events.len();
    for ended in stack.lambda.spin_down().await? {
        let stopped = stack.lambda.events.find(since, |event| match event {
            Event::Environment { id, state, .. } => (*id == ended && state == "stopped").then_some(()),
            _ => None,
        });
        // The test's own limit ends this.
        stopped.await;
    }
    Ok(())
}

/// The target holds the request up at each stage, and meanwhile everything in the environment stands still.
async fn stages(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(without_freeze).await?;
    let raw = RawTarget::start().await?;
    let machine = stack.backends.target.node.address();
    // The environment starts with the first request.
    raw.play([Move::Send("HTTP/1.1 204 No Content\r\n\r\n".into())]);
    assert_eq!(stack.get(machine, raw.address().port(), "/").await?.status(), 204);
    let gate = Arc::new(Semaphore::new(0));
    let wait = || Move::Await(Arc::clone(&gate));
    let pieces = ["HTTP/1.1 200 OK\r\nconte", "nt-length: 10\r\n\r\n", "hello", "world"];
    let mut moves = Vec::new();
    for piece in pieces {
        moves.extend([wait(), Move::Send(piece.into())]);
    }
    raw.play(moves);
    for method in ["GET", "POST"] {
        let since = raw.seen().len();
        let request = stack.url().request_to(machine, raw.address().port(), method, "/");
        let (url, request) = (stack.url(), request.body(Bytes::from_static(b"body"))?);
        let answer = tokio::spawn(async move { url.send(request).await });
        // On its way to the target, or before that.
        freeze().await?;
        raw.seen().find(since, |_| Some(())).await;
        for _ in pieces {
            freeze().await?;
            gate.add_permits(1);
            yield_now().await;
        }
        let answer = answer.await??;
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (200, &b"helloworld"[..]),
            "{method}"
        );
        let times = raw.seen().len() - since;
        assert!(raw.only_since(since).is_some(), "{method} was seen {times} times");
    }
    stack.end().await
}

/// Everything in the environment stands still for a moment.
async fn freeze() -> TestResult {
    let all = || ["/var/task/", "/opt/"].map(pids).concat();
    let stopping = spawn_blocking(move || all().into_iter().map(|pid| stop(pid).map(|()| pid)).collect());
    let stopped: std::io::Result<Vec<i32>> = stopping.await?;
    let stopped = stopped?;
    assert!(stopped.len() >= 3, "proxy, extension and tailscaled: {stopped:?}");
    // The freeze itself.
    sleep(FREEZE).await;
    for pid in stopped {
        kill(Pid::from_raw(pid), Signal::SIGCONT)?;
    }
    Ok(())
}

/// The function's process dies, outlives the function's time-out, or loses its extension, while the target has a POST.
async fn ended(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|function| {
        without_freeze(function);
        function
            .settings
            .insert("timeoutSeconds".into(), TIMEOUT_SECONDS.into());
        function.settings.insert("maxEnvironments".into(), 3.into());
    });
    let stack = stack.await?;
    let raw = RawTarget::start().await?;
    let machine = stack.backends.target.node.address();
    let request = |method| stack.url().request_to(machine, raw.address().port(), method, "/");
    for (victim, signal) in [
        ("/var/task/", Signal::SIGKILL),
        ("/var/task/", Signal::SIGSTOP),
        ("/opt/extensions/", Signal::SIGKILL),
    ] {
        let (since, events) = (raw.seen().len(), stack.lambda.events.len());
        raw.play([Move::Hang]);
        let (url, post) = (stack.url(), request("POST").body(Bytes::from_static(b"once"))?);
        let answer = tokio::spawn(async move { url.send(post).await });
        raw.seen().find(since, |_| Some(())).await;
        for pid in pids(victim) {
            kill(Pid::from_raw(pid), signal)?;
        }
        let answer = answer.await??;
        assert!(
            matches!(answer.status().as_u16(), 502 | 504),
            "{victim} {signal}: {answer:?}"
        );
        let times = raw.seen().len() - since;
        assert!(raw.only_since(since).is_some(), "{victim} {signal}: seen {times} times");
        raw.play([Move::Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into())]);
        let next = request("POST").body(Bytes::from_static(b"next"))?;
        let next = stack.url().send(next).await?;
        let log = || stack.log();
        assert_eq!(next.status(), 200, "after {victim} {signal}: {next:?}\n{}", log());
        stack.lambda.reached(events, "stopped").await?;
        let left = ["/var/task/", "/opt/extensions/", "/opt/bin/tailscaled"].map(|program| pids(program).len());
        assert_eq!(left, [1, 1, 1], "after {victim} {signal}");
    }
    stack.end().await
}
