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
    stack::TestStack,
    target::CLOSED_PORT,
    vitals::{pids, stop},
};
use tokio::time::sleep;

use crate::{SuiteContext, TestResult, answered, fails_soon, get, logged, recovers, says_why, without_freeze};

/// Where tailscaled's SOCKS5 server listens.
const SOCKS_PORT: u16 = 1055;
/// For how long a port may stay taken by another.
const FREE_LIMIT: Duration = Duration::from_secs(5);
/// For how long a peer that was heard counts as alive, and some more.
const FRESH: Duration = Duration::from_millis(2200);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
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
async fn crash_loop(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(without_freeze).await?;
    answered(&stack).await?;
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
    fails_soon(&stack, &words).await?;
    // They name addresses and peers: they are for the owner of the function, and not for its callers.
    const LAST_WORDS: &str = "address already in use";
    let (answer, _) = get(&stack).await?;
    assert!(!format!("{answer:?}").contains(LAST_WORDS), "{answer:?}");
    logged(&stack, 0, LAST_WORDS).await;
    let killed = "not in the tailnet: TailscaledFailed: tailscaled was killed by signal 9 (SIGKILL)";
    logged(&stack, 0, killed).await;
    drop(occupied);
    recovers(&stack).await?;
    stack.end().await
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

async fn hung(context: Arc<SuiteContext>) -> TestResult {
    let stack = hanging(&context, FRESH).await?;
    let (answer, _) = get(&stack).await?;
    let words = "TailscaledFailed: tailscaled does not respond; fix: none: it is started again";
    says_why(&stack, &answer, &[words]).await;
    replaced(stack).await
}

/// The path counts as alive: only the dial that stalls shows that something is wrong.
async fn hung_in_use(context: Arc<SuiteContext>) -> TestResult {
    let stack = hanging(&context, Duration::ZERO).await?;
    let (answer, took) = get(&stack).await?;
    eprintln!("  {} after {took:.1?}", answer.status());
    replaced(stack).await
}

/// A function whose tailscaled hangs, so long after the target was heard.
async fn hanging(context: &SuiteContext, since_heard: Duration) -> Result<TestStack, Failed> {
    let stack = context.stack(without_freeze).await?;
    let address = stack.backends.target.node.address();
    // Nothing is kept of it: the next request dials.
    let answer = stack.get(address, CLOSED_PORT, "/").await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetUnreachable", "{answer:?}");
    sleep(since_heard).await;
    stop(daemon()?)?;
    Ok(stack)
}

async fn replaced(stack: TestStack) -> TestResult {
    recovers(&stack).await?;
    let words = "not in the tailnet: TailscaledFailed: tailscaled's LocalAPI did not respond within ";
    logged(&stack, 0, words).await;
    stack.end().await
}
