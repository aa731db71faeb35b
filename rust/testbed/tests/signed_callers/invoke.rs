//! The layer where there is no Function URL: it invokes the proxy by Lambda's API, and the function's code is the same.

use std::{sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    caller_layer::CallerLayer,
    lambda::Function,
    stack::TestStack,
    suite::{set, stream},
    target::PORT,
};

use crate::{
    SuiteContext, TestResult,
    layer::{error_of, send},
};

const STOP_LIMIT: Duration = Duration::from_secs(2);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "invoke: an alias selects a profile, and an unknown alias is reported" => profiles,
        "invoke: the response of a proxy that streams arrives whole" => streamed,
    ]
}

async fn start(context: &SuiteContext, stack: &TestStack, alias: &str) -> Result<CallerLayer, Failed> {
    CallerLayer::start_by_invoke(&context.binaries, &context.run_dir, &stack.invoke_api(), alias).await
}

async fn profiles(context: Arc<SuiteContext>) -> TestResult {
    let adjust = |function: &mut Function| {
        function.settings.insert("aliases".into(), json!(["web", "db"]));
        set(function, "TS_PROFILES", &format!("web=target:{PORT};db=target:5432"));
    };
    let stack = context.stack(adjust).await?;
    let url = format!("http://target:{PORT}/get");
    for (alias, status, name) in [
        (":web", 200, ""),
        (":db", 403, "TargetNotAllowed"),
        (":dead", 502, "ProxyUnreachable"),
    ] {
        let layer = start(&context, &stack, alias).await?;
        let answer = send("GET", &url, "").await?;
        let (said, error, message) = error_of(&answer);
        assert_eq!((said, error), (status, name), "{alias}: {message}");
        layer.process.stop(STOP_LIMIT).await;
    }
    stack.end().await
}

async fn streamed(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(stream).await?;
    let layer = start(&context, &stack, "").await?;
    let answer = send("GET", &format!("http://target:{PORT}/get?a=1&a=2&b=%C3%A9"), "").await?;
    let said: Value = serde_json::from_slice(answer.body()).map_err(|error| format!("{error}: {answer:?}"))?;
    assert_eq!(said["args"], json!({"a": ["1", "2"], "b": ["é"]}), "{said}");
    drop(layer);
    stack.end().await
}
