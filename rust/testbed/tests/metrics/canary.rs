//! The canary that the construct adds: the very event that its rule sends, and the very metric that its alarm watches.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use testbed::{
    stack::TestStack,
    suite::set,
    target::{CLOSED_PORT, PORT},
};

use crate::{SuiteContext, TestResult, comes_to, rests};

/// What the construct makes of `addCanary('billing', { target: 'billing:8080' })`: test/canary.test.ts holds the template to
/// this file.
const CONTRACT: &str = include_str!("../../../../test/fixtures/canary.json");

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "canary: a response of its target satisfies its alarm, and a target that is gone does not" => canary,
    ]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What CloudWatch has of a metric with the alarm's dimensions.
async fn sum(stack: &TestStack, alarm: &Value, metric: &str) -> Result<f64, Failed> {
    let dimensions = alarm["Dimensions"].as_array().unwrap().iter();
    let dimensions: Vec<_> = dimensions
        .map(|dimension| (text(&dimension["Name"]), text(&dimension["Value"])))
        .collect();
    let aws = &stack.backends.aws;
    Ok(aws.metric_sum(text(&alarm["Namespace"]), metric, &dimensions).await?)
}

/// Whether an interval with what has been counted so far would count as a failure of the canary.
async fn breaches(stack: &TestStack, alarm: &Value) -> Result<bool, Failed> {
    Ok(sum(stack, alarm, text(&alarm["MetricName"])).await? < alarm["Threshold"].as_f64().unwrap())
}

async fn canary(context: Arc<SuiteContext>) -> TestResult {
    let contract: Value = serde_json::from_str(CONTRACT)?;
    let (mut event, alarm) = (contract["event"].clone(), &contract["alarm"]);
    for (port, answers) in [(CLOSED_PORT, false), (PORT, true)] {
        // After each request, so that nothing but the request itself is waited for.
        let stack = context
            .stack(|function| set(function, "TS_METRICS_INTERVAL", "0"))
            .await?;
        event["headers"]["ts-target-ip"] = stack.backends.target.node.address().to_string().into();
        event["headers"]["ts-target-port"] = port.to_string().into();
        assert!(breaches(&stack, alarm).await?, "nothing was counted yet");
        let since = stack.lambda.events.len();
        stack.invoke_api().send("tailscale-proxy", &event).await?;
        rests(&stack, since).await?;
        stack.lambda.spin_down().await?;
        comes_to(&stack, since, "stopped").await?;
        assert_eq!(breaches(&stack, alarm).await?, !answers);
        assert_eq!(sum(&stack, alarm, "failure").await?, if answers { 0.0 } else { 1.0 });
        stack.stop().await;
    }
    Ok(())
}
