//! A target that is switched off and asked for all the same, and what that costs the requests to another one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use testbed::{
    node::Node,
    suite::{Outcome, Setting, awake},
    world::AUTH_KEY,
};
use tokio::time::{sleep, sleep_until};

use crate::{
    bounds,
    path::{Path, Server, Watch},
    table::{self, Row},
};

/// How long all of it may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// How long the one that is off is asked for.
const PERIOD: Duration = Duration::from_secs(20);
/// It is asked for once in this time, if its request is answered within it.
const PAUSE: Duration = Duration::from_secs(3);
/// How often the other one is asked between.
const OTHERS: usize = 3;
/// The pause between two requests to it.
const BETWEEN: Duration = Duration::from_millis(200);

pub(crate) async fn measure(setting: Arc<Setting>, path: Path) -> Outcome {
    // One environment, so that what one request meets is what another one has done.
    let one = |function: &mut testbed::lambda::Function| {
        awake(function);
        function.settings.insert("maxEnvironments".into(), json!(1));
    };
    let world = path.world(&setting, one).await?;
    let surroundings = &world.surroundings;
    let other = Server::keeping(&world, Duration::from_secs(75)).await?;
    let off_node = Node::start(
        &surroundings.binaries.tailscaled,
        "off",
        None,
        &surroundings.control,
        AUTH_KEY,
        &surroundings.run_dir,
    )
    .await?;
    // Nothing is kept of a connection to it: each request dials.
    let off = Server::closing(&world).await?.behind(off_node.address());
    off.ask(&world, "GET").await;
    let mut before = Vec::new();
    for _ in 0..OTHERS * 3 {
        before.push(other.ask(&world, "GET").await);
        sleep(BETWEEN).await;
    }
    off_node.process.signal(Signal::SIGSTOP).await;
    let watch = Watch::start(&world).await?;
    let (mut meanwhile, mut to_off) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < PERIOD {
        let next = Instant::now() + PAUSE;
        to_off.push(off.ask(&world, "GET").await);
        for _ in 0..OTHERS {
            meanwhile.push(other.ask(&world, "GET").await);
            sleep(BETWEEN).await;
        }
        sleep_until(next.into()).await;
    }
    let seen = watch.seen(&world).await?;
    off_node.process.signal(Signal::SIGKILL).await;
    world.stop().await;
    let row = |what, samples| Row::new("target off", path, "ours", what, samples);
    table::add(vec![
        row("the other one, before", before).bounded(bounds::kept(path)),
        row("the other one, meanwhile", meanwhile)
            .bounded(bounds::kept(path))
            .with_watch(seen),
        row("the one that is off", to_off).expecting_failures(),
    ])
}
