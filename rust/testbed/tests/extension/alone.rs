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

/// Has the handler dial, which the SOCKS5 server must answer with this reply.
async fn is_refused(world: &World, host: &str, port: u16, reply: u8) -> Outcome {
    let answer = dial(world, host, port).await?;
    let expected = format!("SOCKS5 reply {reply}");
    assert_eq!(answer["failed"], expected, "{host}: {answer}\n{}", world.log());
    Ok(())
}

async fn reaches(setting: Arc<Setting>) -> Outcome {
    let world = world_with(&setting, |_| ()).await?;
    let address = world.surroundings.target.node.address().to_string();
    for host in [&address, target::HOSTNAME, &address] {
        let get = json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get?a=1"});
        let answer = foreign::tell(&world, get).await?;
        assert_eq!(answer["status"], 200, "{host}: {answer}\n{}", world.log());
        assert!(answer["body"].as_str().unwrap().contains("/get?a=1"), "{answer}");
    }
    let closed = dial(&world, &address, target::CLOSED_PORT).await?;
    let failed = closed["failed"].as_str().unwrap();
    assert!(failed.starts_with("SOCKS5 reply"), "{closed}");
    world.end().await
}

/// What a peer gets to read from this port of the function's address in the tailnet; `None` if it does not get in.
async fn heard(world: &World, peer: SocketAddr, port: u16) -> Result<Option<String>, Failed> {
    let own = world.surroundings.control.node("lambda-proxy").await?;
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
async fn reached(setting: Arc<Setting>) -> Outcome {
    for let_in in [true, false] {
        let world = world_with(&setting, |function| {
            if let_in {
                set(function, "TS_SHIELDS_UP", "false");
            }
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
        if let_in {
            let hello = Some("hello from the function".to_owned());
            assert_eq!(heard(&world, socks, PORT).await?, hello);
        } else {
            for port in [PORT, 9001, 1055] {
                assert_eq!(heard(&world, socks, port).await?, None, "{port}");
            }
        }
        drop(peer);
        world.stop().await;
    }
    Ok(())
}

/// Before a login tailscaled would dial everything through the host's network.
async fn nothing_leaves(setting: Arc<Setting>) -> Outcome {
    let outside = Server::saying("outside").await?;
    let (outside_host, port) = (outside.address.ip().to_string(), outside.address.port());
    let handler = foreign::handler(&setting)?;
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
        let surroundings = setting.surroundings().await?;
        surroundings.control.refuse(refusal).await?;
        let world = surroundings
            .deploy(|function| {
                foreign::be(function, &handler);
                if let Some(secret) = secret {
                    set(function, "TS_SECRET_API_KEY", secret);
                }
            })
            .await?;
        for host in [&outside_host, "name.example"] {
            is_refused(&world, host, port, 3).await?;
            logged(&world, 0, &format!("no connection to {host}:{port}: {why}")).await;
        }
        world.stop().await;
    }
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
        is_refused(&world, host, 9001, 2).await?;
        logged(&world, 0, why).await;
    }
    // Nobody knows it: neither the tailnet nor what tailscaled asks then.
    is_refused(&world, "unknown.invalid", port, 1).await?;
    logged(&world, 0, &format!("no connection to unknown.invalid:{port}")).await;
    world.end().await
}

/// What must leave by the exit node leaves by no other way when that does not answer, or is one no longer.
async fn one_way_out(setting: Arc<Setting>) -> Outcome {
    let (surroundings, node, outside) = with_silent_exit_node(&setting).await?;
    let (host, port) = (outside.address.ip().to_string(), outside.address.port());
    let handler = foreign::handler(&setting)?;
    let world = surroundings
        .deploy(|function| {
            foreign::be(function, &handler);
            by(function, "exit", true);
        })
        .await?;
    is_refused(&world, &host, port, 3).await?;
    let words = "ExitNodeUnavailable: the exit node 'exit' is required, and cannot be used";
    logged(&world, 0, words).await;
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
        while dial(&world, &host, port).await?["failed"] != "SOCKS5 reply 3" {}
        Ok::<_, Failed>(())
    };
    within(REJOIN_LIMIT, "a refusal of what must leave by it alone", shut).await??;
    is_refused(&world, "unknown.invalid", port, 4).await?;
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
