//! The layer where there is no Function URL: it invokes the proxy by Lambda's API, and the function's code is the same.

use std::{sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    caller_layer::CallerLayer,
    lambda::Function,
    suite::{set, stream},
    target::PORT,
    world::World,
};

use crate::{
    Outcome, Setting,
    layer::{error_of, send},
};

const STOP_LIMIT: Duration = Duration::from_secs(2);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "invoke: an alias is a profile, and one that is not there is told of" => profiles,
        "invoke: a proxy that streams answers whole" => streamed,
    ]
}

async fn start(setting: &Setting, world: &World, alias: &str) -> Result<CallerLayer, Failed> {
    CallerLayer::start_by_invoke(&setting.binaries, &setting.run_dir, &world.invoke_api(), alias).await
}

async fn profiles(setting: Arc<Setting>) -> Outcome {
    let adjust = |function: &mut Function| {
        function.settings.insert("aliases".into(), json!(["web", "db"]));
        set(function, "TS_PROFILES", &format!("web=target:{PORT};db=target:5432"));
    };
    let world = setting.world(adjust).await?;
    let url = format!("http://target:{PORT}/get");
    for (alias, status, name) in [
        (":web", 200, ""),
        (":db", 403, "TargetNotAllowed"),
        (":dead", 502, "ProxyUnreachable"),
    ] {
        let layer = start(&setting, &world, alias).await?;
        let answer = send("GET", &url, "").await?;
        let (said, error, message) = error_of(&answer);
        assert_eq!((said, error), (status, name), "{alias}: {message}");
        layer.process.stop(STOP_LIMIT).await;
    }
    world.end().await
}

async fn streamed(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(stream).await?;
    let layer = start(&setting, &world, "").await?;
    let answer = send("GET", &format!("http://target:{PORT}/get?a=1&a=2&b=%C3%A9"), "").await?;
    let said: Value = serde_json::from_slice(answer.body()).map_err(|error| format!("{error}: {answer:?}"))?;
    assert_eq!(said["args"], json!({"a": ["1", "2"], "b": ["é"]}), "{said}");
    drop(layer);
    world.end().await
}
