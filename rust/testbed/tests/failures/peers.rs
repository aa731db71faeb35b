//! A peer that is off, and a path that loses packets: what they cost the others.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use testbed::{bounds, distance::Distance, expect::all_answered, freeze::median, nat, server::Server, watch::Watch};
use tokio::time::sleep;

use crate::{Outcome, Setting, awake};

/// How often the one that is off is asked for; each of these requests takes as long as a connection may.
const ROUNDS: usize = 3;
/// How often the other one is asked after each of these requests, and the pause before the next.
const OTHERS: usize = 5;
const BETWEEN: Duration = Duration::from_millis(200);
/// Beyond the goals, for a machine that is busy with other things.
const BUSY: Duration = Duration::from_millis(20);
/// One packet in a hundred is lost, in each direction.
const LOSSY: Distance = Distance::of_millis(30).with_loss(0.01);
/// How many requests pass it.
const REQUESTS: usize = 200;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "a peer that is off costs the requests to another one nothing, at 0 ms" => |setting| off(setting, 0),
        "a peer that is off costs the requests to another one nothing, at 100 ms" => |setting| off(setting, 100),
        "200 requests over a path that loses 1 % are all answered" => loss,
    ]
}

async fn off(setting: Arc<Setting>, millis: u64) -> Outcome {
    nat::remember().await?;
    nat::block_udp().await?;
    let distance = (millis > 0).then(|| Distance::of_millis(millis));
    let world = setting.world_at(distance, awake).await?;
    let node = world.surroundings.machine("off", None).await?;
    let other = Server::keeping(&world, Duration::from_secs(75)).await?;
    // Nothing is kept of a connection to it: each request dials.
    let off = Server::closing(&world).await?.behind(node.address());
    off.must_answer(&world, "GET").await;
    other.must_answer(&world, "GET").await;
    node.process.signal(Signal::SIGSTOP).await;
    let watch = Watch::start(&world).await?;
    let (mut times, mut silences) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let silence = off.ask(&world, "GET").await;
        assert_eq!(silence.status, 504, "it is off");
        silences.push(silence.took);
        for _ in 0..OTHERS {
            times.push(other.must_answer(&world, "GET").await);
            sleep(BETWEEN).await;
        }
    }
    eprintln!("  requests to the one that is off: {silences:.1?}");
    let round_trip = Duration::from_millis(millis);
    let (middle, longest) = (median(&times), times.iter().max().copied().unwrap_or_default());
    eprintln!(
        "  {} requests meanwhile: {middle:.1?} in the median, {longest:.1?} the longest",
        times.len()
    );
    assert!(middle < bounds::kept(round_trip) + BUSY, "{times:.1?}");
    assert_eq!(watch.seen(&world).await?, (0, 0), "registrations, and new connections");
    node.process.signal(Signal::SIGKILL).await;
    world.end().await
}

async fn loss(setting: Arc<Setting>) -> Outcome {
    nat::remember().await?;
    let world = setting.world_at(Some(LOSSY), |_| ()).await?;
    all_answered(&world, REQUESTS).await?;
    world.end().await
}
