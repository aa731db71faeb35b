//! 200 MB through RESPONSE_STREAM: as a ratio of the direct path, and the most memory meanwhile.

use std::sync::Arc;

use testbed::{
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

const BYTES: usize = 200_000_000;
const AT: &str = "200 MB";

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let scene = Scene::open(&setting, profile).await?;
    let mut contenders = vec![Contender::Direct(scene.direct().await?)];
    // The published handler knows whole answers alone.
    for handler in [Handler::Ours, Handler::Go] {
        let deployed = scene.deploy(handler, |function| handler.stream(function)).await?;
        contenders.push(Contender::Function(deployed));
    }
    let ask = Ask::get(format!("/?bytes={BYTES}"));
    let mut times: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
    let mut processor: Vec<Vec<f64>> = times.clone();
    for contender in &mut contenders {
        contender.warm_up().await?;
        if let Some(deployed) = contender.function() {
            for member in deployed.members() {
                member.forget_peak()?;
            }
        }
    }
    for round in 0..rounds() {
        for turn in 0..contenders.len() {
            let who = (turn + round) % contenders.len();
            let before = contenders[who].processor();
            times[who].push(millis(contenders[who].must_answer(&ask).await));
            if let (Some(before), Some(after)) = (before, contenders[who].processor()) {
                processor[who].push(millis(after.saturating_sub(before)));
            }
        }
    }
    let mut rows = Vec::new();
    let direct = times[0].clone();
    for (who, contender) in contenders.iter_mut().enumerate() {
        let name = contender.name();
        let row = |what: String, unit, values: &[f64]| Row::new("stream", AT, name, what, unit, values);
        rows.push(row("time".into(), "ms", &times[who]));
        let Some(deployed) = contender.function() else { continue };
        let ratios: Vec<_> = times[who]
            .iter()
            .zip(&direct)
            .map(|(ours, direct)| ours / direct)
            .collect();
        rows.push(row("times direct".into(), "x", &ratios));
        rows.push(row("CPU".into(), "ms", &processor[who]));
        for member in deployed.members() {
            let peak = member.peak()?;
            rows.push(row(format!("peak memory of {}", member.name), "MB", &[peak]));
        }
    }
    rows::add(rows);
    scene.close(contenders).await;
    Ok(())
}
