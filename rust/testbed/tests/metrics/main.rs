//! Metrics by the shipped program: what the caller waits for, what CloudWatch has in the end, and what the log says.
//!
//! moto is CloudWatch, behind a proxy that fails on demand; counts are read back with GetMetricStatistics.
#![allow(clippy::unwrap_used)]

mod canary;
mod counts;
mod lines;

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use http::Response;
use libtest_mimic::Failed;
use testbed::{
    deadline::within,
    lambda::Event,
    stack::TestStack,
    suite::{SuiteContext, TestResult, run_all},
};

/// How long the freeze after a request, or the end of an environment, may take to come.
const REST_LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    run_all(&[canary::trials, counts::trials, lines::trials])
}

/// Asks the target for `path`, and for the request to be counted for the service `shop`.
async fn request(stack: &TestStack, path: &str, port: u16) -> Result<Response<Bytes>, Failed> {
    let request = stack
        .url()
        .request_to(stack.backends.target.node.address(), port, "GET", path)
        .header("ts-metric-service", "shop")
        .header("ts-metric-dimension-name", "endpoint")
        .header("ts-metric-dimension-value", "orders")
        .body(Bytes::new())?;
    Ok(stack.url().send(request).await?)
}

/// Waits until an environment is frozen, stopped, ..., from event number `since` on; returns the number of the event after.
async fn comes_to(stack: &TestStack, since: usize, wanted: &'static str) -> Result<usize, Failed> {
    let came = stack.lambda.events.find_numbered(since, |event| {
        matches!(event, Event::Environment { state, .. } if state == wanted).then_some(())
    });
    Ok(within(REST_LIMIT, wanted, came).await?.0)
}

/// Waits for the freeze after the request that was sent at event number `since`. The one after the request before may
/// come later than that.
async fn rests(stack: &TestStack, since: usize) -> TestResult {
    let invoked = comes_to(stack, since, "invoking").await?;
    comes_to(stack, invoked, "frozen").await.map(drop)
}

/// What CloudWatch has: successes and failures.
async fn counted(stack: &TestStack) -> Result<(f64, f64), Failed> {
    let dimensions = [("service", "shop"), ("endpoint", "orders")];
    let aws = &stack.backends.aws;
    let success = aws.metric_sum("tailscale-service", "success", &dimensions).await?;
    let failure = aws.metric_sum("tailscale-service", "failure", &dimensions).await?;
    Ok((success, failure))
}
