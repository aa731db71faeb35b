//! What an environment's first https request, and its first metric, take beyond its second ones.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

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
            let (wall, cpu) = first_beyond_second(&scene, handler, &Ask::get("/?close").over_https()).await?;
            https.push(wall);
            https_cpu.push(cpu);
            // The others know nothing of metrics.
            if handler == Handler::Ours {
                metric.push(first_beyond_second(&scene, handler, &Ask::get("/").counted()).await?.0);
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

/// In a new environment that has answered plain requests: by the clock, and by the processor's time.
async fn first_beyond_second(scene: &Scene, handler: Handler, ask: &Ask) -> Result<(f64, f64), Error> {
    let mut contender = scene.deploy(handler, |_| ()).await?;
    contender.warm_up().await?;
    for _ in 0..5 {
        contender.must_answer(&Ask::get("/?close")).await;
    }
    let first = once(&mut contender, ask).await;
    let second = once(&mut contender, ask).await;
    contender.stop().await;
    Ok((first.0 - second.0, first.1 - second.1))
}

/// A request, and a plain one right after it, which waits for whatever the first one left to be done.
async fn once(contender: &mut Contender, ask: &Ask) -> (f64, f64) {
    let used = |contender: &Contender| contender.processors().iter().sum::<Duration>();
    let before = used(contender);
    let began = Instant::now();
    contender.must_answer(ask).await;
    contender.must_answer(&Ask::get("/")).await;
    let took = began.elapsed();
    let used = used(contender).saturating_sub(before);
    (millis(took), millis(used))
}
