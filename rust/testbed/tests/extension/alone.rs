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
    foreign,
    lambda::Function,
    network::ADDRESS,
    suite::{Outcome, Setting, awake, set},
    target,
    world::World,
};
use tokio::{
    io::AsyncReadExt,
    join,
    time::{sleep, timeout},
};
use tokio_socks::tcp::Socks5Stream;

use crate::{
    exit_nodes::{by, exit_node},
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

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "alone: a handler of anybody's reaches the tailnet, by address and by name" => reaches,
        "alone: peers reach a listener in the function where they are let in, and only there" => reached,
        "alone: without a login nothing leaves, and the log says why" => nothing_leaves,
        "alone: what the tailnet does not cover leaves by the function's own network, but nothing comes back to it"
            => uncovered,
        "alone: nothing leaves by another way than a required exit node" => one_way_out,
        "alone: a peer that hears late of the newcomer is reached as soon as it does" => hears_late,
    ]
}

async fn world_with(setting: &Setting, adjust: impl FnOnce(&mut Function)) -> Result<World, Failed> {
    let handler = foreign::handler(setting)?;
    Ok(setting
        .world(|function| {
            foreign::be(function, &handler);
            adjust(function);
        })
        .await?)
}

/// Has the handler dial.
async fn dial(world: &World, host: &str, port: u16) -> Result<Value, Failed> {
    foreign::tell(world, json!({"do": "socks", "host": host, "port": port})).await
}

async fn reaches(setting: Arc<Setting>) -> Outcome {
    let world = world_with(&setting, |_| ()).await?;
    let address = world.surroundings.target.node.address().to_string();
    for host in [&address, target::HOSTNAME, &address] {
        let answer = foreign::tell(
            &world,
            json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get?a=1"}),
        )
        .await?;
        assert_eq!(answer["status"], 200, "{host}: {answer}\n{}", world.log());
        assert!(answer["body"].as_str().unwrap().contains("/get?a=1"), "{answer}");
    }
    let closed = foreign::tell(
        &world,
        json!({"do": "socks", "host": address, "port": target::CLOSED_PORT}),
    )
    .await?;
    assert!(
        closed["failed"].as_str().unwrap().starts_with("SOCKS5 reply"),
        "{closed}"
    );
    world.end().await
}

/// What a peer gets to read from this port of the function's address in the tailnet.
async fn heard(world: &World, peer: SocketAddr, port: u16) -> Result<String, Failed> {
    let own = world.surroundings.control.node("lambda-proxy").await?;
    let dial = Socks5Stream::connect(peer, (own.addresses[0].to_string(), port));
    let Ok(Ok(mut stream)) = timeout(DIAL_LIMIT, dial).await else {
        return Ok(String::new());
    };
    let mut heard = String::new();
    // A listener that says nothing, or a connection that is reset: nothing was heard.
    let _ = timeout(Duration::from_secs(1), stream.read_to_string(&mut heard)).await;
    Ok(heard)
}

async fn reached(setting: Arc<Setting>) -> Outcome {
    for (shields_up, expected) in [("false", "hello from the function"), ("true", "")] {
        let world = world_with(&setting, |function| {
            set(function, "TS_SHIELDS_UP", shields_up);
            awake(function);
        })
        .await?;
        foreign::tell(&world, json!({"do": "listen", "port": PORT})).await?;
        let surroundings = &world.surroundings;
        let socks = SocketAddr::from(([127, 0, 0, 1], 1077));
        let peer = surroundings.machine("peer", Some(socks)).await?;
        peer.meet(surroundings.control.node("lambda-proxy").await?.addresses[0])
            .await?;
        // What is kept out proves nothing where the peer reaches nobody.
        let target = surroundings.target.node.address().to_string();
        timeout(DIAL_LIMIT, Socks5Stream::connect(socks, (target, target::PORT))).await??;
        assert_eq!(heard(&world, socks, PORT).await?, expected, "shields up: {shields_up}");
        drop(peer);
        world.stop().await;
    }
    Ok(())
}

/// Before a login tailscaled would dial everything through the host's network.
async fn nothing_leaves(setting: Arc<Setting>) -> Outcome {
    let outside = Server::saying("outside").await?;
    let (host, port) = (outside.address.ip().to_string(), outside.address.port());

    let surroundings = setting.surroundings().await?;
    surroundings.control.refuse(Refusal::Unapproved).await?;
    let handler = foreign::handler(&setting)?;
    let world = surroundings.deploy(|function| foreign::be(function, &handler)).await?;
    for host in [&host, "name.example"] {
        let answer = dial(&world, host, port).await?;
        assert_eq!(answer["failed"], "SOCKS5 reply 3", "{answer}\n{}", world.log());
        let words = format!(
            "no connection to {host}:{port}: ApprovalRequired: an administrator of the tailnet must approve this machine"
        );
        logged(&world, 0, &words).await;
    }
    world.stop().await;

    let world = world_with(&setting, |function| {
        set(function, "TS_SECRET_API_KEY", "no-such-secret")
    })
    .await?;
    let answer = dial(&world, &host, port).await?;
    assert_eq!(answer["failed"], "SOCKS5 reply 3", "{answer}\n{}", world.log());
    logged(
        &world,
        0,
        &format!("no connection to {host}:{port}: NoAuthKey: cannot read an auth key from secret 'no-such-secret'"),
    )
    .await;
    world.stop().await;
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);
    Ok(())
}

async fn uncovered(setting: Arc<Setting>) -> Outcome {
    let outside = Server::saying("outside").await?;
    let (host, port) = (outside.address.ip().to_string(), outside.address.port());
    let world = world_with(&setting, |_| ()).await?;
    let answer = dial(&world, &host, port).await?;
    assert_eq!(answer["body"], "outside", "{answer}\n{}", world.log());
    let visitors = outside.visitors();
    assert!(
        matches!(visitors[..], [from] if from != IpAddr::from(ADDRESS)),
        "{visitors:?}"
    );

    let own = world.surroundings.control.node("lambda-proxy").await?;
    let own = own.addresses[0].to_string();
    for (host, why) in [
        (own.as_str(), "the function's own address"),
        ("100.100.100.100", "service address"),
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("localhost", "the function itself"),
        ("169.254.100.1", "a link-local address"),
    ] {
        let answer = dial(&world, host, 9001).await?;
        assert_eq!(answer["failed"], "SOCKS5 reply 2", "{host}: {answer}\n{}", world.log());
        logged(&world, 0, why).await;
    }
    // Nobody knows it: neither the tailnet nor what tailscaled asks then.
    let answer = dial(&world, "unknown.invalid", port).await?;
    assert_eq!(answer["failed"], "SOCKS5 reply 1", "{answer}\n{}", world.log());
    logged(&world, 0, &format!("no connection to unknown.invalid:{port}")).await;
    world.end().await
}

/// What must leave by the exit node leaves by no other way when that does not answer, or is one no longer.
async fn one_way_out(setting: Arc<Setting>) -> Outcome {
    let outside = Server::saying("outside").await?;
    let (host, port) = (outside.address.ip().to_string(), outside.address.port());
    let handler = foreign::handler(&setting)?;
    let surroundings = setting.surroundings().await?;
    let node = exit_node(&surroundings).await?;
    node.process.signal(Signal::SIGSTOP).await;
    let world = surroundings
        .deploy(|function| {
            foreign::be(function, &handler);
            by(function, "exit", true);
        })
        .await?;
    let answer = dial(&world, &host, port).await?;
    assert_eq!(answer["failed"], "SOCKS5 reply 3", "{answer}\n{}", world.log());
    logged(
        &world,
        0,
        "ExitNodeUnavailable: the exit node 'exit' is required, and cannot be used",
    )
    .await;
    assert_eq!(outside.visitors(), [] as [IpAddr; 0]);

    node.process.signal(Signal::SIGCONT).await;
    let through = async {
        while dial(&world, &host, port).await?["body"] != "outside" {}
        Ok::<_, Failed>(())
    };
    within(REJOIN_LIMIT, "a dial by the exit node", through).await??;

    let control = &world.surroundings.control;
    control.set_routes(control.node("exit").await?.id, &[]).await?;
    let shut = async {
        loop {
            let answer = dial(&world, &host, port).await?;
            if answer["failed"] == "SOCKS5 reply 3" {
                return Ok::<_, Failed>(());
            }
        }
    };
    within(
        REJOIN_LIMIT,
        "a refusal of what must leave by the exit node alone",
        shut,
    )
    .await??;
    let answer = dial(&world, "unknown.invalid", port).await?;
    assert_eq!(answer["failed"], "SOCKS5 reply 4", "{answer}\n{}", world.log());
    let visitors = outside.visitors();
    assert!(
        visitors.iter().all(|from| *from == IpAddr::from(ADDRESS)),
        "{visitors:?}"
    );
    world.end().await
}

/// WireGuard's first message to a peer that has not heard of this machine is lost, and the next would follow after 5 s.
async fn hears_late(setting: Arc<Setting>) -> Outcome {
    let world = world_with(&setting, |_| ()).await?;
    let target = &world.surroundings.target.node;
    target.process.signal(Signal::SIGSTOP).await;
    let address = target.address().to_string();
    let heard = async {
        let log = world.lambda.process.log();
        log.find(0, |line| line.contains("joined tailnet as").then_some(()))
            .await;
        // The delay itself: it is what is tested.
        sleep(DEAF).await;
        target.process.signal(Signal::SIGCONT).await;
        Instant::now()
    };
    let (answer, heard) = join!(dial(&world, &address, target::PORT), heard);
    let (answer, took) = (answer?, heard.elapsed());
    assert_eq!(answer["status"], 200, "{answer}\n{}", world.log());
    assert!(took < Duration::from_secs(1), "it took {took:?}\n{}", world.log());
    world.end().await
}
