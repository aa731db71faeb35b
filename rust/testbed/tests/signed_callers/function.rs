//! The layer in a caller's function of its own, in a Lambda host: INIT, freezes, and the environment's own network.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    deadline::within,
    door::Door,
    function_url::FunctionUrl,
    lambda::{Function, LocalLambda},
    network::ADDRESS,
    target::PORT,
};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{Outcome, Setting, trial};

/// A runtime that knows nothing of signatures: it has curl, and `http_proxy`.
const BOOTSTRAP: &str = r#"#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
  curl -s --noproxy '*' -D /tmp/head -o /tmp/event "$api/next" || exit 1
  id=$(sed -n 's/^lambda-runtime-aws-request-id: *//Ip' /tmp/head | tr -d '\r')
  curl -sS -o /tmp/answer "$ASK" 2> /tmp/complaint || printf '{"failed":"curl"}' > /tmp/answer
  curl -s --noproxy '*' -o /dev/null --data-binary @/tmp/answer "$api/$id/response" || exit 1
done
"#;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![trial(
        setting,
        "function: code that knows nothing of signatures reaches the target, cold, warm, and after a freeze that closed its connections",
        freezes,
    )]
}

async fn freezes(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(|_| ()).await?;
    let proxy = world.url();
    // The environment has a network of its own: it reaches the URL by this machine's address there.
    let mut door = Door::open(SocketAddr::new(IpAddr::V4(ADDRESS), 0), proxy.address.parse()?).await?;
    let address = door.address();
    let caller = caller(&setting, &proxy, &format!("http://{address}/"))?;
    let lambda = LocalLambda::start(&setting.binaries, &caller, &setting.run_dir, None).await?;
    let url = FunctionUrl {
        address: lambda.address().to_owned(),
        caller: proxy.caller.clone(),
    };
    let began = Instant::now();
    ask(&url, &lambda).await?;
    let cold = began.elapsed();
    let began = Instant::now();
    ask(&url, &lambda).await?;
    eprintln!("the caller's function: cold {cold:?}, warm {:?}", began.elapsed());
    for _ in 0..3 {
        let since = lambda.events.len();
        ask(&url, &lambda).await?;
        lambda.reached(since, "frozen").await?;
        // Meanwhile the service closes what is idle.
        door.close();
        door = reopen(address, proxy.address.parse()?).await?;
        ask(&url, &lambda).await?;
    }
    drop(door);
    lambda.process.stop(std::time::Duration::from_secs(8)).await;
    world.stop().await;
    Ok(())
}

/// Opens the door at the same address, as soon as the system lets it go.
async fn reopen(address: SocketAddr, to: SocketAddr) -> Result<Door, Failed> {
    let opened = async {
        loop {
            match Door::open(address, to).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                opened => return opened,
            }
        }
    };
    Ok(within(std::time::Duration::from_secs(5), "the door's address", opened).await??)
}

fn caller(setting: &Setting, proxy: &FunctionUrl, url: &str) -> Result<Function, Failed> {
    let handler = setting.run_dir.join("caller.zip");
    let mut zip = ZipWriter::new(File::create(&handler)?);
    zip.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755))?;
    zip.write_all(BOOTSTRAP.as_bytes())?;
    zip.finish()?;
    let role =
        json!({"accessKeyId": proxy.caller.access_key_id(), "secretAccessKey": proxy.caller.secret_access_key()});
    let settings = [
        ("functionName", json!("billing")),
        ("handlerZip", json!(handler)),
        ("layerZips", json!([setting.binaries.caller_zip])),
        ("executionRole", role),
    ];
    let environment = [
        ("TS_PROXY_URL", url.to_owned()),
        ("http_proxy", "http://localhost:8055".to_owned()),
        ("ASK", format!("http://target:{PORT}/get?a=1")),
    ];
    Ok(Function {
        environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
        callers: vec![proxy.caller.clone()],
        settings: BTreeMap::from(settings.map(|(name, value)| (name.to_owned(), value))),
    })
}

async fn ask(url: &FunctionUrl, lambda: &LocalLambda) -> Outcome {
    let answer = url.send(url.request("GET", "/").body(Bytes::new())?).await?;
    let log = || lambda.process.log().tail();
    let said: Value =
        serde_json::from_slice(answer.body()).map_err(|error| format!("{error}: {answer:?}\n{}", log()))?;
    assert_eq!(said["args"], json!({"a": ["1"]}), "{said}\n{}", log());
    Ok(())
}
