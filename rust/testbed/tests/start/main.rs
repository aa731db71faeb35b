//! How long a new environment takes to its first answer through the tailnet: beside a tailscaled that is driven the
//! same way, and where no UDP gets out. And what dials cost in a large tailnet.
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::Signal;
use testbed::{
    Error, bounds,
    control::Crowd,
    distance::Distance,
    freeze::median,
    lambda::Event,
    nat, processor,
    server::{Sample, Server},
    stack::{AUTH_KEY, TestStack},
    starts::{Bare, Start, environment},
    suite::{SuiteContext, TestResult, run, without_freeze},
};

/// How many starts of each kind.
const STARTS: usize = 10;
/// How many times a bare tailscaled's time the extension may take, both in the median. The goal is 1.5 on a machine with
/// nothing else to do; where others want the processor, all that Lambda and the proxy do in that time weighs more.
const TIMES: f64 = 2.5;
/// How long a start may take where UDP is blocked, from the extension's own to the answer. Left to itself, tailscaled
/// waits 3 s for STUN before it turns to a DERP server.
const BLOCKED_LIMIT: Duration = Duration::from_secs(1);
/// How long a start may take at 100 ms, of which the login's round trips are 700 ms. A first message that is lost costs 5 s.
const NEIGHBOUR_LIMIT: Duration = Duration::from_secs(2);
/// A distance, in milliseconds.
const FAR: u64 = 100;
/// Beyond the goal, for a machine that is busy with other things.
const BUSY: Duration = Duration::from_millis(100);
/// How many dials are counted together: the kernel counts in steps of 10 ms.
const DIALS: u32 = 200;
/// How often, at least and at most: the least cost counts, because others want the processor too.
const LEAST_ROUNDS: usize = 4;
const MOST_ROUNDS: usize = 20;
/// How long the server keeps idle connections.
const KEPT: Duration = Duration::from_secs(75);
/// Where the neighbour's SOCKS5 server listens.
const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1088);

fn main() -> ExitCode {
    run(|context| {
        testbed::trials![context;
            "the first response takes little longer than with a bare tailscaled" => beside_bare,
            "a start does not wait for UDP where it is blocked" => udp_blocked,
            "where UDP is blocked, the first response takes three round trips at 100 ms" => udp_blocked_far_away,
            "a peer near the function does not delay the first response at 100 ms" => neighbour,
            "a dial in a tailnet of 5,000 costs as much CPU time as in one of 5" => crowd,
        ]
    })
}

async fn beside_bare(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let server = Server::keeping(&stack, KEPT).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for number in 0..STARTS {
        ours.push(answered(environment(&stack, &server).await?.whole()));
        let (node, start) = Bare::start(&stack, &format!("bare-{number}"), AUTH_KEY, &server).await?;
        bare.push(answered(start.whole()));
        node.stop().await;
    }
    let times = median(&ours).as_secs_f64() / median(&bare).as_secs_f64();
    eprintln!(
        "  start to first answer: extension {:.1?}, bare {:.1?}: {times:.2} times (the goal is 1.5)",
        median(&ours),
        median(&bare)
    );
    eprintln!("    extension {ours:.1?}\n    bare {bare:.1?}");
    assert!(times <= TIMES, "{times:.2} times as long");
    stack.end().await
}

fn answered(sample: Sample) -> Duration {
    assert_eq!(sample.status, 200, "the first request was not answered");
    sample.took
}

/// A few starts of the function's environments, whose first requests must be answered.
async fn starts(stack: &TestStack) -> Result<Vec<Start>, Error> {
    let server = Server::keeping(stack, KEPT).await?;
    let mut starts = Vec::new();
    for _ in 0..3 {
        let start = environment(stack, &server).await?;
        answered(start.first);
        starts.push(start);
    }
    Ok(starts)
}

async fn udp_blocked(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let stack = context.stack(|_| ()).await?;
    let times = starts(&stack).await?;
    nat::reset().await?;
    assert!(
        times.iter().all(|start| start.whole().took < BLOCKED_LIMIT),
        "{times:?}"
    );
    stack.end().await
}

/// The neighbour answers pings at once, and hears of the function from the control server, which is far away.
async fn neighbour(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends_at(Some(Distance::of_millis(FAR))).await?;
    let (neighbour, _) = backends.machine_beside_function("neighbour", SOCKS, AUTH_KEY).await?;
    let stack = backends.deploy(|_| ()).await?;
    let times = starts(&stack).await?;
    assert!(
        times.iter().all(|start| start.whole().took < NEIGHBOUR_LIMIT),
        "{times:?}"
    );
    drop(neighbour);
    stack.end().await
}

/// INIT waits for the login; what comes after it is WireGuard's handshake at most, TCP and HTTP.
async fn udp_blocked_far_away(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let stack = context.stack_at(Some(Distance::of_millis(FAR)), |_| ()).await?;
    let times: Vec<_> = starts(&stack).await?.iter().map(|start| start.first.took).collect();
    let goal = bounds::first_answer(Duration::from_millis(FAR));
    eprintln!("  first answers at {FAR} ms with UDP blocked: {times:.1?} (goal {goal:?})");
    assert!(median(&times) < goal + BUSY, "{times:.1?}");
    nat::reset().await?;
    stack.end().await
}

/// Both tailnets stand at once and are asked by turns, so that what else the machine does falls on both; the least of the
/// rounds is what a dial costs.
async fn crowd(context: Arc<SuiteContext>) -> TestResult {
    let mut tailnets = Vec::new();
    for (peers, siblings) in [(5, 0), (5000, 20)] {
        // Each has files of its own.
        let run_dir = context.run_dir.join(peers.to_string());
        std::fs::create_dir(&run_dir)?;
        let binaries = context.binaries.clone();
        let backends = SuiteContext { binaries, run_dir }.backends().await?;
        backends.control.add_crowd(&Crowd::of(peers, siblings)).await?;
        let stack = backends.deploy(without_freeze).await?;
        let server = Server::closing(&stack).await?;
        server.must_answer(&stack, "GET").await;
        // Nobody asks it, and the next one listens on the same port.
        let httpbin = &stack.backends.target.httpbin;
        httpbin.signal(Signal::SIGTERM).await;
        httpbin.exited().await;
        let runtime = stack.lambda.events.find(0, Event::runtime_started).await;
        tailnets.push((stack, server, runtime));
    }
    let mut costs = [Duration::MAX; 2];
    for round in 1..=MOST_ROUNDS {
        for (cost, (stack, server, runtime)) in costs.iter_mut().zip(&tailnets) {
            let before = processor::used(*runtime)?;
            for _ in 0..DIALS {
                server.must_answer(stack, "GET").await;
            }
            *cost = (*cost).min((processor::used(*runtime)? - before) / DIALS);
        }
        if round >= LEAST_ROUNDS && costs[1] <= bounds::crowded(costs[0]) {
            break;
        }
    }
    eprintln!("  the processor's time of a dial in a tailnet of 5, and of 5,000: {costs:.2?}");
    assert!(costs[1] <= bounds::crowded(costs[0]), "{costs:?}");
    for (stack, ..) in tailnets {
        stack.stop().await;
    }
    Ok(())
}
