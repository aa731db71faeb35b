//! A cold start: from the extension's start to the end of INIT, then the first answer; and a bare tailscaled beside it. And
//! what a large tailnet costs it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use testbed::{
    bounds,
    control::Crowd,
    server::{Sample, Server},
    starts::{Bare, Start, environment},
    suite::{SuiteContext, TestResult},
};

use crate::{
    path::{KEPT, Path},
    table::{self, Row},
};

/// How long all starts at one distance may take, and those in both tailnets.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// How many starts of each kind.
const STARTS: usize = 3;
/// A small tailnet and a large one, and how many of the machines are frozen environments of the function.
const TAILNETS: [(usize, usize); 2] = [(5, 0), (5000, 20)];

pub(crate) async fn measure(context: Arc<SuiteContext>, path: Path) -> TestResult {
    let stack = path.stack(&context, |_| ()).await?;
    let (mut ours, mut bare, mut reads, mut with_read) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let server = Server::keeping(&stack, KEPT).await?;
    for number in 1..=STARTS {
        ours.push(environment(&stack, &server).await?);
        if path.has_bare() {
            // Whoever drives a tailscaled in Lambda has to read the key first.
            let began = Instant::now();
            let key = stack.backends.read_secret().await?;
            let read = began.elapsed();
            let (node, start) = Bare::start(&stack, &format!("bare-{number}"), &key, &server).await?;
            reads.push(Sample::ok(read));
            with_read.push(Sample::ok(read + start.whole().took));
            bare.push(start);
            node.stop().await;
        }
    }
    stack.stop().await;
    let row = |who, what, samples| Row::new("cold start", path, who, what, samples);
    let mut rows = Vec::new();
    let mut whole_bound = None;
    if path.has_bare() {
        let whole = row("bare", "key read, start to first answer", with_read);
        whole_bound = Some(whole.median_ms);
        rows.extend([row("bare", "key read", reads), whole]);
        rows.extend(steps(&bare).map(|(what, samples)| row("bare", what, samples)));
    }
    let [ready, first, mut whole] = steps(&ours).map(|(what, samples)| row("ours", what, samples));
    let first = first.bounded(bounds::first_answer(path.round_trip()));
    whole.bound_ms = whole_bound;
    rows.extend([ready, first, whole]);
    table::add(rows)
}

/// Each step, and the samples of it.
fn steps(starts: &[Start]) -> [(&'static str, Vec<Sample>); 3] {
    let of = |step: fn(&Start) -> Sample| starts.iter().map(step).collect();
    [
        ("ready", of(|start| Sample::ok(start.ready))),
        ("first answer", of(|start| start.first)),
        ("start to first answer", of(Start::whole)),
    ]
}

/// A start in a small tailnet, and in a large one.
pub(crate) async fn crowd(context: Arc<SuiteContext>, path: Path) -> TestResult {
    let mut rows = Vec::new();
    for (peers, siblings) in TAILNETS {
        let backends = path.backends(&context).await?;
        backends.control.add_crowd(&Crowd::of(peers, siblings)).await?;
        let stack = backends.deploy(|_| ()).await?;
        let server = Server::closing(&stack).await?;
        let start = environment(&stack, &server).await?;
        stack.stop().await;
        let row = |what: &str, sample| Row::new("crowd", path, "ours", format!("{what}, {peers} peers"), vec![sample]);
        rows.push(row("ready", Sample::ok(start.ready)));
        rows.push(row("first answer", start.first).bounded(bounds::first_answer(path.round_trip())));
    }
    table::add(rows)
}
