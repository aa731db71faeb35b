//! When and whether the function joins the tailnet: late by choice, in spite of proxy variables, and never from a snapshot.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use serde_json::json;
use testbed::{
    expect::logged,
    scripted_handler,
    suite::{SuiteContext, TestResult, set, without_freeze},
    target,
};
use tokio::time::sleep;

use crate::clients::deploy;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "join: a lazy function joins with its first connection, not before" => lazy,
        "join: a function in the background does not wait in INIT" => background,
    ]
}

async fn lazy(context: Arc<SuiteContext>) -> TestResult {
    let handler = scripted_handler::build(&context)?;
    let stack = deploy(context.backends().await?, &handler, |function| {
        set(function, "TS_JOIN", "lazy");
        without_freeze(function);
    })
    .await?;
    let echoed = scripted_handler::run(&stack, json!({"do": "echo"})).await?;
    assert_eq!(echoed["do"], "echo");
    // Long enough for a login, if there were one.
    sleep(Duration::from_secs(1)).await;
    let joined = || {
        let log = stack.lambda.process.log();
        log.look(0, |line| line.contains("joined tailnet as").then_some(()))
    };
    assert_eq!(joined(), None, "{}", stack.log());
    let host = stack.backends.target.node.address().to_string();
    let what = json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get"});
    let answer = scripted_handler::run(&stack, what).await?;
    assert_eq!(answer["status"], 200, "{answer}\n{}", stack.log());
    logged(&stack, 0, "joined tailnet as").await;
    stack.end().await
}

async fn background(context: Arc<SuiteContext>) -> TestResult {
    let handler = scripted_handler::build(&context)?;
    let stack = deploy(context.backends().await?, &handler, |function| {
        set(function, "TS_JOIN", "background");
    })
    .await?;
    let host = stack.backends.target.node.address().to_string();
    let what = json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get"});
    let answer = scripted_handler::run(&stack, what).await?;
    assert_eq!(answer["status"], 200, "{answer}\n{}", stack.log());
    stack.end().await
}
