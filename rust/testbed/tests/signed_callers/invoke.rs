//! The layer where there is no Function URL: it invokes the proxy by Lambda's API, and the function's code is the same.

use std::{sync::Arc, time::Duration};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    caller_layer::{ADDRESS, CallerLayer},
    function_url::ANSWER_LIMIT,
    http_call::call,
    invoke_api::InvokeApi,
    raw_target::RawTarget,
    suite::{set, stream},
    target::PORT,
    world::World,
};
use tokio::net::TcpStream;

use crate::{
    Outcome, Setting,
    layer::{error_of, send},
};

const STOP_LIMIT: Duration = Duration::from_secs(2);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "invoke: queries, cookies, binary bodies and the target's own errors pass as by the URL; refusals are told in words"
            => passes,
        "invoke: an alias is a profile, and one that is not there is told of" => profiles,
        "invoke: a proxy that streams answers whole" => streamed,
    ]
}

async fn start(setting: &Setting, world: &World, alias: &str, role: &Credentials) -> Result<CallerLayer, Failed> {
    let api = InvokeApi {
        caller: role.clone(),
        ..world.invoke_api()
    };
    CallerLayer::start_by_invoke(&setting.binaries, &setting.run_dir, &api, alias).await
}

async fn passes(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(|_| ()).await?;
    let role = world.url().caller;
    let layer = start(&setting, &world, "", &role).await?;
    reads(&get(&format!("http://target:{PORT}/get?a=1&a=2&b=%C3%A9")).await?)?;
    let answer = send("GET", &format!("http://target:{PORT}/cookies/set?c=3&d=4"), "").await?;
    let set: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!((answer.status().as_u16(), set.len()), (302, 2), "{answer:?}");
    let bytes: Vec<u8> = (0..=255).collect();
    let answer = send("POST", &format!("http://target:{PORT}/post"), bytes).await?;
    let said: Value = serde_json::from_slice(answer.body())?;
    assert!(said["data"].as_str().unwrap_or_default().contains("AAECAwQF"), "{said}");
    for status in [500, 403, 401] {
        let answer = send("GET", &format!("http://target:{PORT}/status/{status}"), "").await?;
        assert_eq!(
            (answer.status().as_u16(), error_of(&answer).1),
            (status, ""),
            "the target's own: {answer:?}"
        );
    }
    too_large().await?;
    layer.process.stop(STOP_LIMIT).await;
    let forger = Credentials::new(role.access_key_id(), "another secret", None, None, "test");
    for (role, words) in [
        (
            Credentials::new("ASIASTRANGER", "secret", None, None, "test"),
            "billing",
        ),
        (forger, "AWS rejected the signature of the function billing"),
    ] {
        let layer = start(&setting, &world, "", &role).await?;
        let answer = send("GET", &format!("http://target:{PORT}/get"), "").await?;
        let (status, name, message) = error_of(&answer);
        assert_eq!((status, name), (403, "CallerNotAllowed"), "{message}");
        assert!(message.contains(words), "{message}");
        layer.process.stop(STOP_LIMIT).await;
    }
    world.end().await
}

async fn get(url: &str) -> Result<Response<Bytes>, Failed> {
    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let request = Request::get(url).header("host", host).header("cookie", "a=1; b=2");
    let request = request.header("authorization", "Basic dTpw").body(Full::default())?;
    Ok(call(TcpStream::connect(ADDRESS).await?, request, ANSWER_LIMIT).await?)
}

fn reads(answer: &Response<Bytes>) -> Outcome {
    let said: Value = serde_json::from_slice(answer.body()).map_err(|error| format!("{error}: {answer:?}"))?;
    assert_eq!(said["args"], json!({"a": ["1", "2"], "b": ["é"]}), "{said}");
    assert_eq!(said["headers"]["Cookie"], json!(["a=1; b=2"]), "{said}");
    assert_eq!(said["headers"]["Authorization"], json!(["Basic dTpw"]), "{said}");
    Ok(())
}

/// A body that would fit by itself, but not in base64.
async fn too_large() -> Outcome {
    let raw = RawTarget::start().await?;
    let url = format!("http://target:{}/", raw.address().port());
    let answer = send("POST", &url, vec![0xff; 5 * 1024 * 1024]).await?;
    let (status, name, message) = error_of(&answer);
    assert_eq!((status, name), (413, "RequestTooLarge"), "{message}");
    assert_eq!(raw.seen().len(), 0);
    Ok(())
}

async fn profiles(setting: Arc<Setting>) -> Outcome {
    let adjust = |function: &mut testbed::lambda::Function| {
        function.settings.insert("aliases".into(), json!(["web", "db"]));
        set(function, "TS_PROFILES", &format!("web=target:{PORT};db=target:5432"));
    };
    let world = setting.world(adjust).await?;
    let role = world.url().caller;
    let url = format!("http://target:{PORT}/get");
    for (alias, status, name) in [
        (":web", 200, ""),
        (":db", 403, "TargetNotAllowed"),
        (":dead", 502, "ProxyUnreachable"),
    ] {
        let layer = start(&setting, &world, alias, &role).await?;
        let answer = send("GET", &url, "").await?;
        let (said, error, message) = error_of(&answer);
        assert_eq!((said, error), (status, name), "{alias}: {message}");
        layer.process.stop(STOP_LIMIT).await;
    }
    world.end().await
}

async fn streamed(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(stream).await?;
    let layer = start(&setting, &world, "", &world.url().caller).await?;
    reads(&get(&format!("http://target:{PORT}/get?a=1&a=2&b=%C3%A9")).await?)?;
    drop(layer);
    world.end().await
}
