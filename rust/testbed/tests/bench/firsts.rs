//! What an environment's first https request, and its first metric, take beyond its second ones.

use std::{sync::Arc, time::Instant};

use testbed::{
    Error,
    distance::Profile,
    suite::{Outcome, Setting},
};

use crate::{
    contender::{Ask, Contender},
    handler::Handler,
    rounds::{millis, rounds},
    rows::{self, Row},
    scene::Scene,
};

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let scene = Scene::open(&setting, profile).await?;
    // moto imports a service at its first call.
    scene.surroundings.aws.metric_sum("bench", "none", &[]).await?;
    for handler in Handler::forwarding() {
        let (mut https, mut https_cpu, mut metric) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds() {
            let ask = Ask::get("/?close").over_https();
            let mut contender = fresh(&scene, handler).await?;
            let (first, first_cpu) = once(&mut contender, &ask).await;
            let (second, second_cpu) = once(&mut contender, &ask).await;
            https.push(first - second);
            https_cpu.push(first_cpu - second_cpu);
            contender.stop(std::time::Duration::from_secs(8)).await;
            // The others know nothing of metrics.
            if handler == Handler::Ours {
                let mut contender = fresh(&scene, handler).await?;
                let ask = Ask::get("/").counted();
                let (first, _) = once(&mut contender, &ask).await;
                let (second, _) = once(&mut contender, &ask).await;
                metric.push(first - second);
                contender.stop(std::time::Duration::from_secs(8)).await;
            }
        }
        let row = |what: &str, values: &[f64]| Row::new("firsts", profile.name, handler.name(), what, "ms", values);
        let mut rows = vec![
            row("first https beyond second", &https),
            row("first https beyond second, CPU", &https_cpu),
        ];
        if !metric.is_empty() {
            rows.push(row("first metric beyond second", &metric));
        }
        rows::add(rows);
    }
    scene.close(Vec::new()).await;
    Ok(())
}

/// A new environment that has answered plain requests.
async fn fresh(scene: &Scene, handler: Handler) -> Result<Contender, Error> {
    let mut contender = Contender::Function(scene.deploy(handler, |_| ()).await?);
    contender.warm_up().await?;
    for _ in 0..5 {
        contender.must_answer(&Ask::get("/?close")).await;
    }
    Ok(contender)
}

/// A request, and a plain one right after it, which waits for whatever the first one left to be done.
async fn once(contender: &mut Contender, ask: &Ask) -> (f64, f64) {
    let before = contender.processor().unwrap_or_default();
    let began = Instant::now();
    contender.must_answer(ask).await;
    contender.must_answer(&Ask::get("/")).await;
    let took = began.elapsed();
    let used = contender.processor().unwrap_or_default().saturating_sub(before);
    (millis(took), millis(used))
}
