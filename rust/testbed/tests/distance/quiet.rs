//! Requests after some quiet, with the function awake or frozen meanwhile, and its flows alive.

use std::{sync::Arc, time::Duration};

use testbed::{
    Error, bounds,
    lambda::Function,
    server::{Sample, Server},
    suite::{Outcome, Setting, awake as never_frozen},
    watch::Watch,
    world::{AUTH_KEY, World},
};
use tokio::time::sleep;

use crate::{
    bare::Bare,
    path::{Path, repeats, seconds},
    table::{self, Row},
};

/// How long there is quiet.
const QUIET: [u64; 2] = [3, 12];
/// And with `LONG=1`.
const LONG_QUIET: [u64; 3] = [3, 12, 70];
/// How long the server keeps idle connections: longer than any quiet.
const KEPT: Duration = Duration::from_secs(75);
/// The three kinds of requests, and the bare tailscaled's.
const KINDS: u32 = 4;

pub(crate) fn limit() -> Duration {
    let once = periods().into_iter().map(|period| period + Duration::from_secs(20));
    Duration::from_secs(60) + once.sum::<Duration>() * KINDS * u32::try_from(repeats()).unwrap()
}

fn periods() -> Vec<Duration> {
    let long = std::env::var("LONG").is_ok_and(|value| value == "1");
    seconds("QUIET", if long { &LONG_QUIET } else { &QUIET })
}

pub(crate) async fn awake(setting: Arc<Setting>, path: Path) -> Outcome {
    measure(&setting, path, "quiet", never_frozen).await?;
    if path.has_bare() {
        bare(&setting, path).await
    } else {
        Ok(())
    }
}

/// A bare tailscaled after the same quiet.
async fn bare(setting: &Setting, path: Path) -> Outcome {
    let world = path.world(setting, |_| ()).await?;
    let node = Bare::start(&world, "bare", AUTH_KEY).await?;
    node.ask().await?;
    let mut rows = Vec::new();
    for period in periods() {
        let mut samples = Vec::new();
        for _ in 0..repeats() {
            // The quiet itself: its length is what is measured.
            sleep(period).await;
            samples.push(Sample {
                took: node.ask().await?,
                status: 200,
            });
        }
        let what = format!("GET, new connection, after {} s", period.as_secs());
        rows.push(Row::new("quiet", path, "bare", what, samples));
    }
    node.stop().await;
    world.stop().await;
    table::add(rows)
}

pub(crate) async fn frozen(setting: Arc<Setting>, path: Path) -> Outcome {
    measure(&setting, path, "live freeze", |_| ()).await
}

async fn measure(setting: &Setting, path: Path, part: &'static str, adjust: impl FnOnce(&mut Function)) -> Outcome {
    let freezes = part == "live freeze";
    let world = path.world(setting, adjust).await?;
    let (keeping, closing) = (Server::keeping(&world, KEPT).await?, Server::closing(&world).await?);
    keeping.ask(&world, "GET").await;
    let mut rows = Vec::new();
    for period in periods() {
        for (what, server, method, bound) in [
            ("GET, kept connection", &keeping, "GET", bounds::kept(path.round_trip())),
            ("GET, new connection", &closing, "GET", bounds::other(path.round_trip())),
            (
                "POST, kept connection",
                &keeping,
                "POST",
                bounds::other(path.round_trip()),
            ),
        ] {
            let mut samples = Vec::new();
            let mut seen = (0, 0);
            for _ in 0..repeats() {
                let (sample, new) = after(&world, period, freezes, server, method).await?;
                samples.push(sample);
                seen = (seen.0 + new.0, seen.1 + new.1);
            }
            let row = Row::new(
                part,
                path,
                "ours",
                format!("{what}, after {} s", period.as_secs()),
                samples,
            );
            rows.push(row.bounded(bound).with_watch(seen));
        }
    }
    world.stop().await;
    table::add(rows)
}

/// One request, some quiet, and the one that is measured; what the function did beside them from the first's end on.
async fn after(
    world: &World,
    period: Duration,
    freezes: bool,
    server: &Server,
    method: &str,
) -> Result<(Sample, (u64, usize)), Error> {
    let since = world.lambda.events.len();
    server.ask(world, "GET").await;
    if freezes {
        world.lambda.reached(since, "frozen").await?;
    }
    let watch = Watch::start(world).await?;
    // The quiet itself: its length is what is measured.
    sleep(period).await;
    let sample = server.ask(world, method).await;
    Ok((sample, watch.seen(world).await?))
}
