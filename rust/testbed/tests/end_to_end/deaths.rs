//! Whoever dies is named, and nobody waits for the dead.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use libtest_mimic::Trial;
use testbed::{deadline::within, world::World};

use crate::{Outcome, Setting, demo::Demo, quiet, trial};

/// How long the news may take.
const NEWS_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(
            setting,
            "the demo ends and names the control server when that is killed",
            control_server,
        ),
        trial(
            setting,
            "the demo ends and names the target's tailscaled when that is killed",
            target,
        ),
        trial(
            setting,
            "the demo ends and names go-httpbin when that is killed",
            httpbin,
        ),
        trial(setting, "the demo ends and names moto when that is killed", moto),
        trial(
            setting,
            "the demo ends and names local-lambda when that is killed",
            local_lambda,
        ),
        trial(
            setting,
            "the demo names the proxy when that is killed, and the next request is answered",
            proxy,
        ),
        trial(
            setting,
            "the demo names the function's tailscaled when that is killed, and recovers",
            tailscaled,
        ),
        trial(
            setting,
            "the demo with --once ends and names who is killed during a step",
            once,
        ),
        trial(
            setting,
            "a function that is deployed right after another was killed finds nothing of it in its way",
            killed,
        ),
    ]
}

/// As after a test that panicked: local-lambda goes by SIGKILL, and its environment's interface a moment later.
async fn killed(setting: Arc<Setting>) -> Outcome {
    let mut world = setting.world(|_| ()).await?;
    for _ in 0..3 {
        let answer = world
            .url()
            .send(world.request("GET", "/get").body(Bytes::new())?)
            .await?;
        assert_eq!(
            answer.status(),
            200,
            "{answer:?}\n{}",
            world.lambda.process.log().tail()
        );
        let World {
            surroundings, lambda, ..
        } = world;
        drop(lambda);
        world = World::around(surroundings, &quiet, |_| ()).await?;
    }
    world.stop().await;
    Ok(())
}

async fn control_server(setting: Arc<Setting>) -> Outcome {
    ends(
        &setting,
        "control-server",
        "the control server was killed by signal 9 (SIGKILL)",
    )
    .await
}

async fn target(setting: Arc<Setting>) -> Outcome {
    ends(
        &setting,
        "tailscaled of the target",
        r#"tailscaled of the node "target" was killed by signal 9 (SIGKILL)"#,
    )
    .await
}

async fn httpbin(setting: Arc<Setting>) -> Outcome {
    ends(&setting, "go-httpbin", "go-httpbin was killed by signal 9 (SIGKILL)").await
}

async fn moto(setting: Arc<Setting>) -> Outcome {
    ends(
        &setting,
        "moto_server",
        "moto (the stand-in for AWS services) was killed by signal 9 (SIGKILL)",
    )
    .await
}

async fn local_lambda(setting: Arc<Setting>) -> Outcome {
    ends(
        &setting,
        "local-lambda",
        "local-lambda was killed by signal 9 (SIGKILL)",
    )
    .await
}

/// Kills one of the demo's own processes: nothing works without it.
async fn ends(setting: &Setting, victim: &str, expected: &str) -> Outcome {
    let mut demo = Demo::start(setting, &[])?;
    demo.invitation().await?;
    demo.kill(victim)?;
    let (status, output) = within(NEWS_LIMIT, "the demo's end", demo.end()).await??;
    assert!(!status.success(), "{output}");
    assert!(output.contains(expected), "{output}");
    Ok(())
}

/// Kills a process of the function's environment: a request is answered whatever happens, and the next one well.
async fn goes_on(setting: &Setting, victim: &str, expected: &str) -> Outcome {
    let mut demo = Demo::start(setting, &[])?;
    let url = demo.invitation().await?;
    assert_eq!(demo.get(&url).await?.status(), 200);
    demo.kill(victim)?;
    // A frozen process dies when it is thawed, which takes a request.
    let answer = within(NEWS_LIMIT, "an answer after the death", demo.get(&url)).await??;
    within(
        NEWS_LIMIT,
        expected,
        demo.line(|line| line.contains(expected).then_some(())),
    )
    .await??;
    assert!(matches!(answer.status().as_u16(), 200 | 502 | 503), "{answer:?}");
    let next = within(NEWS_LIMIT, "the next answer", demo.get(&url)).await??;
    assert_eq!(next.status(), 200, "{next:?}");
    Ok(())
}

async fn proxy(setting: Arc<Setting>) -> Outcome {
    goes_on(
        &setting,
        "bootstrap",
        "the proxy in environment 1 was killed by signal 9 (SIGKILL)",
    )
    .await
}

async fn tailscaled(setting: Arc<Setting>) -> Outcome {
    goes_on(
        &setting,
        "tailscaled of the function",
        "tailscaled in environment 1 died",
    )
    .await
}

async fn once(setting: Arc<Setting>) -> Outcome {
    let mut demo = Demo::start(&setting, &["--once"])?;
    demo.line(|line| line.contains('✓').then_some(())).await?;
    demo.kill("control-server")?;
    let (status, output) = within(NEWS_LIMIT, "the demo's end", demo.end()).await??;
    assert!(!status.success(), "{output}");
    assert!(
        output.contains("the control server was killed by signal 9 (SIGKILL)"),
        "{output}"
    );
    Ok(())
}
