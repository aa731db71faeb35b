//! A peer that is off, and a path that loses packets: what they cost the others.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use testbed::{bounds, distance::Distance, expect::all_answered, freeze::median, nat, server::Server, watch::Watch};
use tokio::time::sleep;

use crate::{SuiteContext, TestResult, without_freeze};

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

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "a peer that is off does not slow down requests to another peer, at 0 ms" => |context| off(context, 0),
        "a peer that is off does not slow down requests to another peer, at 100 ms" => |context| off(context, 100),
        "200 requests over a path that loses 1 % are all answered" => loss,
    ]
}

async fn off(context: Arc<SuiteContext>, millis: u64) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let distance = (millis > 0).then(|| Distance::of_millis(millis));
    let stack = context.stack_at(distance, without_freeze).await?;
    let node = stack.backends.machine("off", None).await?;
    let other = Server::keeping(&stack, Duration::from_secs(75)).await?;
    // Nothing is kept of a connection to it: each request dials.
    let off = Server::closing(&stack).await?.behind(node.address());
    off.must_answer(&stack, "GET").await;
    other.must_answer(&stack, "GET").await;
    node.process.signal(Signal::SIGSTOP).await;
    let watch = Watch::start(&stack).await?;
    let (mut times, mut silences) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let silence = off.ask(&stack, "GET").await;
        assert_eq!(silence.status, 504, "it is off");
        silences.push(silence.took);
        for _ in 0..OTHERS {
            times.push(other.must_answer(&stack, "GET").await);
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
    assert_eq!(watch.seen(&stack).await?, (0, 0), "registrations, and new connections");
    node.process.signal(Signal::SIGKILL).await;
    stack.end().await
}

async fn loss(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    let stack = context.stack_at(Some(LOSSY), |_| ()).await?;
    all_answered(&stack, REQUESTS).await?;
    stack.end().await
}
