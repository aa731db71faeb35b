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
    stack::{Backends, TestStack},
    suite::{SuiteContext, TestResult, set},
};

use crate::server::Server;

/// INIT has 10 s for everything, the ping of the exit node included.
const INIT: Duration = Duration::from_secs(10);
/// How soon an optional exit node is used that has come up: it is tried again after 1, 2, 4, … s.
const USE_LIMIT: Duration = Duration::from_secs(30);
/// After a freeze this long, WireGuard's sessions are made anew together with links that have died.
const REST: Duration = Duration::from_secs(11);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "exit node: uncovered targets are reached through it, and no others" => used,
        "exit node: while a required exit node is silent nothing leaves, and the machine stays logged in" => required,
        "exit node: while an optional exit node is silent, only targets in the tailnet are reached" => optional,
    ]
}

/// A machine that routes for others. It stands in the same network as what is outside, which it must offer by itself:
/// for a machine with a network of its own the default route would not include that.
async fn exit_node(backends: &Backends) -> Result<Node, Failed> {
    let node = backends.router("exit").await?;
    node.local_api.advertise(&["0.0.0.0/0", "::/0", "192.0.2.0/24"]).await?;
    let id = backends.control.node("exit").await?.id;
    backends.control.set_routes(id, &["0.0.0.0/0", "::/0"]).await?;
    Ok(node)
}

/// The backends with an exit node that does not answer yet, and a server outside the tailnet.
pub(crate) async fn with_silent_exit_node(context: &SuiteContext) -> Result<(Backends, Node, Server), Failed> {
    let backends = context.backends().await?;
    let node = exit_node(&backends).await?;
    node.process.signal(Signal::SIGSTOP).await;
    Ok((backends, node, Server::saying("outside").await?))
}

/// Has the function use it.
pub(crate) fn by(function: &mut Function, exit_node: &str, required: bool) {
    set(function, "TS_EXIT_NODE", exit_node);
    set(function, "TS_EXIT_NODE_REQUIRED", &required.to_string());
}

/// A request for what is outside the tailnet.
async fn get_outside(stack: &TestStack, outside: SocketAddr) -> Result<Response<Bytes>, Failed> {
    Ok(stack.get(outside.ip(), outside.port(), "/").await?)
}

async fn used(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let outside = Server::saying("outside").await?;
    let backends = context.backends().await?;
    let _node = exit_node(&backends).await?;
    let stack = backends.deploy(|function| by(function, "exit", true)).await?;
    let answer = get_outside(&stack, outside.address).await?;
    is_ok(&stack, &answer);
    assert_eq!(answer.body(), "outside");
    // Not the function's own address, which is a link-local one.
    assert_eq!(outside.visitors(), [IpAddr::from(ADDRESS)]);
    let since = stack.lambda.events.len();
    answered(&stack).await?;

    // A freeze in which all of its connections die: what is made anew keeps the exit node.
    with_dead_flows(&stack, since, REST).await?;
    let answer = get_outside(&stack, outside.address).await?;
    is_ok(&stack, &answer);
    // A GET may go twice: over the connection that was kept, and over a new one.
    let visitors = outside.visitors();
    let by_it = visitors.iter().all(|from| *from == IpAddr::from(ADDRESS));
    assert!(visitors.len() >= 2 && by_it, "{visitors:?}");
    logged(&stack, 0, "path repaired").await;
    nat::reset().await?;
    stack.end().await
}

/// The function is the machine that it was at first, which registers by its node key alone.
pub(crate) async fn kept_its_machine(stack: &TestStack) -> TestResult {
    let counts = stack.backends.control.counts("lambda-proxy").await?;
    let found = (counts.new, counts.registrations(), counts.logged_out);
    assert_eq!(found, (1, 1 + counts.known, 0), "{counts:?}");
    Ok(())
}

async fn required(context: Arc<SuiteContext>) -> TestResult {
    let (backends, node, outside) = with_silent_exit_node(&context).await?;
    let address = node.address().to_string();
    let stack = backends
        .deploy(|function| {
            by(function, &address, true);
            set(function, "TS_EXIT_NODE_PING_TIMEOUT", "2000");
            set(function, "TS_EXIT_NODE_PING_RETRIES", "10");
            // Not even what the owner lets through otherwise.
            set(function, "TS_ALLOW_UNCOVERED_TARGETS", "true");
        })
        .await?;
    let began = Instant::now();
    let answer = get_outside(&stack, outside.address).await?;
    let unused = format!("'{address}' is required, and cannot be used: it did not answer within 4 s");
    let words = [
        "ExitNodeUnavailable: the exit node ",
        &unused,
        "; fix: check that it is online",
    ];
    says_why(&stack, &answer, &words).await;
    assert!(began.elapsed() < INIT, "{:?}", began.elapsed());
    let (answer, _) = get(&stack).await?;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);

    node.process.signal(Signal::SIGCONT).await;
    recovers(&stack).await?;
    let answer = get_outside(&stack, outside.address).await?;
    is_ok(&stack, &answer);
    assert_eq!(outside.visitors(), [IpAddr::from(ADDRESS)]);
    kept_its_machine(&stack).await?;
    stack.end().await
}

async fn optional(context: Arc<SuiteContext>) -> TestResult {
    let (backends, node, outside) = with_silent_exit_node(&context).await?;
    let stack = backends.deploy(|function| by(function, "exit", false)).await?;
    answered(&stack).await?;
    let answer = get_outside(&stack, outside.address).await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetNotAllowed", "{answer:?}");
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);

    // It is looked for again, and used as soon as it answers.
    node.process.signal(Signal::SIGCONT).await;
    let used = async {
        loop {
            let answer = get_outside(&stack, outside.address).await?;
            if answer.status() == StatusCode::OK {
                return Ok::<_, Failed>(());
            }
            let error = &answer.headers()["ts-error-name"];
            assert_eq!(error, "TargetNotAllowed", "{answer:?}\n{}", stack.log());
            // A caller's own pause before it tries again.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let used = within(USE_LIMIT, "a request by the exit node", used).await;
    used.map_err(|late| format!("{late}\n{}", stack.log()))??;
    assert_eq!(outside.visitors(), [IpAddr::from(ADDRESS)]);
    kept_its_machine(&stack).await?;
    stack.end().await
}
