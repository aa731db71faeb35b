//! Resident memory after 10,000 requests.

use std::sync::Arc;

use testbed::{
    distance::Profile,
    suite::{Outcome, Setting},
};

use crate::{
    contender::Ask,
    handler::Handler,
    rows::{self, Row},
    scene::Scene,
};

/// How many requests come before it is measured.
const REQUESTS: usize = 10_000;
const AT: &str = "10,000 requests";

pub(crate) async fn measure(setting: Arc<Setting>, profile: Profile) -> Outcome {
    let scene = Scene::open(&setting, profile).await?;
    for handler in Handler::forwarding() {
        let mut contender = scene.deploy(handler, |_| ()).await?;
        contender.warm_up().await?;
        let kinds = [
            Ask::get("/"),
            Ask::post("/", "a small body"),
            Ask::get("/").over_https(),
            Ask::get("/?bytes=65536"),
        ];
        let mut failed = 0;
        for number in 0..REQUESTS {
            failed += usize::from(contender.ask(&kinds[number % kinds.len()]).await.status != 200);
        }
        let row = |what: String, megabytes| Row::new("memory", AT, handler.name(), what, "MB", &[megabytes]);
        let mut rows = Vec::new();
        for member in &contender.members {
            rows.push(row(format!("resident memory of {}", member.name), member.resident()?));
        }
        rows.push(row("resident memory, all".to_owned(), contender.resident()?).with_failed(failed));
        rows::add(rows);
        contender.stop().await;
    }
    scene.close(Vec::new()).await;
    Ok(())
}
