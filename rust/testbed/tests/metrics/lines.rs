//! What the function's log says: a summary of each request, and metrics in the embedded format.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use testbed::{
    deadline::within,
    suite::set,
    target::{CLOSED_PORT, PORT},
    world::World,
};

use crate::{Outcome, REST_LIMIT, Setting, counted, request, trial_within};

/// How long such a test may take.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial_within(
            LIMIT,
            setting,
            "metrics: the log has a line of JSON for each request, without its secrets",
            summary,
        ),
        trial_within(
            LIMIT,
            setting,
            "metrics: in the embedded format they are lines of the log, and no calls",
            embedded,
        ),
    ]
}

/// The first JSON object among the lines of the log that `pick` takes.
async fn line(world: &World, pick: impl Fn(&Value) -> bool) -> Result<Value, libtest_mimic::Failed> {
    let found = world.lambda.process.log().find(0, |line| {
        let object: Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
        pick(&object).then_some(object)
    });
    Ok(within(REST_LIMIT, "a line of the log", found).await?)
}

async fn summary(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world(|function| set(function, "AWS_LAMBDA_LOG_FORMAT", "JSON"))
        .await?;
    let target = format!("{}:{PORT}", world.surroundings.target.node.address());
    request(&world, "/get?password=hunter2", PORT).await?;
    request(&world, "/get", CLOSED_PORT).await?;
    let of = |wanted: u64| move |line: &Value| line["message"] == "request" && line["status"] == wanted;
    let answered = line(&world, of(200)).await?;
    assert_eq!(
        (
            &answered["method"],
            &answered["target"],
            &answered["connection"],
            &answered["level"]
        ),
        (&json!("GET"), &json!(target), &json!("new"), &json!("INFO")),
        "{answered}"
    );
    assert!(
        answered["duration_ms"].as_f64() >= answered["first_byte_ms"].as_f64(),
        "{answered}"
    );
    assert!(!answered.to_string().contains("hunter2"), "{answered}");
    let failed = line(&world, of(502)).await?;
    assert_eq!(failed["error"], "TargetUnreachable", "{failed}");
    world.stop().await;
    Ok(())
}

async fn embedded(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world(|function| set(function, "TS_METRICS", "embedded"))
        .await?;
    request(&world, "/get", PORT).await?;
    let metric = line(&world, |line| line.get("_aws").is_some()).await?;
    assert_eq!(metric["_aws"]["CloudWatchMetrics"][0]["Namespace"], "tailscale-service");
    assert_eq!(
        metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"],
        json!([["service", "endpoint"]])
    );
    assert_eq!(metric["success"], json!({"Values": [1], "Counts": [1]}));
    assert_eq!(
        (&metric["service"], &metric["endpoint"]),
        (&json!("shop"), &json!("orders"))
    );
    assert_eq!(counted(&world).await?, (0.0, 0.0));
    world.stop().await;
    Ok(())
}
