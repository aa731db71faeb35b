//! What a large tailnet costs: the same requests among 5 and among 5,000 machines.

use std::{sync::Arc, time::Duration};

use testbed::{
    control::Crowd,
    distance::Profile,
    suite::{Outcome, Setting},
};

use crate::{
    contender::Ask,
    rounds::{self, Kind, Place},
    rows,
    scene::Scene,
};

const SIZES: [(usize, &str); 2] = [(5, "5 peers"), (5000, "5,000 peers")];

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    for (peers, at) in SIZES {
        let scene = Scene::open(&setting, profile).await?;
        scene.surroundings.control.add_crowd(&Crowd::of(peers, 0)).await?;
        let mut contenders = scene.contenders(|_| ()).await?;
        let place = Place {
            part: "peers",
            at: at.to_owned(),
        };
        let kinds = [
            Kind::new("GET kept", Ask::get("/")),
            Kind::new("GET new", Ask::get("/?close")),
        ];
        let requests = rounds::requests(Duration::ZERO);
        let mut rows = rounds::measure(&place, &mut contenders, &kinds, requests, false).await?;
        for contender in &mut contenders {
            let name = contender.name();
            let Some(deployed) = contender.function() else { continue };
            let mut memory = 0.0;
            for member in deployed.members() {
                memory += member.resident()?;
            }
            rows.push(rows::Row::new(
                "peers",
                at,
                name,
                "resident memory, all",
                "MB",
                &[memory],
            ));
        }
        rows::add(rows);
        scene.close(contenders).await;
    }
    Ok(())
}
