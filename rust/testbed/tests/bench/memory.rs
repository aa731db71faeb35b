//! Resident memory after 10,000 requests.

use std::sync::Arc;

use testbed::{
    distance::Profile,
    suite::{Outcome, Setting},
};

use crate::{
    contender::{Ask, Contender},
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
        let mut contender = Contender::Function(scene.deploy(handler, |_| ()).await?);
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
        let mut rows = Vec::new();
        let mut all = 0.0;
        let deployed = contender.function().expect("it is a function");
        for member in deployed.members() {
            let resident = member.resident()?;
            all += resident;
            let what = format!("resident memory of {}", member.name);
            rows.push(Row::new("memory", AT, handler.name(), what, "MB", &[resident]));
        }
        let whole = Row::new("memory", AT, handler.name(), "resident memory, all", "MB", &[all]);
        rows.push(whole.with_failed(failed));
        rows::add(rows);
        contender.stop(std::time::Duration::from_secs(8)).await;
    }
    scene.close(Vec::new()).await;
    Ok(())
}
