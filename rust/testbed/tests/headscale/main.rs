//! The function in a tailnet of Headscale's: its keys, its words, and the machines that it removes.
#![allow(clippy::unwrap_used)]

mod headscale;

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use headscale::Headscale;
use http::{Response, StatusCode};
use libtest_mimic::{Failed, Trial};
use testbed::{
    deadline::within,
    expect::{is_ok, logged, says_why},
    lambda::{Event, Function},
    nat, network,
    node::Node,
    port_forwarder::PortForwarder,
    stack::{Backends, TestStack},
    suite::{SuiteContext, TestResult, run, set},
    target::PORT,
};

/// How long the test may take that waits until Headscale removes a machine.
const REMOVAL_LIMIT: Duration = Duration::from_secs(240);
/// How long the rounds of environments may take, and how many there are, of how many each: as many at a time as two cores take.
const FLEET_LIMIT: Duration = Duration::from_secs(600);
const ROUNDS: u64 = 20;
const AT_A_TIME: u64 = 5;
/// How many of their first requests may come too early for the other machine to know them.
const MAX_UNANSWERED: usize = 10;
/// How long their freezes last.
const REST: Duration = Duration::from_secs(3);
/// How long it may take until the environment of a function that was answered is frozen.
const FREEZE_LIMIT: Duration = Duration::from_secs(8);
/// How long each request may take on the way back into the tailnet. A login of Headscale's takes 2 to 3 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// How long the way back may take, for a function that is awake for short requests.
const BACK_LIMIT: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    run(trials)
}

fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "headscale: wrong, expired and used keys, and tags without an owner, are reported in Headscale's words" => refusals,
        "headscale: an ephemeral machine is removed when its environment ends" => gone,
        "headscale: a hundred environments freeze and end, their flows dead or alive, and leave no machine behind" within FLEET_LIMIT
            => fleet,
        "headscale: a machine that was removed during a freeze logs in again" within REMOVAL_LIMIT => removed,
    ]
}

/// A function with this key in its secret.
async fn deploy(
    backends: Backends,
    headscale: &Headscale,
    key: &str,
    adjust: impl FnOnce(&mut Function),
) -> Result<TestStack, Failed> {
    backends.put_secret(key).await?;
    let stack = backends.deploy(|function| {
        set(function, "TS_CONTROL_URL", &headscale.url());
        adjust(function);
    });
    Ok(stack.await?)
}

/// Another machine in the same tailnet: what listens on this machine's loopback stands behind it.
async fn machine(backends: &Backends, headscale: &Headscale, key: &str) -> Result<Node, Failed> {
    let program = &backends.binaries.tailscaled;
    Ok(Node::start(program, "machine", None, &headscale.url(), key, &backends.run_dir).await?)
}

async fn get(stack: &TestStack, node: &Node) -> Result<Response<Bytes>, testbed::Error> {
    stack.get(node.address(), PORT, "/get").await
}

async fn refusals(context: Arc<SuiteContext>) -> TestResult {
    let mut backends = context.backends().await?;
    let headscale = Headscale::start(&backends).await?;
    let used = headscale.create_key(&[]).await?;
    let node = machine(&backends, &headscale, &used.key).await?;
    let expired = headscale.create_key(&["--reusable"]).await?;
    headscale.expire_key(&expired).await?;
    let good = headscale.create_key(&["--reusable", "--ephemeral"]).await?;
    let rejected = |why: &str| format!("AuthKeyRejected: the control server rejected the auth key: {why}");
    let tags_rejected = "TagsRejected: the control server rejected this machine's tags: ";
    for (key, tags, words) in [
        ("no-key-of-headscales", "", rejected("")),
        (&expired.key, "", rejected("authkey expired")),
        (&used.key, "", rejected("authkey already used")),
        (&good.key, "tag:nobodys", tags_rejected.to_owned()),
    ] {
        let stack = deploy(backends, &headscale, key, |function| {
            set(function, "TS_ADVERTISE_TAGS", tags)
        })
        .await?;
        let answer = get(&stack, &node).await?;
        says_why(&stack, &answer, &[&words]).await;
        (backends, _) = stack.undeploy().await;
    }
    drop(node);
    headscale.stop().await;
    backends.stop().await;
    Ok(())
}

/// A function in a tailnet of Headscale's, with another machine that it has reached.
struct Joined {
    headscale: Headscale,
    /// What the function knows as the control server's address.
    forwarder: PortForwarder,
    node: Node,
    stack: TestStack,
}

async fn joined(context: &SuiteContext) -> Result<Joined, Failed> {
    let backends = context.backends().await?;
    let headscale = Headscale::start(&backends).await?;
    let key = headscale.create_key(&["--reusable", "--ephemeral"]).await?.key;
    let node = machine(&backends, &headscale, &key).await?;
    let forwarder = PortForwarder::open(SocketAddr::from((network::CONTROL_ADDRESS, 0)), headscale.address()).await?;
    let url = format!("http://{}", forwarder.address());
    let stack = deploy(backends, &headscale, &key, |function| {
        set(function, "TS_CONTROL_URL", &url);
        function.settings.insert("maxEnvironments".into(), AT_A_TIME.into());
    })
    .await?;
    let answer = get(&stack, &node).await?;
    is_ok(&stack, &answer);
    Ok(Joined {
        headscale,
        forwarder,
        node,
        stack,
    })
}

async fn gone(context: Arc<SuiteContext>) -> TestResult {
    let Joined {
        headscale,
        node,
        stack,
        forwarder,
    } = joined(&context).await?;
    assert_eq!(headscale.machines("lambda-proxy").await?.len(), 1);
    let (backends, _) = stack.undeploy().await;
    assert_eq!(headscale.machines("lambda-proxy").await?, [] as [String; 0]);
    drop((node, forwarder));
    headscale.stop().await;
    backends.stop().await;
    Ok(())
}

/// What dies with the flows is the connection to the control server, which a log-out needs. After each round the list is
/// empty before Headscale itself would remove a machine that is away.
async fn fleet(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    let Joined {
        headscale,
        node,
        stack,
        forwarder,
    } = joined(&context).await?;
    end(&stack, 1..=1, 0).await?;
    let mut unanswered = 0;
    for round in 0..ROUNDS {
        let since = stack.lambda.events.len();
        let first = 2 + round * AT_A_TIME;
        let requests = (0..AT_A_TIME).map(|_| stack.get(node.address(), PORT, "/delay/2"));
        for answer in join_all(requests).await {
            let answer = answer?;
            if answer.status() != StatusCode::OK {
                eprintln!("  {}: {:?}", answer.status(), answer.headers().get("ts-error-message"));
                unanswered += 1;
            }
        }
        let environments = first..=first + AT_A_TIME - 1;
        all(&stack, environments.clone(), since, "frozen").await?;
        let dead = round % 2 == 0;
        if dead {
            let runtimes = stack.lambda.events.all(Event::runtime_started);
            for pid in runtimes.into_iter().rev().take(environments.clone().count()) {
                nat::blackhole_flows(pid).await?;
            }
            // The freeze itself.
            tokio::time::sleep(REST).await;
        }
        let began = Instant::now();
        end(&stack, environments, since).await?;
        let left = headscale.machines("lambda-proxy").await?;
        let ended = began.elapsed();
        eprintln!("  {AT_A_TIME} environments, flows dead: {dead}: ended in {ended:.1?}, and left {left:?}");
        assert_eq!(left, [] as [String; 0], "{}", stack.log());
        nat::reset().await?;
    }
    // Headscale tells the other machine of all newcomers when it gets to it: their ends are what is tested.
    assert!(
        unanswered <= MAX_UNANSWERED,
        "{unanswered} first requests were not answered"
    );
    drop((node, forwarder));
    stack.stop().await;
    headscale.stop().await;
    Ok(())
}

/// Waits until all of these environments came into this state, from event number `since` on.
async fn all(stack: &TestStack, environments: RangeInclusive<u64>, since: usize, wanted: &str) -> TestResult {
    for environment in environments {
        let is_it = |event: &Event| {
            matches!(event, Event::Environment { id, state, .. } if *id == environment && state == wanted).then_some(())
        };
        let what = format!("environment {environment} that is {wanted}");
        within(FREEZE_LIMIT, &what, stack.lambda.events.find(since, is_it)).await?;
    }
    Ok(())
}

/// Ends these environments, all at once.
async fn end(stack: &TestStack, environments: RangeInclusive<u64>, since: usize) -> TestResult {
    all(stack, environments.clone(), since, "frozen").await?;
    stack.lambda.spin_down().await?;
    all(stack, environments, since, "stopped").await
}

async fn removed(context: Arc<SuiteContext>) -> TestResult {
    let Joined {
        headscale,
        node,
        stack,
        forwarder,
    } = joined(&context).await?;
    let first = headscale.machines("lambda-proxy").await?;
    frozen(&stack, 0).await?;
    // What is on the way gives the connection up. (The frozen machine's kernel would answer for it for ever.)
    let address = forwarder.close();
    let since = stack.lambda.process.log().len();
    let removal = async {
        while !headscale.machines("lambda-proxy").await?.is_empty() {
            // Headscale tells nobody when it removes a machine.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok::<_, Failed>(())
    };
    within(REMOVAL_LIMIT, "the machine's removal", removal).await??;
    let _open = PortForwarder::open(address, headscale.address()).await?;
    within(BACK_LIMIT, "the machine's return", back(&stack, &node, since)).await??;
    logged(&stack, since, "not in the tailnet: NodeRemoved: ").await;
    let second = headscale.machines("lambda-proxy").await?;
    assert!(second.len() == 1 && second != first, "{first:?}, then {second:?}");
    stack.stop().await;
    headscale.stop().await;
    Ok(())
}

/// Requests, one after the other, until the function is in the tailnet again and one after that. One of them at most is
/// not answered by the target, but told that the machine was removed: it may have been on its way when that was found.
/// (For a moment after the removal the other machine still knows this one.)
async fn back(stack: &TestStack, node: &Node, since: usize) -> TestResult {
    let log = stack.lambda.process.log();
    let (mut failed, mut returned) = (0, false);
    while !returned {
        returned = log
            .look(since, |line| line.contains("joined tailnet as").then_some(()))
            .is_some();
        let events = stack.lambda.events.len();
        let began = Instant::now();
        let answer = get(stack, node).await?;
        let took = began.elapsed();
        eprintln!("  {} after {took:.1?}", answer.status());
        assert!(took < ANSWER_LIMIT, "{answer:?} after {took:?}\n{}", log.tail());
        if answer.status() != StatusCode::OK {
            says_why(stack, &answer, &["NodeRemoved: "]).await;
            failed += 1;
        }
        frozen(stack, events).await?;
    }
    assert!(failed <= 1, "{failed} requests failed");
    Ok(())
}

/// Waits for the environment's freeze, from event number `since` on.
async fn frozen(stack: &TestStack, since: usize) -> TestResult {
    let frozen = stack.lambda.events.find(since, Event::frozen);
    Ok(within(FREEZE_LIMIT, "the freeze", frozen).await?)
}
