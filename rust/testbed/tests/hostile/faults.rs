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
    vitals::{pids, stop},
    world::World,
};
use tokio::{
    sync::Semaphore,
    task::{spawn_blocking, yield_now},
    time::sleep,
};

use crate::{Outcome, Setting, awake, set};

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

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "faults: 2,000 requests have one answer each, and are counted once, whatever fails meanwhile" within LIMIT
            => answered,
        "faults: a freeze at each stage of a request changes nothing of it" => stages,
        "faults: an environment that ends in the middle of a request costs that request, and no other" => ended,
    ]
}

async fn answered(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let mut services = Services::start(&surroundings).await?;
    let world = surroundings.deploy(|function| {
        awake(function);
        services.serve(function);
        function.settings.insert("maxEnvironments".into(), ENVIRONMENTS.into());
        set(function, "TS_METRICS_INTERVAL", "100");
        set(function, "TS_CONNECT_TIMEOUT", "8000");
    });
    let world = world.await?;
    let reported = Reported::follow(world.lambda.process.log());
    let mut load = Load::start(&world).await?;
    let began = Instant::now();
    let mut sent = 0;
    {
        let faults = round(&world, &mut services);
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
    end(&world).await?;
    let summary = load.check()?;
    let (success, failure) = counted(&world).await?;
    let (answered, failed) = (summary.answered as f64, summary.failed.values().sum::<usize>() as f64);
    let sums = reported.sums();
    eprintln!("  {sent} requests in {took:.1?}: {summary:?}; counted {success} and {failure}; {sums:?}");
    assert_eq!(summary.service, 0, "{}", world.log());
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
    world.end().await
}

/// Ends all environments, as the service does by and by.
async fn end(world: &World) -> Outcome {
    let since = world.lambda.events.len();
    for ended in world.lambda.spin_down().await? {
        let stopped = world.lambda.events.find(since, |event| match event {
            Event::Environment { id, state, .. } => (*id == ended && state == "stopped").then_some(()),
            _ => None,
        });
        // The test's own limit ends this.
        stopped.await;
    }
    Ok(())
}

/// The target holds the request up at each stage, and meanwhile everything in the environment stands still.
async fn stages(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(awake).await?;
    let raw = RawTarget::start().await?;
    let machine = world.surroundings.target.node.address();
    // The environment starts with the first request.
    raw.play([Move::Send("HTTP/1.1 204 No Content\r\n\r\n".into())]);
    assert_eq!(world.get(machine, raw.address().port(), "/").await?.status(), 204);
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
        let request = world.url().request_to(machine, raw.address().port(), method, "/");
        let (url, request) = (world.url(), request.body(Bytes::from_static(b"body"))?);
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
    world.end().await
}

/// Everything in the environment stands still for a moment.
async fn freeze() -> Outcome {
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
async fn ended(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(|function| {
        awake(function);
        function
            .settings
            .insert("timeoutSeconds".into(), TIMEOUT_SECONDS.into());
        function.settings.insert("maxEnvironments".into(), 3.into());
    });
    let world = world.await?;
    let raw = RawTarget::start().await?;
    let machine = world.surroundings.target.node.address();
    let request = |method| world.url().request_to(machine, raw.address().port(), method, "/");
    for (victim, signal) in [
        ("/var/task/", Signal::SIGKILL),
        ("/var/task/", Signal::SIGSTOP),
        ("/opt/extensions/", Signal::SIGKILL),
    ] {
        let (since, events) = (raw.seen().len(), world.lambda.events.len());
        raw.play([Move::Hang]);
        let (url, post) = (world.url(), request("POST").body(Bytes::from_static(b"once"))?);
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
        let next = world.url().send(next).await?;
        let log = || world.log();
        assert_eq!(next.status(), 200, "after {victim} {signal}: {next:?}\n{}", log());
        world.lambda.reached(events, "stopped").await?;
        let left = ["/var/task/", "/opt/extensions/", "/opt/bin/tailscaled"].map(|program| pids(program).len());
        assert_eq!(left, [1, 1, 1], "after {victim} {signal}");
    }
    world.end().await
}
