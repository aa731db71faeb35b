//! A target that is switched off and asked for all the same, and what that costs the requests to another one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use testbed::{
    bounds,
    lambda::Function,
    server::Server,
    suite::{SuiteContext, TestResult},
    watch::Watch,
};
use tokio::time::{sleep, sleep_until};

use crate::{
    path::{KEPT, Path},
    table::{self, Row},
};

/// How long all of it may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// How long the one that is off is asked for.
const PERIOD: Duration = Duration::from_secs(20);
/// It is asked for once in this time, if its request is answered within it.
const PAUSE: Duration = Duration::from_secs(3);
/// How often it is then asked for alone.
const ALONE: usize = 4;
/// How often the other one is asked between.
const OTHERS: usize = 3;
/// The pause between two requests to it: long enough for a look at what is alive.
const FREEZE: Duration = Duration::from_millis(1500);

/// The function is frozen between two requests, as on Lambda: with each it has to see anew what is alive.
pub(crate) async fn frozen(context: Arc<SuiteContext>, path: Path) -> TestResult {
    // One environment, so that what one request meets is what another one has done.
    let one = |function: &mut Function| {
        function.settings.insert("maxEnvironments".into(), json!(1));
    };
    let stack = path.stack(&context, one).await?;
    let backends = &stack.backends;
    let other = Server::keeping(&stack, KEPT).await?;
    let off_node = backends.machine("off", None).await?;
    // Nothing is kept of a connection to it: each request dials.
    let off = Server::closing(&stack).await?.behind(off_node.address());
    off.ask(&stack, "GET").await;
    let mut before = Vec::new();
    for _ in 0..OTHERS * 3 {
        before.push(other.ask(&stack, "GET").await);
        sleep(FREEZE).await;
    }
    off_node.process.signal(Signal::SIGSTOP).await;
    let watch = Watch::start(&stack).await?;
    let (mut meanwhile, mut to_off) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < PERIOD {
        let next = Instant::now() + PAUSE;
        to_off.push(off.ask(&stack, "GET").await);
        for _ in 0..OTHERS {
            meanwhile.push(other.ask(&stack, "GET").await);
            sleep(FREEZE).await;
        }
        sleep_until(next.into()).await;
    }
    let seen = watch.seen(&stack).await?;
    let watch = Watch::start(&stack).await?;
    for _ in 0..ALONE {
        to_off.push(off.ask(&stack, "GET").await);
        sleep(FREEZE).await;
    }
    let after = vec![other.ask(&stack, "GET").await];
    let seen_alone = watch.seen(&stack).await?;
    off_node.process.signal(Signal::SIGKILL).await;
    stack.stop().await;
    let row = |what, samples| Row::new("off, frozen", path, "ours", what, samples);
    table::add(vec![
        row("the other one, before", before).bounded(bounds::kept(path.round_trip())),
        row("the other one, meanwhile", meanwhile)
            .bounded(bounds::kept(path.round_trip()))
            .with_watch(seen),
        row("the other one, after 4 to the one off alone", after)
            .bounded(bounds::kept(path.round_trip()))
            .with_watch(seen_alone),
        row("the one that is off", to_off).expecting_failures(),
    ])
}
