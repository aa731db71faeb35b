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

const BODY: &str = "a body of some forty bytes, as text/plain";

/// Over connections to the target that are open.
pub(crate) async fn kept(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let kinds = [
        Kind::new("GET kept", Ask::get("/")),
        Kind::new("POST kept", Ask::post("/", BODY)),
        Kind::new("https kept", Ask::get("/").over_https()),
    ];
    measure(&setting, profile, &kinds).await
}

/// Each over a connection of its own.
pub(crate) async fn new(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let kinds = [
        Kind::new("GET new", Ask::get("/?close")),
        Kind::new("POST new", Ask::post("/?close", BODY)),
        Kind::new("https new", Ask::get("/?close").over_https()),
    ];
    measure(&setting, profile, &kinds).await
}

async fn measure(setting: &Setting, profile: Profile, kinds: &[Kind]) -> Outcome {
    let scene = Scene::open(setting, profile).await?;
    let mut contenders = scene.contenders(|_| ()).await?;
    let place = Place {
        part: "requests",
        at: profile.name.to_owned(),
    };
    let round_trip = profile.distance.map_or(Duration::ZERO, |distance| distance.round_trip);
    let requests = rounds::requests(round_trip);
    rows::add(rounds::measure(&place, &mut contenders, kinds, requests, false).await?);
    scene.close(contenders).await;
    Ok(())
}
