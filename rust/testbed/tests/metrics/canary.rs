//! The canary that the construct adds: the very event that its rule sends, and the very metric that its alarm watches.

use std::{collections::BTreeMap, sync::Arc};

use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use serde_json::Value;
use testbed::{
    invoke_api::InvokeApi,
    suite::set,
    target::{CLOSED_PORT, PORT},
    world::World,
};

use crate::{Outcome, Setting, comes_to, rests};

/// test/fixtures/canary.json, which test/canary.test.ts holds the template to.
const CONTRACT: &str = include_str!("../../../../test/fixtures/canary.json");

/// What the construct makes of `addCanary('billing', { target: 'billing:8080' })`.
#[derive(Deserialize)]
struct Contract {
    event: Value,
    alarm: Alarm,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alarm {
    namespace: String,
    metric_name: String,
    dimensions: Vec<BTreeMap<String, String>>,
    threshold: f64,
}

impl Alarm {
    /// What CloudWatch has of a metric with the alarm's dimensions.
    async fn sum(&self, world: &World, metric: &str) -> Result<f64, Failed> {
        let dimensions: Vec<_> = self
            .dimensions
            .iter()
            .map(|dimension| (dimension["Name"].as_str(), dimension["Value"].as_str()))
            .collect();
        Ok(world
            .surroundings
            .aws
            .metric_sum(&self.namespace, metric, &dimensions)
            .await?)
    }

    /// Whether an interval with what has been counted so far would count as a failure of the canary.
    async fn breaches(&self, world: &World) -> Result<bool, Failed> {
        Ok(self.sum(world, &self.metric_name).await? < self.threshold)
    }
}

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "canary: a response of its target satisfies its alarm, and a target that is gone does not" => canary,
    ]
}

async fn canary(setting: Arc<Setting>) -> Outcome {
    let Contract { mut event, alarm } = serde_json::from_str(CONTRACT)?;
    for (port, answers) in [(CLOSED_PORT, false), (PORT, true)] {
        // After each request, so that nothing but the request itself is waited for.
        let world = setting
            .world(|function| set(function, "TS_METRICS_INTERVAL", "0"))
            .await?;
        let api = InvokeApi {
            address: world.lambda.invoke_address().to_owned(),
            caller: world.url().caller,
        };
        event["headers"]["ts-target-ip"] = world.surroundings.target.node.address().to_string().into();
        event["headers"]["ts-target-port"] = port.to_string().into();
        assert!(alarm.breaches(&world).await?, "nothing was counted yet");
        let since = world.lambda.events.len();
        api.send("tailscale-proxy", &event).await?;
        rests(&world, since).await?;
        world.lambda.spin_down().await?;
        comes_to(&world, since, "stopped").await?;
        assert_eq!(alarm.breaches(&world).await?, !answers);
        let failures = alarm.sum(&world, "failure").await?;
        assert_eq!(failures, if answers { 0.0 } else { 1.0 });
        world.stop().await;
    }
    Ok(())
}
