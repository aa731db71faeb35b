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
    starts::{Bare, Start, environment},
    suite::{Outcome, Setting, awake, run},
    world::{AUTH_KEY, World},
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
    run(|setting| {
        testbed::trials![setting;
            "the first answer comes nearly as soon as by a bare tailscaled" => beside_bare,
            "where UDP is blocked nobody waits for it" => udp_blocked,
            "where UDP is blocked, the first answer takes three round trips at 100 ms" => udp_blocked_far_away,
            "a machine beside the function does not hold up the first answer at 100 ms" => neighbour,
            "a dial in a tailnet of 5,000 costs what it costs in one of 5" => crowd,
        ]
    })
}

async fn beside_bare(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(|_| ()).await?;
    let server = Server::keeping(&world, KEPT).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for number in 0..STARTS {
        ours.push(answered(environment(&world, &server).await?.whole()));
        let (node, start) = Bare::start(&world, &format!("bare-{number}"), AUTH_KEY, &server).await?;
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
    world.end().await
}

fn answered(sample: Sample) -> Duration {
    assert_eq!(sample.status, 200, "the first request was not answered");
    sample.took
}

/// A few starts of the function's environments, whose first requests must be answered.
async fn starts(world: &World) -> Result<Vec<Start>, Error> {
    let server = Server::keeping(world, KEPT).await?;
    let mut starts = Vec::new();
    for _ in 0..3 {
        let start = environment(world, &server).await?;
        answered(start.first);
        starts.push(start);
    }
    Ok(starts)
}

async fn udp_blocked(setting: Arc<Setting>) -> Outcome {
    nat::remember().await?;
    nat::block_udp().await?;
    let world = setting.world(|_| ()).await?;
    let times = starts(&world).await?;
    nat::remember().await?;
    assert!(
        times.iter().all(|start| start.whole().took < BLOCKED_LIMIT),
        "{times:?}"
    );
    world.end().await
}

/// The neighbour answers pings at once, and hears of the function from the control server, which is far away.
async fn neighbour(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings_at(Some(Distance::of_millis(FAR))).await?;
    let (neighbour, _) = surroundings
        .machine_beside_function("neighbour", SOCKS, AUTH_KEY)
        .await?;
    let world = surroundings.deploy(|_| ()).await?;
    let times = starts(&world).await?;
    assert!(
        times.iter().all(|start| start.whole().took < NEIGHBOUR_LIMIT),
        "{times:?}"
    );
    drop(neighbour);
    world.end().await
}

/// INIT waits for the login; what comes after it is WireGuard's handshake at most, TCP and HTTP.
async fn udp_blocked_far_away(setting: Arc<Setting>) -> Outcome {
    nat::remember().await?;
    nat::block_udp().await?;
    let world = setting.world_at(Some(Distance::of_millis(FAR)), |_| ()).await?;
    let times: Vec<_> = starts(&world).await?.iter().map(|start| start.first.took).collect();
    let goal = bounds::first_answer(Duration::from_millis(FAR));
    eprintln!("  first answers at {FAR} ms with UDP blocked: {times:.1?} (goal {goal:?})");
    assert!(median(&times) < goal + BUSY, "{times:.1?}");
    nat::remember().await?;
    world.end().await
}

/// Both tailnets stand at once and are asked by turns, so that what else the machine does falls on both; the least of the
/// rounds is what a dial costs.
async fn crowd(setting: Arc<Setting>) -> Outcome {
    let mut tailnets = Vec::new();
    for (peers, siblings) in [(5, 0), (5000, 20)] {
        // Each has files of its own.
        let run_dir = setting.run_dir.join(peers.to_string());
        std::fs::create_dir(&run_dir)?;
        let binaries = setting.binaries.clone();
        let surroundings = Setting { binaries, run_dir }.surroundings().await?;
        surroundings.control.add_crowd(&Crowd::of(peers, siblings)).await?;
        let world = surroundings.deploy(awake).await?;
        let server = Server::closing(&world).await?;
        server.must_answer(&world, "GET").await;
        // Nobody asks it, and the next one listens on the same port.
        let httpbin = &world.surroundings.target.httpbin;
        httpbin.signal(Signal::SIGTERM).await;
        httpbin.exited().await;
        let runtime = world.lambda.events.find(0, Event::runtime_started).await;
        tailnets.push((world, server, runtime));
    }
    let mut costs = [Duration::MAX; 2];
    for round in 1..=MOST_ROUNDS {
        for (cost, (world, server, runtime)) in costs.iter_mut().zip(&tailnets) {
            let before = processor::used(*runtime)?;
            for _ in 0..DIALS {
                server.must_answer(world, "GET").await;
            }
            *cost = (*cost).min((processor::used(*runtime)? - before) / DIALS);
        }
        if round >= LEAST_ROUNDS && costs[1] <= bounds::crowded(costs[0]) {
            break;
        }
    }
    eprintln!("  the processor's time of a dial in a tailnet of 5, and of 5,000: {costs:.2?}");
    assert!(costs[1] <= bounds::crowded(costs[0]), "{costs:?}");
    for (world, ..) in tailnets {
        world.stop().await;
    }
    Ok(())
}
