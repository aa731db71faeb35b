//! Bodies of 1 KB to 4.5 MB, both ways, as ratios of the direct path.

use std::sync::Arc;

use bytes::Bytes;
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

/// Name, bytes, and requests in a round.
const SIZES: [(&str, usize, usize); 4] = [
    ("1 KB", 1 << 10, 100),
    ("64 KB", 64 << 10, 50),
    ("1 MB", 1 << 20, 10),
    ("4.5 MB", 4_500_000, 5),
];

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let scene = Scene::open(&setting, profile).await?;
    let mut contenders = scene.contenders(|_| ()).await?;
    for (at, bytes, requests) in SIZES {
        let place = Place {
            part: "bodies",
            at: at.to_owned(),
        };
        let kinds = [
            Kind::new("download", Ask::get(format!("/?bytes={bytes}"))),
            Kind::new("upload", Ask::post("/", Bytes::from(vec![b'a'; bytes]))),
        ];
        rows::add(rounds::measure(&place, &mut contenders, &kinds, requests, true).await?);
    }
    scene.close(contenders).await;
    Ok(())
}
