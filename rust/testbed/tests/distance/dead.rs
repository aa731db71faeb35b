//! The first request after a freeze in which a NAT forgot the function's flows.

use std::{sync::Arc, time::Duration};

use testbed::{
    Error, bounds,
    lambda::Event,
    nat,
    server::{Sample, Server},
    suite::{Outcome, Setting},
    watch::Watch,
    world::World,
};
use tokio::time::sleep;

use crate::{
    path::{Path, repeats, seconds},
    table::{self, Row},
};

/// How long the freezes are, unless `FREEZES` says otherwise.
const FREEZES: [u64; 2] = [3, 12];
/// How long servers keep idle connections.
const KEPT: [u64; 3] = [2, 5, 75];
const METHODS: [&str; 2] = ["GET", "POST"];

fn freezes() -> Vec<Duration> {
    seconds("FREEZES", &FREEZES)
}

pub(crate) fn limit() -> Duration {
    let once = freezes().into_iter().map(|freeze| freeze + Duration::from_secs(30));
    let times = u32::try_from(KEPT.len() * METHODS.len() * repeats()).unwrap();
    Duration::from_secs(60) + once.sum::<Duration>() * times
}

pub(crate) async fn measure(setting: Arc<Setting>, path: Path) -> Outcome {
    let world = path.world(&setting, |_| ()).await?;
    let mut rows = Vec::new();
    for kept in KEPT {
        let server = Server::keeping(&world, Duration::from_secs(kept)).await?;
        for freeze in freezes() {
            for method in METHODS {
                let mut samples = Vec::new();
                let mut seen = (0, 0);
                for _ in 0..repeats() {
                    let (sample, new) = after(&world, freeze, &server, method).await?;
                    samples.push(sample);
                    seen = (seen.0 + new.0, seen.1 + new.1);
                }
                let what = format!("{method} after {} s, server keeps {kept} s", freeze.as_secs());
                let row = Row::new("dead freeze", path, "ours", what, samples);
                rows.push(row.bounded(bounds::dead(path.round_trip())).with_watch(seen));
            }
        }
    }
    world.stop().await;
    table::add(rows)
}

async fn after(
    world: &World,
    freeze: Duration,
    server: &Server,
    method: &str,
) -> Result<(Sample, (u64, usize)), Error> {
    let since = world.lambda.events.len();
    server.ask(world, "GET").await;
    world.lambda.reached(since, "frozen").await?;
    let pid = world.lambda.events.find(0, Event::runtime_started).await;
    let watch = Watch::start(world).await?;
    nat::forget_flows(pid).await?;
    // The freeze itself: its length is what is measured.
    sleep(freeze).await;
    let sample = server.ask(world, method).await;
    Ok((sample, watch.seen(world).await?))
}
