//! Requests after some quiet: with the function awake or frozen meanwhile, its flows alive, or frozen and its flows forgotten
//! by a NAT.

use std::{sync::Arc, time::Duration};

use testbed::{
    Error, bounds,
    lambda::Event,
    nat,
    server::{Sample, Server},
    stack::{AUTH_KEY, TestStack},
    starts::Bare,
    suite::{SuiteContext, TestResult, without_freeze as never_frozen},
    watch::Watch,
};
use tokio::time::sleep;

use crate::{
    path::{KEPT, Path, repeats, seconds},
    table::{self, Row},
};

/// How long there is quiet, in seconds; and with `LONG=1`.
const QUIET: [u64; 2] = [3, 12];
const LONG_QUIET: [u64; 3] = [3, 12, 70];
/// How long freezes with dead flows are, unless `FREEZES` says otherwise, and how long servers keep idle connections then.
const FREEZES: [u64; 2] = [3, 12];
const KEPT_FOR: [u64; 3] = [2, 5, 75];
/// How many kinds of requests each period has at most: of those with dead flows, by server and method.
const KINDS: u32 = 6;

/// What becomes of the function in the quiet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Awake,
    Frozen,
    Dead,
}

pub(crate) fn limit() -> Duration {
    let once = periods()
        .into_iter()
        .chain(freezes())
        .map(|period| period + Duration::from_secs(30));
    Duration::from_secs(60) + once.sum::<Duration>() * KINDS * u32::try_from(repeats()).unwrap()
}

fn periods() -> Vec<Duration> {
    let long = std::env::var("LONG").is_ok_and(|value| value == "1");
    seconds("QUIET", if long { &LONG_QUIET } else { &QUIET })
}

fn freezes() -> Vec<Duration> {
    seconds("FREEZES", &FREEZES)
}

pub(crate) async fn without_freeze(context: Arc<SuiteContext>, path: Path) -> TestResult {
    let stack = path.stack(&context, never_frozen).await?;
    live(stack, path, "quiet", Quiet::Awake).await?;
    if path.has_bare() {
        bare(&context, path).await?;
    }
    Ok(())
}

pub(crate) async fn frozen(context: Arc<SuiteContext>, path: Path) -> TestResult {
    let stack = path.stack(&context, |_| ()).await?;
    live(stack, path, "live freeze", Quiet::Frozen).await
}

async fn live(stack: TestStack, path: Path, part: &'static str, quiet: Quiet) -> TestResult {
    let (keeping, closing) = (Server::keeping(&stack, KEPT).await?, Server::closing(&stack).await?);
    keeping.ask(&stack, "GET").await;
    let (kept, other) = (bounds::kept(path.round_trip()), bounds::other(path.round_trip()));
    let mut rows = Vec::new();
    for period in periods() {
        for (what, server, method, bound) in [
            ("GET, kept connection", &keeping, "GET", kept),
            ("GET, new connection", &closing, "GET", other),
            ("POST, kept connection", &keeping, "POST", other),
        ] {
            let what = format!("{what}, after {} s", period.as_secs());
            let (samples, seen) = after(&stack, quiet, period, server, method).await?;
            let row = Row::new(part, path, "ours", what, samples);
            rows.push(row.bounded(bound).with_watch(seen));
        }
    }
    stack.stop().await;
    table::add(rows)
}

/// A bare tailscaled after the same quiet.
async fn bare(context: &SuiteContext, path: Path) -> TestResult {
    let stack = path.stack(context, |_| ()).await?;
    let server = Server::closing(&stack).await?;
    let (node, _) = Bare::start(&stack, "bare", AUTH_KEY, &server).await?;
    let mut rows = Vec::new();
    for period in periods() {
        let mut samples = Vec::new();
        for _ in 0..repeats() {
            // The quiet itself: its length is what is measured.
            sleep(period).await;
            samples.push(node.ask().await?);
        }
        let what = format!("GET, new connection, after {} s", period.as_secs());
        rows.push(Row::new("quiet", path, "bare", what, samples));
    }
    node.stop().await;
    stack.stop().await;
    table::add(rows)
}

pub(crate) async fn dead(context: Arc<SuiteContext>, path: Path) -> TestResult {
    let stack = path.stack(&context, |_| ()).await?;
    let mut rows = Vec::new();
    for kept in KEPT_FOR {
        let server = Server::keeping(&stack, Duration::from_secs(kept)).await?;
        for freeze in freezes() {
            for method in ["GET", "POST"] {
                let what = format!("{method} after {} s, server keeps {kept} s", freeze.as_secs());
                let (samples, seen) = after(&stack, Quiet::Dead, freeze, &server, method).await?;
                let row = Row::new("dead freeze", path, "ours", what, samples);
                rows.push(row.bounded(bounds::dead(path.round_trip())).with_watch(seen));
            }
        }
    }
    stack.stop().await;
    table::add(rows)
}

/// One request, some quiet, and the one that is measured, as often as each row is measured; and what the function did beside them
/// from the first's end on.
async fn after(
    stack: &TestStack,
    quiet: Quiet,
    period: Duration,
    server: &Server,
    method: &str,
) -> Result<(Vec<Sample>, (u64, usize)), Error> {
    let (mut samples, mut seen) = (Vec::new(), (0, 0));
    for _ in 0..repeats() {
        let since = stack.lambda.events.len();
        server.ask(stack, "GET").await;
        if quiet != Quiet::Awake {
            stack.lambda.reached(since, "frozen").await?;
        }
        let watch = Watch::start(stack).await?;
        if quiet == Quiet::Dead {
            let pid = stack.lambda.events.find(0, Event::runtime_started).await;
            nat::blackhole_flows(pid).await?;
        }
        // The quiet itself: its length is what is measured.
        sleep(period).await;
        samples.push(server.ask(stack, method).await);
        let (registrations, flows) = watch.seen(stack).await?;
        seen = (seen.0 + registrations, seen.1 + flows);
    }
    Ok((samples, seen))
}
