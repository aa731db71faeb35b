//! The function is sent away, or spoken to from the tailnet.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    deadline::within,
    target::CLOSED_PORT,
    vitals::{pids, stop},
};
use tokio::{
    io::AsyncReadExt,
    time::{sleep, timeout},
};
use tokio_socks::tcp::Socks5Stream;

use crate::{Outcome, Setting, answered, awake, fails_soon, get, logged, occupy::occupy, recovers, says_why};

/// Where tailscaled's SOCKS5 server listens.
const SOCKS_PORT: u16 = 1055;
/// For how long a peer that was heard counts as alive, and some more.
const FRESH: Duration = Duration::from_millis(2200);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "a machine whose key control has ended logs in again" => sent_away,
        "a tailscaled that dies at each start is reported, with its last lines in the log, and replaced when it can run"
            => crash_loop,
        "a hung tailscaled is reported in the 503 and replaced" => hung,
        "a tailscaled that hangs while it is in use is replaced" => hung_in_use,
        "no peer reaches the function's loopback" => no_peer_gets_in,
    ]
}

async fn sent_away(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(awake).await?;
    answered(&world).await?;
    let own = world.surroundings.control.node("lambda-proxy").await?;
    let log = world.lambda.process.log();
    let since = log.len();
    world.surroundings.control.expire(own.id).await?;
    let back = log.find(since, |line| line.contains("joined tailnet as").then_some(()));
    let late = within(Duration::from_secs(10), "the second login", back).await;
    late.map_err(|late| format!("{late}\n{}", log.tail()))?;
    recovers(&world).await?;
    logged(
        &world,
        since,
        "NodeRemoved: the control server has logged this machine out",
    )
    .await;
    world.end().await
}

fn daemon() -> Result<i32, Failed> {
    match pids("/opt/bin/tailscaled")[..] {
        [daemon] => Ok(daemon),
        ref others => Err(format!("there is not one tailscaled, but {others:?}").into()),
    }
}

/// Something else listens where tailscaled's SOCKS5 server belongs: it gives up at each start.
async fn crash_loop(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(awake).await?;
    answered(&world).await?;
    let [extension] = pids("/opt/extensions/")[..] else {
        return Err("there is not one extension".into());
    };
    let occupying = tokio::task::spawn_blocking(move || occupy(extension, SOCKS_PORT));
    kill(Pid::from_raw(daemon()?), Signal::SIGKILL)?;
    let occupied = occupying.await??;
    let words = [
        "TailscaledFailed: tailscaled ended with exit code 1 (its last lines are in the function's log)",
        "; fix: none: tailscaled is started again",
    ];
    fails_soon(&world, &words).await?;
    // They name addresses and peers: they are for the owner of the function, and not for its callers.
    const LAST_WORDS: &str = "address already in use";
    let (answer, _) = get(&world).await?;
    assert!(!format!("{answer:?}").contains(LAST_WORDS), "{answer:?}");
    logged(&world, 0, LAST_WORDS).await;
    logged(
        &world,
        0,
        "not in the tailnet: TailscaledFailed: tailscaled was killed by signal 9 (SIGKILL)",
    )
    .await;
    drop(occupied);
    recovers(&world).await?;
    world.end().await
}

async fn hung(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(awake).await?;
    let address = world.surroundings.target.node.address();
    // Nothing is kept of it: the next request dials.
    let answer = world.get(address, CLOSED_PORT, "/").await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetUnreachable", "{answer:?}");
    // Until then the path counts as alive: the target has just been heard.
    sleep(FRESH).await;
    stop(daemon()?)?;
    let (answer, _) = get(&world).await?;
    says_why(
        &world,
        &answer,
        &["TailscaledFailed: tailscaled does not respond; fix: none: it is started again"],
    )
    .await;
    recovers(&world).await?;
    logged(
        &world,
        0,
        "not in the tailnet: TailscaledFailed: tailscaled's LocalAPI did not respond within ",
    )
    .await;
    world.end().await
}

/// The path counts as alive: only the dial that stalls shows that something is wrong.
async fn hung_in_use(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(awake).await?;
    let address = world.surroundings.target.node.address();
    world.get(address, CLOSED_PORT, "/").await?;
    stop(daemon()?)?;
    let (answer, took) = get(&world).await?;
    eprintln!("  {} after {took:.1?}", answer.status());
    recovers(&world).await?;
    logged(
        &world,
        0,
        "not in the tailnet: TailscaledFailed: tailscaled's LocalAPI did not respond within ",
    )
    .await;
    world.end().await
}

/// In userspace mode tailscaled hands what comes in to 127.0.0.1 on the same port: Lambda's API, the SOCKS5 server.
async fn no_peer_gets_in(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(awake).await?;
    answered(&world).await?;
    let own = world.surroundings.control.node("lambda-proxy").await?;
    let socks = SocketAddr::from(([127, 0, 0, 1], 1077));
    let surroundings = &world.surroundings;
    let peer = surroundings.machine("peer", Some(socks)).await?;
    peer.meet(own.addresses[0]).await?;
    // What is kept out proves nothing where the peer reaches nobody.
    let target = surroundings.target.node.address().to_string();
    let control = Socks5Stream::connect(socks, (target, testbed::target::PORT));
    timeout(Duration::from_secs(8), control).await??;
    for port in [9001, SOCKS_PORT] {
        let dialled = timeout(
            Duration::from_secs(8),
            Socks5Stream::connect(socks, (own.addresses[0].to_string(), port)),
        );
        match dialled.await {
            Err(_) | Ok(Err(_)) => {}
            Ok(Ok(mut stream)) => {
                // Whatever took the connection must not speak: the SOCKS5 server waits, the API does too.
                let mut byte = [0];
                let read = timeout(Duration::from_millis(500), stream.read(&mut byte)).await;
                return Err(format!("a peer reached port {port} of the function: {read:?}").into());
            }
        }
    }
    drop(peer);
    world.end().await
}
