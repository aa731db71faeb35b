//! GET, POST and https, over kept and new connections, at a distance.

use std::{sync::Arc, time::Duration};

use testbed::{
    distance::Profile,
    suite::{Outcome, Setting},
};

use crate::{
    contender::Ask,
    rounds::{self, Kind, Place},
    rows,
    scene::Scene,
};

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let scene = Scene::open(&setting, profile).await?;
    let mut contenders = scene.contenders(|_| ()).await?;
    let place = Place {
        part: "requests",
        at: profile.name.to_owned(),
    };
    let round_trip = profile.distance.map_or(Duration::ZERO, |distance| distance.round_trip);
    let requests = rounds::requests(round_trip);
    rows::add(rounds::measure(&place, &mut contenders, &kinds(), requests, false).await);
    scene.close(contenders).await;
    Ok(())
}

fn kinds() -> Vec<Kind> {
    let body = "a body of some forty bytes, as text/plain";
    vec![
        Kind::new("GET kept", Ask::get("/")),
        Kind::new("POST kept", Ask::post("/", body)),
        Kind::new("https kept", Ask::get("/").over_https()),
        Kind::new("GET new", Ask::get("/?close")),
        Kind::new("POST new", Ask::post("/?close", body)),
        Kind::new("https new", Ask::get("/?close").over_https()),
    ]
}
