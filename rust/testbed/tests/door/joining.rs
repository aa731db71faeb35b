//! When and whether the function joins the tailnet: late by choice, in spite of proxy variables, and never from a snapshot.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use serde_json::json;
use testbed::{
    expect::logged,
    foreign,
    suite::{Outcome, Setting, awake, set},
    target,
};
use tokio::time::sleep;

use crate::clients::deploy;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "join: a lazy function joins with its first connection, and not before" => lazy,
        "join: a function in the background does not wait in INIT" => background,
    ]
}

async fn lazy(setting: Arc<Setting>) -> Outcome {
    let handler = foreign::handler(&setting)?;
    let world = deploy(setting.surroundings().await?, &handler, |function| {
        set(function, "TS_JOIN", "lazy");
        awake(function);
    })
    .await?;
    let echoed = foreign::tell(&world, json!({"do": "echo"})).await?;
    assert_eq!(echoed["do"], "echo");
    // Long enough for a login, if there were one.
    sleep(Duration::from_secs(1)).await;
    let joined = || {
        let log = world.lambda.process.log();
        log.look(0, |line| line.contains("joined tailnet as").then_some(()))
    };
    assert_eq!(joined(), None, "{}", world.log());
    let host = world.surroundings.target.node.address().to_string();
    let what = json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get"});
    let answer = foreign::tell(&world, what).await?;
    assert_eq!(answer["status"], 200, "{answer}\n{}", world.log());
    logged(&world, 0, "joined tailnet as").await;
    world.end().await
}

async fn background(setting: Arc<Setting>) -> Outcome {
    let handler = foreign::handler(&setting)?;
    let world = deploy(setting.surroundings().await?, &handler, |function| {
        set(function, "TS_JOIN", "background");
    })
    .await?;
    let host = world.surroundings.target.node.address().to_string();
    let what = json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get"});
    let answer = foreign::tell(&world, what).await?;
    assert_eq!(answer["status"], 200, "{answer}\n{}", world.log());
    world.end().await
}
