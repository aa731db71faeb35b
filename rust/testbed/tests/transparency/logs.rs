//! What a log may show: not even with all details does it hold what a caller or a target keeps to itself.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use libtest_mimic::Trial;
use testbed::deadline::within;

use crate::{SuiteContext, TestResult, set};

/// What must not be seen.
const SECRET: &str = "do-not-log-me-4711";

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "logs: at debug they show each exchange, but no value that may be a secret" => debug,
    ]
}

async fn debug(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|function| set(function, "TS_DEBUG", "true")).await?;
    let log = stack.lambda.process.log().clone();
    // The second one has the target set a cookie.
    for path in [
        format!("/anything?key={SECRET}"),
        format!("/cookies/set?session={SECRET}"),
    ] {
        let request = stack.request("POST", &path).header("content-type", "text/plain");
        let request = request.header("ts-authorization", format!("Bearer {SECRET}"));
        let request = request.header("cookie", format!("session={SECRET}"));
        let request = request.header("x-api-key", SECRET);
        let before = log.len();
        let answer = stack.url().send(request.body(Bytes::from(SECRET))?).await?;
        assert!(!answer.headers().contains_key("ts-error-name"), "{answer:?}");
        let end = log.find(before, |line| line.contains("answered in").then_some(()));
        within(Duration::from_secs(2), "the proxy's last line", end).await?;
    }
    let details = log.look(0, |line| line.contains("x-api-key").then_some(()));
    assert!(details.is_some(), "the headers' names are not shown:\n{}", log.tail());
    stack.stop().await;
    let shown = log.look(0, |line| line.contains(SECRET).then(|| line.clone()));
    assert_eq!(shown, None);
    Ok(())
}
