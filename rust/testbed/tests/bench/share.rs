//! Requests at the share of a core that Lambda gives for 256, 884 and 1,769 MB: 0.145, 0.5 and 1.

use std::{sync::Arc, time::Duration};

use testbed::{
    Error,
    distance::Profile,
    suite::{Outcome, Setting},
};

use crate::{
    contender::Ask,
    rounds::{self, Kind, Place},
    rows,
    scene::Scene,
};

/// Memory in MB, and the share of a core that goes with it.
const SHARES: [(u32, &str); 3] = [(256, "0.145 core"), (884, "0.5 core"), (1769, "1 core")];

/// The kernel grants the share anew in each period of 20 ms. A caller that waits for it finds it whole; requests in a row
/// spend it, and wait for it in turn.
const PERIOD: Duration = Duration::from_millis(21);

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let scene = Scene::open(&setting, profile).await?;
    for (memory, at) in SHARES {
        let quota = |function: &mut testbed::lambda::Function| {
            function.settings.insert("cpuQuota".into(), true.into());
            function.settings.insert("memoryMb".into(), memory.into());
        };
        let mut contenders = match scene.contenders(quota).await {
            Ok(contenders) => contenders,
            Err(error) if lacks_quota(&error) => {
                eprintln!(
                    "  share of a core: NOT MEASURED: this machine has no cpu controller that can be written: {error}"
                );
                scene.close(Vec::new()).await;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let place = Place {
            part: "share of a core",
            at: at.to_owned(),
        };
        let kinds = [
            Kind::new("GET kept", Ask::get("/")).every(PERIOD),
            Kind::new("GET new", Ask::get("/?close")).every(PERIOD),
            Kind::new("GET kept, in a row", Ask::get("/")),
        ];
        let requests = rounds::requests(Duration::ZERO).div_ceil(2);
        rows::add(rounds::measure(&place, &mut contenders, &kinds, requests, false).await?);
        for contender in contenders {
            contender.stop(Duration::from_secs(8)).await;
        }
    }
    scene.close(Vec::new()).await;
    Ok(())
}

/// local-lambda's own words.
fn lacks_quota(error: &Error) -> bool {
    error.to_string().contains("`cpuQuota` is true, but")
}
