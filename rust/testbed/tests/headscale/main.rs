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
    door::Door,
    expect::{is_ok, logged, says_why},
    lambda::{Event, Function},
    nat, network,
    node::Node,
    suite::{Outcome, Setting, run, set},
    target::PORT,
    world::{Surroundings, World},
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

fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "headscale: wrong, expired and used keys are told in its words, and so are tags that nobody owns" => refusals,
        "headscale: an ephemeral machine is gone when its environment ends" => gone,
        "headscale: a hundred environments freeze and end, their flows dead or alive, and leave no machine behind" within FLEET_LIMIT
            => fleet,
        "headscale: a machine that was removed during a freeze logs in again" within REMOVAL_LIMIT => removed,
    ]
}

/// A function with this key in its secret.
async fn deploy(
    surroundings: Surroundings,
    headscale: &Headscale,
    key: &str,
    adjust: impl FnOnce(&mut Function),
) -> Result<World, Failed> {
    surroundings.put_secret(key).await?;
    let world = surroundings.deploy(|function| {
        set(function, "TS_CONTROL_URL", &headscale.url());
        adjust(function);
    });
    Ok(world.await?)
}

/// Another machine in the same tailnet: what listens on this machine's loopback stands behind it.
async fn machine(surroundings: &Surroundings, headscale: &Headscale, key: &str) -> Result<Node, Failed> {
    let program = &surroundings.binaries.tailscaled;
    Ok(Node::start(program, "machine", None, &headscale.url(), key, &surroundings.run_dir).await?)
}

async fn get(world: &World, node: &Node) -> Result<Response<Bytes>, testbed::Error> {
    world.get(node.address(), PORT, "/get").await
}

async fn refusals(setting: Arc<Setting>) -> Outcome {
    let mut surroundings = setting.surroundings().await?;
    let headscale = Headscale::start(&surroundings).await?;
    let used = headscale.create_key(&[]).await?;
    let node = machine(&surroundings, &headscale, &used.key).await?;
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
        let world = deploy(surroundings, &headscale, key, |function| {
            set(function, "TS_ADVERTISE_TAGS", tags)
        })
        .await?;
        let answer = get(&world, &node).await?;
        says_why(&world, &answer, &[&words]).await;
        (surroundings, _) = world.undeploy().await;
    }
    drop(node);
    headscale.stop().await;
    surroundings.stop().await;
    Ok(())
}

/// A function in a tailnet of Headscale's, with another machine that it has reached.
struct Joined {
    headscale: Headscale,
    /// What the function knows as the control server's address.
    door: Door,
    node: Node,
    world: World,
}

async fn joined(setting: &Setting) -> Result<Joined, Failed> {
    let surroundings = setting.surroundings().await?;
    let headscale = Headscale::start(&surroundings).await?;
    let key = headscale.create_key(&["--reusable", "--ephemeral"]).await?.key;
    let node = machine(&surroundings, &headscale, &key).await?;
    let door = Door::open(SocketAddr::from((network::CONTROL_ADDRESS, 0)), headscale.address()).await?;
    let url = format!("http://{}", door.address());
    let world = deploy(surroundings, &headscale, &key, |function| {
        set(function, "TS_CONTROL_URL", &url);
        function.settings.insert("maxEnvironments".into(), AT_A_TIME.into());
    })
    .await?;
    let answer = get(&world, &node).await?;
    is_ok(&world, &answer);
    Ok(Joined {
        headscale,
        door,
        node,
        world,
    })
}

async fn gone(setting: Arc<Setting>) -> Outcome {
    let Joined {
        headscale,
        node,
        world,
        door,
    } = joined(&setting).await?;
    assert_eq!(headscale.machines("lambda-proxy").await?.len(), 1);
    let (surroundings, _) = world.undeploy().await;
    assert_eq!(headscale.machines("lambda-proxy").await?, [] as [String; 0]);
    drop((node, door));
    headscale.stop().await;
    surroundings.stop().await;
    Ok(())
}

/// What dies with the flows is the connection to the control server, which a log-out needs. After each round the list is
/// empty before Headscale itself would remove a machine that is away.
async fn fleet(setting: Arc<Setting>) -> Outcome {
    nat::remember().await?;
    let Joined {
        headscale,
        node,
        world,
        door,
    } = joined(&setting).await?;
    end(&world, 1..=1, 0).await?;
    let mut unanswered = 0;
    for round in 0..ROUNDS {
        let since = world.lambda.events.len();
        let first = 2 + round * AT_A_TIME;
        let requests = (0..AT_A_TIME).map(|_| world.get(node.address(), PORT, "/delay/2"));
        for answer in join_all(requests).await {
            let answer = answer?;
            if answer.status() != StatusCode::OK {
                eprintln!("  {}: {:?}", answer.status(), answer.headers().get("ts-error-message"));
                unanswered += 1;
            }
        }
        let environments = first..=first + AT_A_TIME - 1;
        all(&world, environments.clone(), since, "frozen").await?;
        let dead = round % 2 == 0;
        if dead {
            let runtimes = world.lambda.events.all(Event::runtime_started);
            for pid in runtimes.into_iter().rev().take(environments.clone().count()) {
                nat::forget_flows(pid).await?;
            }
            // The freeze itself.
            tokio::time::sleep(REST).await;
        }
        let began = Instant::now();
        end(&world, environments, since).await?;
        let left = headscale.machines("lambda-proxy").await?;
        let ended = began.elapsed();
        eprintln!("  {AT_A_TIME} environments, flows dead: {dead}: ended in {ended:.1?}, and left {left:?}");
        assert_eq!(left, [] as [String; 0], "{}", world.log());
        nat::remember().await?;
    }
    // Headscale tells the other machine of all newcomers when it gets to it: their ends are what is tested.
    assert!(
        unanswered <= MAX_UNANSWERED,
        "{unanswered} first requests were not answered"
    );
    drop((node, door));
    world.stop().await;
    headscale.stop().await;
    Ok(())
}

/// Waits until all of these environments came into this state, from event number `since` on.
async fn all(world: &World, environments: RangeInclusive<u64>, since: usize, wanted: &str) -> Outcome {
    for environment in environments {
        let is_it = |event: &Event| {
            matches!(event, Event::Environment { id, state, .. } if *id == environment && state == wanted).then_some(())
        };
        let what = format!("environment {environment} that is {wanted}");
        within(FREEZE_LIMIT, &what, world.lambda.events.find(since, is_it)).await?;
    }
    Ok(())
}

/// Ends these environments, all at once.
async fn end(world: &World, environments: RangeInclusive<u64>, since: usize) -> Outcome {
    all(world, environments.clone(), since, "frozen").await?;
    world.lambda.spin_down().await?;
    all(world, environments, since, "stopped").await
}

async fn removed(setting: Arc<Setting>) -> Outcome {
    let Joined {
        headscale,
        node,
        world,
        door,
    } = joined(&setting).await?;
    let first = headscale.machines("lambda-proxy").await?;
    frozen(&world, 0).await?;
    // What is on the way gives the connection up. (The frozen machine's kernel would answer for it for ever.)
    let address = door.close();
    let since = world.lambda.process.log().len();
    let removal = async {
        while !headscale.machines("lambda-proxy").await?.is_empty() {
            // Headscale tells nobody when it removes a machine.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok::<_, Failed>(())
    };
    within(REMOVAL_LIMIT, "the machine's removal", removal).await??;
    let _open = Door::open(address, headscale.address()).await?;
    within(BACK_LIMIT, "the machine's return", back(&world, &node, since)).await??;
    logged(&world, since, "not in the tailnet: NodeRemoved: ").await;
    let second = headscale.machines("lambda-proxy").await?;
    assert!(second.len() == 1 && second != first, "{first:?}, then {second:?}");
    world.stop().await;
    headscale.stop().await;
    Ok(())
}

/// Requests, one after the other, until the function is in the tailnet again and one after that. One of them at most is
/// not answered by the target, but told that the machine was removed: it may have been on its way when that was found.
/// (For a moment after the removal the other machine still knows this one.)
async fn back(world: &World, node: &Node, since: usize) -> Outcome {
    let log = world.lambda.process.log();
    let (mut failed, mut returned) = (0, false);
    while !returned {
        returned = log
            .look(since, |line| line.contains("joined tailnet as").then_some(()))
            .is_some();
        let events = world.lambda.events.len();
        let began = Instant::now();
        let answer = get(world, node).await?;
        let took = began.elapsed();
        eprintln!("  {} after {took:.1?}", answer.status());
        assert!(took < ANSWER_LIMIT, "{answer:?} after {took:?}\n{}", log.tail());
        if answer.status() != StatusCode::OK {
            says_why(world, &answer, &["NodeRemoved: "]).await;
            failed += 1;
        }
        frozen(world, events).await?;
    }
    assert!(failed <= 1, "{failed} requests failed");
    Ok(())
}

/// Waits for the environment's freeze, from event number `since` on.
async fn frozen(world: &World, since: usize) -> Outcome {
    let frozen = world.lambda.events.find(since, Event::frozen);
    Ok(within(FREEZE_LIMIT, "the freeze", frozen).await?)
}
