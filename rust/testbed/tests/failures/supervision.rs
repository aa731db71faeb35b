//! A tailscaled that dies or hangs is reported and replaced.

use std::{
    fs::File,
    io,
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    target::CLOSED_PORT,
    vitals::{pids, stop},
    world::World,
};
use tokio::time::sleep;

use crate::{Outcome, Setting, answered, awake, fails_soon, get, logged, recovers, says_why};

/// Where tailscaled's SOCKS5 server listens.
const SOCKS_PORT: u16 = 1055;
/// For how long a port may stay taken by another.
const FREE_LIMIT: Duration = Duration::from_secs(5);
/// For how long a peer that was heard counts as alive, and some more.
const FRESH: Duration = Duration::from_millis(2200);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "a tailscaled that dies at each start is reported, with its last lines in the log, and replaced when it can run"
            => crash_loop,
        "a hung tailscaled is reported in the 503 and replaced" => hung,
        "a tailscaled that hangs while it is in use is replaced" => hung_in_use,
    ]
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
    let killed = "not in the tailnet: TailscaledFailed: tailscaled was killed by signal 9 (SIGKILL)";
    logged(&world, 0, killed).await;
    drop(occupied);
    recovers(&world).await?;
    world.end().await
}

/// Listens on a port of the loopback that the process `pid` has, as soon as the port is free. Blocks.
fn occupy(pid: i32, port: u16) -> io::Result<TcpListener> {
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    // A thread of its own: it stays in that network.
    let listening = thread::spawn(move || {
        setns(network, CloneFlags::CLONE_NEWNET)?;
        let deadline = Instant::now() + FREE_LIMIT;
        loop {
            match TcpListener::bind(("127.0.0.1", port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    // Nobody tells of a port that becomes free.
                    thread::sleep(Duration::from_millis(1));
                }
                done => return done,
            }
        }
    });
    listening.join().expect("BUG: the thread that listens does not panic")
}

async fn hung(setting: Arc<Setting>) -> Outcome {
    let world = hanging(&setting, FRESH).await?;
    let (answer, _) = get(&world).await?;
    let words = "TailscaledFailed: tailscaled does not respond; fix: none: it is started again";
    says_why(&world, &answer, &[words]).await;
    replaced(world).await
}

/// The path counts as alive: only the dial that stalls shows that something is wrong.
async fn hung_in_use(setting: Arc<Setting>) -> Outcome {
    let world = hanging(&setting, Duration::ZERO).await?;
    let (answer, took) = get(&world).await?;
    eprintln!("  {} after {took:.1?}", answer.status());
    replaced(world).await
}

/// A function whose tailscaled hangs, so long after the target was heard.
async fn hanging(setting: &Setting, since_heard: Duration) -> Result<World, Failed> {
    let world = setting.world(awake).await?;
    let address = world.surroundings.target.node.address();
    // Nothing is kept of it: the next request dials.
    let answer = world.get(address, CLOSED_PORT, "/").await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetUnreachable", "{answer:?}");
    sleep(since_heard).await;
    stop(daemon()?)?;
    Ok(world)
}

async fn replaced(world: World) -> Outcome {
    recovers(&world).await?;
    let words = "not in the tailnet: TailscaledFailed: tailscaled's LocalAPI did not respond within ";
    logged(&world, 0, words).await;
    world.end().await
}
