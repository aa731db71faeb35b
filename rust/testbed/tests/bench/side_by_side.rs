//! 16 environments at once: their cold starts, their requests, and the memory that each adds.

use std::{sync::Arc, time::Instant};

use testbed::{
    distance::Profile,
    server::Sample,
    suite::{Outcome, Setting},
};
use tokio::task::JoinSet;

use crate::{
    contender::{Ask, Contender},
    handler::Handler,
    processes,
    rounds::{count_failed, millis, percentile, rounds},
    rows::{self, Row},
    scene::Scene,
};

const ENVIRONMENTS: usize = 16;
const AT: &str = "16 environments";
/// How many requests each caller sends in a round, one after the other.
const REQUESTS: usize = 50;

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    for handler in Handler::forwarding() {
        let scene = Scene::open(&setting, profile).await?;
        let deployed = scene.deploy(handler, |function| {
            function.settings.insert("maxEnvironments".into(), ENVIRONMENTS.into());
        });
        let deployed = deployed.await?;
        let began = Instant::now();
        // So long that none is free for another caller.
        let starts = at_once(&deployed, &Ask::get("/?delay=1s"), 1).await;
        let whole = millis(began.elapsed()) - 1000.0;
        let failed = count_failed(&starts);
        let row = |what: &str, unit, values: &[f64]| Row::new("side by side", AT, handler.name(), what, unit, values);
        let mut rows = vec![row("all started and answered", "ms", &[whole]).with_failed(failed)];
        let runtimes = deployed.runtimes();
        let mut members = Vec::new();
        for runtime in &runtimes {
            members.extend(processes::members(*runtime)?);
        }
        let (mut medians, mut tails, mut processor, mut failed) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..rounds() {
            let before = processes::processor(&members)?;
            let samples = at_once(&deployed, &Ask::get("/"), REQUESTS).await;
            let used = processes::processor(&members)?.saturating_sub(before);
            processor.push(millis(used) / samples.len() as f64);
            medians.push(percentile(&samples, 50));
            tails.push(percentile(&samples, 99));
            failed += count_failed(&samples);
        }
        let memory: Result<f64, _> = members.iter().map(processes::Member::proportional).sum();
        let each = memory? / runtimes.len() as f64;
        let row = |what: &str, unit, values: &[f64]| row(what, unit, values).with_failed(failed);
        rows.extend([
            row("environments", "", &[runtimes.len() as f64]),
            row("GET kept, median", "ms", &medians),
            row("GET kept, p99", "ms", &tails),
            row("GET kept, CPU", "ms", &processor),
            row("memory of each", "MB", &[each]),
        ]);
        rows::add(rows);
        scene.close(vec![deployed]).await;
    }
    Ok(())
}

/// As many callers as environments; each sends so many requests, one after the other.
async fn at_once(contender: &Contender, ask: &Ask, requests: usize) -> Vec<Sample> {
    let mut callers = JoinSet::new();
    for _ in 0..ENVIRONMENTS {
        let (mut caller, ask) = (contender.caller.another(), ask.clone());
        callers.spawn(async move {
            let mut samples = Vec::new();
            for _ in 0..requests {
                samples.push(caller.ask(&ask).await);
            }
            samples
        });
    }
    callers.join_all().await.concat()
}
