//! The extension beside a handler that is not ours, which finds the tailnet behind a SOCKS5 server on localhost:1055.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testbed::{
    control::Refusal,
    deadline::within,
    expect::logged,
    lambda::Function,
    network::ADDRESS,
    scripted_handler,
    stack::TestStack,
    suite::{SuiteContext, TestResult, set, without_freeze},
    target,
};
use tokio::{
    io::AsyncReadExt,
    join,
    time::{sleep, timeout},
};
use tokio_socks::tcp::Socks5Stream;

use crate::{
    exit_nodes::{by, with_silent_exit_node},
    server::Server,
};

/// How long a dial through the tailnet may take.
const DIAL_LIMIT: Duration = Duration::from_secs(8);
/// For how long a peer does not hear of the function.
const DEAF: Duration = Duration::from_millis(500);
/// How soon an exit node is used that answers again, or is not used that is none any more.
const REJOIN_LIMIT: Duration = Duration::from_secs(30);
/// Where the function listens, in the test that lets peers in.
const PORT: u16 = 7000;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "alone: a third-party handler reaches the tailnet by address and by name" => reaches,
        "alone: peers reach a listener in the function only where incoming connections are allowed" => reached,
        "alone: without a login no connection leaves, and the log says why" => nothing_leaves,
        "alone: what the tailnet does not cover leaves by the function's own network, but nothing comes back to it"
            => uncovered,
        "alone: with a required exit node, nothing leaves any other way" => one_way_out,
        "alone: a dial succeeds as soon as the peer has our machine in its netmap" => hears_late,
    ]
}

async fn stack_with(context: &SuiteContext, adjust: impl FnOnce(&mut Function)) -> Result<TestStack, Failed> {
    let handler = scripted_handler::build(context)?;
    Ok(context
        .stack(|function| {
            scripted_handler::install(function, &handler);
            adjust(function);
        })
        .await?)
}

/// Has the handler dial.
async fn dial(stack: &TestStack, host: &str, port: u16) -> Result<Value, Failed> {
    scripted_handler::run(stack, json!({"do": "socks", "host": host, "port": port})).await
}

/// Has the handler dial, which the SOCKS5 server must answer with this reply.
async fn is_refused(stack: &TestStack, host: &str, port: u16, reply: u8) -> TestResult {
    let answer = dial(stack, host, port).await?;
    let expected = format!("SOCKS5 reply {reply}");
    assert_eq!(answer["failed"], expected, "{host}: {answer}\n{}", stack.log());
    Ok(())
}

async fn reaches(context: Arc<SuiteContext>) -> TestResult {
    let stack = stack_with(&context, |_| ()).await?;
    let address = stack.backends.target.node.address().to_string();
    for host in [&address, target::HOSTNAME, &address] {
        let get = json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get?a=1"});
        let answer = scripted_handler::run(&stack, get).await?;
        assert_eq!(answer["status"], 200, "{host}: {answer}\n{}", stack.log());
        assert!(answer["body"].as_str().unwrap().contains("/get?a=1"), "{answer}");
    }
    let closed = dial(&stack, &address, target::CLOSED_PORT).await?;
    let failed = closed["failed"].as_str().unwrap();
    assert!(failed.starts_with("SOCKS5 reply"), "{closed}");
    stack.end().await
}

/// What a peer gets to read from this port of the function's address in the tailnet; `None` if it does not get in.
async fn heard(stack: &TestStack, peer: SocketAddr, port: u16) -> Result<Option<String>, Failed> {
    let own = stack.backends.control.node("lambda-proxy").await?;
    let dial = Socks5Stream::connect(peer, (own.addresses[0].to_string(), port));
    let Ok(Ok(mut stream)) = timeout(DIAL_LIMIT, dial).await else {
        return Ok(None);
    };
    let mut heard = String::new();
    // A listener that says nothing, or a connection that is reset: nothing was heard.
    let _ = timeout(Duration::from_secs(1), stream.read_to_string(&mut heard)).await;
    Ok(Some(heard))
}

/// In userspace mode tailscaled hands what it lets in to 127.0.0.1 on the same port: Lambda's API, the SOCKS5 server.
async fn reached(context: Arc<SuiteContext>) -> TestResult {
    for let_in in [true, false] {
        let stack = stack_with(&context, |function| {
            if let_in {
                set(function, "TS_SHIELDS_UP", "false");
            }
            without_freeze(function);
        })
        .await?;
        scripted_handler::run(&stack, json!({"do": "listen", "port": PORT})).await?;
        let backends = &stack.backends;
        let socks = SocketAddr::from(([127, 0, 0, 1], 1077));
        let peer = backends.machine("peer", Some(socks)).await?;
        peer.wait_for_session(backends.control.node("lambda-proxy").await?.addresses[0])
            .await?;
        // What is kept out proves nothing where the peer reaches nobody.
        let target = backends.target.node.address().to_string();
        timeout(DIAL_LIMIT, Socks5Stream::connect(socks, (target, target::PORT))).await??;
        if let_in {
            let hello = Some("hello from the function".to_owned());
            assert_eq!(heard(&stack, socks, PORT).await?, hello);
        } else {
            for port in [PORT, 9001, 1055] {
                assert_eq!(heard(&stack, socks, port).await?, None, "{port}");
            }
        }
        drop(peer);
        stack.stop().await;
    }
    Ok(())
}

/// Before a login tailscaled would dial everything through the host's network.
async fn nothing_leaves(context: Arc<SuiteContext>) -> TestResult {
    let outside = Server::saying("outside").await?;
    let (outside_host, port) = (outside.address.ip().to_string(), outside.address.port());
    let handler = scripted_handler::build(&context)?;
    for (refusal, secret, why) in [
        (
            Refusal::Unapproved,
            None,
            "ApprovalRequired: an administrator of the tailnet must approve this machine",
        ),
        (
            Refusal::Nothing,
            Some("no-such-secret"),
            "NoAuthKey: cannot read an auth key from secret 'no-such-secret'",
        ),
    ] {
        let backends = context.backends().await?;
        backends.control.refuse(refusal).await?;
        let stack = backends
            .deploy(|function| {
                scripted_handler::install(function, &handler);
                if let Some(secret) = secret {
                    set(function, "TS_SECRET_API_KEY", secret);
                }
            })
            .await?;
        for host in [&outside_host, "name.example"] {
            is_refused(&stack, host, port, 3).await?;
            logged(&stack, 0, &format!("no connection to {host}:{port}: {why}")).await;
        }
        stack.stop().await;
    }
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);
    Ok(())
}

async fn uncovered(context: Arc<SuiteContext>) -> TestResult {
    let outside = Server::saying("outside").await?;
    let (host, port) = (outside.address.ip().to_string(), outside.address.port());
    let stack = stack_with(&context, |_| ()).await?;
    let answer = dial(&stack, &host, port).await?;
    assert_eq!(answer["body"], "outside", "{answer}\n{}", stack.log());
    let visitors = outside.visitors();
    assert!(
        matches!(visitors[..], [from] if from != IpAddr::from(ADDRESS)),
        "{visitors:?}"
    );

    let own = stack.backends.control.node("lambda-proxy").await?;
    let own = own.addresses[0].to_string();
    for (host, why) in [
        (own.as_str(), "the function's own address"),
        ("100.100.100.100", "service address"),
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("localhost", "the function itself"),
        ("169.254.100.1", "a link-local address"),
    ] {
        is_refused(&stack, host, 9001, 2).await?;
        logged(&stack, 0, why).await;
    }
    // Nobody knows it: neither the tailnet nor what tailscaled asks then.
    is_refused(&stack, "unknown.invalid", port, 1).await?;
    logged(&stack, 0, &format!("no connection to unknown.invalid:{port}")).await;
    stack.end().await
}

/// What must leave by the exit node leaves by no other way when that does not answer, or is one no longer.
async fn one_way_out(context: Arc<SuiteContext>) -> TestResult {
    let (backends, node, outside) = with_silent_exit_node(&context).await?;
    let (host, port) = (outside.address.ip().to_string(), outside.address.port());
    let handler = scripted_handler::build(&context)?;
    let stack = backends
        .deploy(|function| {
            scripted_handler::install(function, &handler);
            by(function, "exit", true);
        })
        .await?;
    is_refused(&stack, &host, port, 3).await?;
    let words = "ExitNodeUnavailable: the exit node 'exit' is required, and cannot be used";
    logged(&stack, 0, words).await;
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);

    node.process.signal(Signal::SIGCONT).await;
    let through = async {
        while dial(&stack, &host, port).await?["body"] != "outside" {}
        Ok::<_, Failed>(())
    };
    within(REJOIN_LIMIT, "a dial by the exit node", through).await??;

    let control = &stack.backends.control;
    control.set_routes(control.node("exit").await?.id, &[]).await?;
    let shut = async {
        while dial(&stack, &host, port).await?["failed"] != "SOCKS5 reply 3" {}
        Ok::<_, Failed>(())
    };
    within(REJOIN_LIMIT, "a refusal of what must leave by it alone", shut).await??;
    is_refused(&stack, "unknown.invalid", port, 4).await?;
    let visitors = outside.visitors();
    assert!(
        visitors.iter().all(|from| *from == IpAddr::from(ADDRESS)),
        "{visitors:?}"
    );
    stack.end().await
}

/// WireGuard's first message to a peer that has not heard of this machine is lost, and the next would follow after 5 s.
async fn hears_late(context: Arc<SuiteContext>) -> TestResult {
    let stack = stack_with(&context, |_| ()).await?;
    let target = &stack.backends.target.node;
    target.process.signal(Signal::SIGSTOP).await;
    let address = target.address().to_string();
    let heard = async {
        let log = stack.lambda.process.log();
        log.find(0, |line| line.contains("joined tailnet as").then_some(()))
            .await;
        // The delay itself: it is what is tested.
        sleep(DEAF).await;
        target.process.signal(Signal::SIGCONT).await;
        Instant::now()
    };
    let (answer, heard) = join!(dial(&stack, &address, target::PORT), heard);
    let (answer, took) = (answer?, heard.elapsed());
    assert_eq!(answer["status"], 200, "{answer}\n{}", stack.log());
    assert!(took < Duration::from_secs(1), "it took {took:?}\n{}", stack.log());
    stack.end().await
}
