//! The testbed by itself: a tailnet without the product.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use libtest_mimic::Trial;
use testbed::{
    Error,
    http_call::call,
    node::Node,
    target,
    world::{AUTH_KEY, Surroundings},
};

use crate::{Outcome, Setting, quiet, trial};

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(
            setting,
            "a machine of the tailnet reaches the target",
            a_machine_reaches_the_target,
        ),
        trial(
            setting,
            "a wrong key is refused in the control server's words",
            a_wrong_key_is_refused,
        ),
        trial(setting, "a limit on registrations is waited out", a_limit_is_waited_out),
        trial(
            setting,
            "a machine whose key was ended shows as expired",
            an_ended_key_shows,
        ),
    ]
}

async fn surroundings(setting: &Setting) -> Result<Surroundings, Error> {
    Surroundings::start(setting.binaries.clone(), &setting.run_dir, &quiet).await
}

async fn client(surroundings: &Surroundings, key: &str, socks: Option<SocketAddr>) -> Result<Node, Error> {
    let program = &surroundings.binaries.tailscaled;
    Node::start(
        program,
        "client",
        socks,
        &surroundings.control,
        key,
        &surroundings.run_dir,
    )
    .await
}

async fn a_machine_reaches_the_target(setting: Arc<Setting>) -> Outcome {
    let surroundings = surroundings(&setting).await?;
    let socks = SocketAddr::from(([127, 0, 0, 1], 1066));
    let node = client(&surroundings, AUTH_KEY, Some(socks)).await?;
    let target = (surroundings.target.node.address().to_string(), target::PORT);
    let stream = tokio_socks::tcp::Socks5Stream::connect(socks, target).await?;
    let request = Request::get("/get?a=1")
        .header("host", "target")
        .body(Full::new(Bytes::new()))?;
    let answer = call(stream.into_inner(), request, Duration::from_secs(5)).await?;
    assert_eq!(answer.status(), 200);
    assert!(String::from_utf8_lossy(answer.body()).contains("/get?a=1"));

    let nodes = surroundings.control.nodes().await?;
    let names: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.online)).collect();
    assert_eq!(names, [("target.tailnet.test.", true), ("client.tailnet.test.", true)]);
    drop(node);
    surroundings.stop().await;
    Ok(())
}

async fn a_wrong_key_is_refused(setting: Arc<Setting>) -> Outcome {
    let surroundings = surroundings(&setting).await?;
    let error = client(&surroundings, "tskey-wrong", None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("invalid key: unable to validate API key"), "{error}");
    surroundings.stop().await;
    Ok(())
}

async fn a_limit_is_waited_out(setting: Arc<Setting>) -> Outcome {
    let surroundings = surroundings(&setting).await?;
    surroundings
        .control
        .limit_registrations(1, Duration::from_secs(1))
        .await?;
    let began = std::time::Instant::now();
    let node = client(&surroundings, AUTH_KEY, None).await?;
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "registered after {:?}",
        began.elapsed()
    );
    drop(node);
    surroundings.stop().await;
    Ok(())
}

async fn an_ended_key_shows(setting: Arc<Setting>) -> Outcome {
    let surroundings = surroundings(&setting).await?;
    let node = client(&surroundings, AUTH_KEY, None).await?;
    let find = async || Ok::<_, Error>(surroundings.control.nodes().await?.pop().unwrap());
    let before = find().await?;
    assert!(before.name.starts_with("client.") && !before.expired, "{before:?}");
    surroundings.control.expire(before.id).await?;
    assert!(find().await?.expired);
    assert!(
        surroundings
            .control
            .expire(999)
            .await
            .unwrap_err()
            .to_string()
            .contains("no node has id 999")
    );
    drop(node);
    surroundings.stop().await;
    Ok(())
}
