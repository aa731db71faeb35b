//! The first request after a freeze, on a real tailnet: with the function's flows alive, and with a NAT that forgot them.
//!
//! UDP is blocked, so that everything goes by DERP, on the default route's interface.
#![allow(clippy::unwrap_used)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libtest_mimic::{Arguments, Failed, Trial};
use testbed::{
    Error,
    binaries::Binaries,
    lambda::Event,
    namespace::{Inside, Side, enter, exit_code},
    nat, network,
    target::PORT,
    world::World,
};

/// How many freezes of each kind, unless `THAWS` says otherwise.
const THAWS: usize = 5;
/// How long each freeze lasts, unless `FREEZE_SECONDS` says otherwise.
const FREEZE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let inside = match enter(None) {
        Ok(Side::Inside(inside)) => inside,
        Ok(Side::Outside(status)) => return exit_code(status).into(),
        Err(error) => return fail(&error),
    };
    if let Err(error) = network::set_up(&inside.run_dir) {
        return fail(&error);
    }
    let inside: &'static Inside = Box::leak(Box::new(inside));
    let trials = vec![
        Trial::test("a freeze that kills the flows costs the first request little", || {
            run(dead_flows(inside))
        }),
        Trial::test(
            "a freeze that leaves the flows alive costs the first request nothing",
            || run(live_flows(inside)),
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(test)
}

async fn dead_flows(inside: &Inside) -> Result<(), Failed> {
    let world = world(inside).await?;
    let warm = warm(&world).await?;
    let thaws = thaws(&world, true).await?;
    eprintln!("  warm {warm:.1?}; after freezes with dead flows {thaws:.1?}");
    assert!(
        thaws.iter().all(|took| *took < Duration::from_secs(1)),
        "a first request took over 1 s: {thaws:?}"
    );
    assert!(
        median(&thaws) < warm + Duration::from_millis(50),
        "median {:?}, warm {warm:?}",
        median(&thaws)
    );
    world.stop().await;
    Ok(())
}

async fn live_flows(inside: &Inside) -> Result<(), Failed> {
    let world = world(inside).await?;
    let warm = warm(&world).await?;
    let thaws = thaws(&world, false).await?;
    eprintln!("  warm {warm:.1?}; after freezes with live flows {thaws:.1?}");
    assert!(
        median(&thaws) < warm + Duration::from_millis(5),
        "median {:?}, warm {warm:?}",
        median(&thaws)
    );
    let log = world.lambda.process.log().tail();
    assert!(!log.contains("links had died"), "links were renewed for nothing: {log}");
    world.stop().await;
    Ok(())
}

async fn world(inside: &Inside) -> Result<World, Error> {
    nat::remember().await?;
    nat::block_udp().await?;
    World::start(Binaries::find()?, &inside.run_dir, &|_, _, _| (), |_| ()).await
}

async fn get(world: &World) -> Result<Duration, Error> {
    let address = world.surroundings.target.node.address();
    let request = world
        .url()
        .request("GET", "/get")
        .header("ts-target-ip", address.to_string());
    let request = request.header("ts-target-port", PORT).body(Bytes::new()).unwrap();
    let began = Instant::now();
    let answer = world.url().send(request).await?;
    let took = began.elapsed();
    assert_eq!(
        answer.status(),
        200,
        "{answer:?}; {}",
        world.lambda.process.log().tail()
    );
    Ok(took)
}

/// The median of a few requests one after the other, after the one that pays for the start.
async fn warm(world: &World) -> Result<Duration, Error> {
    let mut times = Vec::new();
    for _ in 0..12 {
        times.push(get(world).await?);
    }
    Ok(median(&times[2..]))
}

/// How long the first request took after each of a few freezes.
async fn thaws(world: &World, kill_flows: bool) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::new();
    for _ in 0..number("THAWS").map_or(THAWS, |count| usize::try_from(count).unwrap()) {
        let since = world.lambda.events.len();
        get(world).await?;
        world.lambda.events.find(since, frozen).await;
        if kill_flows {
            let pid = world.lambda.events.find(0, runtime_pid).await;
            assert!(nat::forget_flows(pid).await? > 0, "there was no new flow to forget");
        }
        // The freeze itself: its length is what is tested.
        tokio::time::sleep(number("FREEZE_SECONDS").map_or(FREEZE, Duration::from_secs)).await;
        times.push(get(world).await?);
    }
    Ok(times)
}

fn frozen(event: &Event) -> Option<()> {
    matches!(event, Event::Environment { state, .. } if state == "frozen").then_some(())
}

fn runtime_pid(event: &Event) -> Option<u32> {
    match event {
        Event::Process { name, state, pid, .. } if name == "runtime" && state == "started" => *pid,
        _ => None,
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|value| value.parse().expect("a number"))
}
