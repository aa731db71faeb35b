//! The first request after a freeze: with the function's flows alive, and after a NAT has forgotten them.

use std::{sync::Arc, time::Duration};

use testbed::{
    Error,
    distance::Profile,
    nat,
    server::Sample,
    suite::{Outcome, Setting},
};
use tokio::time::sleep;

use crate::{
    contender::{Ask, Contender},
    handler::Handler,
    rounds::{count_failed, millis, rounds},
    rows::{self, Row},
    scene::Scene,
};

/// How long each freeze is.
const FREEZE: Duration = Duration::from_secs(3);
/// Freezes with dead flows: an unprepared handler takes its time-out for each.
const DEAD: usize = 2;

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    for handler in Handler::forwarding() {
        nat::remember().await?;
        nat::block_udp().await?;
        let surroundings = setting.surroundings_at(profile.distance).await?;
        let scene = Scene::around(surroundings).await?;
        let freezing = |function: &mut testbed::lambda::Function| {
            function.settings.insert("freeze".into(), true.into());
        };
        let mut contender = scene.deploy(handler, freezing).await?;
        contender.warm_up().await?;
        let (mut live, mut dead) = (Vec::new(), Vec::new());
        for _ in 0..rounds() {
            live.push(after(&mut contender, false).await?);
        }
        for _ in 0..DEAD {
            let sample = after(&mut contender, true).await?;
            dead.push(sample);
            // Its time-out has ended the environment.
            if sample.status != 200 {
                break;
            }
        }
        let row = |what: &str, samples: &[Sample]| {
            let times: Vec<_> = samples.iter().map(|sample| millis(sample.took)).collect();
            Row::new("thaw", "3 s, DERP", handler.name(), what, "ms", &times).with_failed(count_failed(samples))
        };
        rows::add(vec![
            row("first GET, live flows", &live),
            row("first GET, dead flows", &dead),
        ]);
        nat::remember().await?;
        scene.close(vec![contender]).await;
    }
    Ok(())
}

async fn after(contender: &mut Contender, dead: bool) -> Result<Sample, Error> {
    let since = contender.lambda().events.len();
    contender.ask(&Ask::get("/")).await;
    contender.lambda().reached(since, "frozen").await?;
    if dead {
        nat::forget_flows(contender.runtime()).await?;
    }
    // The freeze itself: its length is what is measured.
    sleep(FREEZE).await;
    Ok(contender.ask(&Ask::get("/")).await)
}
