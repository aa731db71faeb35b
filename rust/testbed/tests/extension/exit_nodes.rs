//! What leaves by an exit node, and what does not leave at all.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use testbed::{
    deadline::within,
    expect::{answered, get, is_ok, logged, recovers, says_why},
    freeze::with_dead_flows,
    lambda::Function,
    nat,
    network::ADDRESS,
    node::Node,
    suite::{Outcome, Setting, set},
    world::{Surroundings, World},
};

use crate::server::Server;

/// INIT has 10 s for everything, the ping of the exit node included.
const INIT: Duration = Duration::from_secs(10);
/// How soon an optional exit node is used that has come up: it is tried again after 1, 2, 4, … s.
const USE_LIMIT: Duration = Duration::from_secs(30);
/// After a freeze this long, WireGuard's sessions are made anew together with links that have died.
const REST: Duration = Duration::from_secs(11);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "exit node: what the tailnet does not cover leaves by it, the rest does not" => used,
        "exit node: required and silent, nothing leaves until it answers, and the machine is kept" => required,
        "exit node: silent but not required, requests go to the tailnet alone until it answers" => optional,
    ]
}

/// A machine that routes for others. It stands in the same network as what is outside, which it must offer by itself:
/// for a machine with a network of its own the default route would not include that.
async fn exit_node(surroundings: &Surroundings) -> Result<Node, Failed> {
    let node = surroundings.router("exit").await?;
    node.local_api.advertise(&["0.0.0.0/0", "::/0", "192.0.2.0/24"]).await?;
    let id = surroundings.control.node("exit").await?.id;
    surroundings.control.set_routes(id, &["0.0.0.0/0", "::/0"]).await?;
    Ok(node)
}

/// The surroundings with an exit node that does not answer yet, and a server outside the tailnet.
pub(crate) async fn with_silent_exit_node(setting: &Setting) -> Result<(Surroundings, Node, Server), Failed> {
    let surroundings = setting.surroundings().await?;
    let node = exit_node(&surroundings).await?;
    node.process.signal(Signal::SIGSTOP).await;
    Ok((surroundings, node, Server::saying("outside").await?))
}

/// Has the function use it.
pub(crate) fn by(function: &mut Function, exit_node: &str, required: bool) {
    set(function, "TS_EXIT_NODE", exit_node);
    set(function, "TS_EXIT_NODE_REQUIRED", &required.to_string());
}

/// A request for what is outside the tailnet.
async fn get_outside(world: &World, outside: SocketAddr) -> Result<Response<Bytes>, Failed> {
    Ok(world.get(outside.ip(), outside.port(), "/").await?)
}

async fn used(setting: Arc<Setting>) -> Outcome {
    nat::remember().await?;
    nat::block_udp().await?;
    let outside = Server::saying("outside").await?;
    let surroundings = setting.surroundings().await?;
    let _node = exit_node(&surroundings).await?;
    let world = surroundings.deploy(|function| by(function, "exit", true)).await?;
    let answer = get_outside(&world, outside.address).await?;
    is_ok(&world, &answer);
    assert_eq!(answer.body(), "outside");
    // Not the function's own address, which is a link-local one.
    assert_eq!(outside.visitors(), [IpAddr::from(ADDRESS)]);
    let since = world.lambda.events.len();
    answered(&world).await?;

    // A freeze in which all of its connections die: what is made anew keeps the exit node.
    with_dead_flows(&world, since, REST).await?;
    let answer = get_outside(&world, outside.address).await?;
    is_ok(&world, &answer);
    // A GET may go twice: over the connection that was kept, and over a new one.
    let visitors = outside.visitors();
    let by_it = visitors.iter().all(|from| *from == IpAddr::from(ADDRESS));
    assert!(visitors.len() >= 2 && by_it, "{visitors:?}");
    logged(&world, 0, "path repaired").await;
    nat::remember().await?;
    world.end().await
}

/// The function is the machine that it was at first, which registers by its node key alone.
pub(crate) async fn kept_its_machine(world: &World) -> Outcome {
    let counts = world.surroundings.control.counts("lambda-proxy").await?;
    let found = (counts.new, counts.registrations(), counts.logged_out);
    assert_eq!(found, (1, 1 + counts.known, 0), "{counts:?}");
    Ok(())
}

async fn required(setting: Arc<Setting>) -> Outcome {
    let (surroundings, node, outside) = with_silent_exit_node(&setting).await?;
    let address = node.address().to_string();
    let world = surroundings
        .deploy(|function| {
            by(function, &address, true);
            set(function, "TS_EXIT_NODE_PING_TIMEOUT", "2000");
            set(function, "TS_EXIT_NODE_PING_RETRIES", "10");
            // Not even what the owner lets through otherwise.
            set(function, "TS_ALLOW_UNCOVERED_TARGETS", "true");
        })
        .await?;
    let began = Instant::now();
    let answer = get_outside(&world, outside.address).await?;
    let unused = format!("'{address}' is required, and cannot be used: it did not answer within 4 s");
    let words = [
        "ExitNodeUnavailable: the exit node ",
        &unused,
        "; fix: check that it is online",
    ];
    says_why(&world, &answer, &words).await;
    assert!(began.elapsed() < INIT, "{:?}", began.elapsed());
    let (answer, _) = get(&world).await?;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);

    node.process.signal(Signal::SIGCONT).await;
    recovers(&world).await?;
    let answer = get_outside(&world, outside.address).await?;
    is_ok(&world, &answer);
    assert_eq!(outside.visitors(), [IpAddr::from(ADDRESS)]);
    kept_its_machine(&world).await?;
    world.end().await
}

async fn optional(setting: Arc<Setting>) -> Outcome {
    let (surroundings, node, outside) = with_silent_exit_node(&setting).await?;
    let world = surroundings.deploy(|function| by(function, "exit", false)).await?;
    answered(&world).await?;
    let answer = get_outside(&world, outside.address).await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetNotAllowed", "{answer:?}");
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);

    // It is looked for again, and used as soon as it answers.
    node.process.signal(Signal::SIGCONT).await;
    let used = async {
        loop {
            let answer = get_outside(&world, outside.address).await?;
            if answer.status() == StatusCode::OK {
                return Ok::<_, Failed>(());
            }
            let error = &answer.headers()["ts-error-name"];
            assert_eq!(error, "TargetNotAllowed", "{answer:?}\n{}", world.log());
            // A caller's own pause before it tries again.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let used = within(USE_LIMIT, "a request by the exit node", used).await;
    used.map_err(|late| format!("{late}\n{}", world.log()))??;
    assert_eq!(outside.visitors(), [IpAddr::from(ADDRESS)]);
    kept_its_machine(&world).await?;
    world.end().await
}
