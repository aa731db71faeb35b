//! The extension beside a handler that is not ours, which finds the tailnet behind a SOCKS5 server on localhost:1055.

use std::{
    fs::File,
    io::Write,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    control::Refusal,
    expect::logged,
    lambda::Function,
    network::ADDRESS,
    node::Node,
    suite::{Outcome, Setting, awake, set, trial},
    target,
    world::{AUTH_KEY, World},
};
use tokio::{io::AsyncReadExt, time::timeout};
use tokio_socks::tcp::Socks5Stream;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::server::Server;

/// How long a dial through the tailnet may take.
const DIAL_LIMIT: Duration = Duration::from_secs(8);
/// Where the function listens, in the test that lets peers in.
const PORT: u16 = 7000;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(
            setting,
            "alone: a handler of anybody's reaches the tailnet, by address and by name",
            reaches,
        ),
        trial(
            setting,
            "alone: peers reach a listener in the function where they are let in, and only there",
            reached,
        ),
        trial(
            setting,
            "alone: without a login the SOCKS5 server leads out by the function's own network",
            leads_out,
        ),
    ]
}

/// A handler that knows nothing of this project.
fn foreign_handler(setting: &Setting) -> Result<PathBuf, Failed> {
    let path = setting.run_dir.join("foreign.zip");
    let mut zip = ZipWriter::new(File::create(&path)?);
    let options = SimpleFileOptions::default()
        .unix_permissions(0o755)
        .compression_method(CompressionMethod::Stored);
    zip.start_file("bootstrap", options)?;
    zip.write_all(&std::fs::read(&setting.binaries.scripted_function)?)?;
    zip.finish()?;
    Ok(path)
}

fn be(function: &mut Function, handler: &Path) {
    function.settings.insert("handlerZip".into(), json!(handler));
    function.environment.remove("TS_DIRECT_SOCKS");
}

async fn world_with(setting: &Setting, adjust: impl FnOnce(&mut Function)) -> Result<World, Failed> {
    let handler = foreign_handler(setting)?;
    Ok(setting
        .world(|function| {
            be(function, &handler);
            adjust(function);
        })
        .await?)
}

/// Has the handler do something.
async fn tell(world: &World, what: Value) -> Result<Value, Failed> {
    let request = world
        .url()
        .request("POST", "/")
        .header("content-type", "application/json");
    let answer = world.url().send(request.body(Bytes::from(what.to_string()))?).await?;
    assert_eq!(
        answer.status(),
        200,
        "{answer:?}\n{}",
        world.lambda.process.log().tail()
    );
    Ok(serde_json::from_slice(answer.body())?)
}

async fn reaches(setting: Arc<Setting>) -> Outcome {
    let world = world_with(&setting, |_| ()).await?;
    let address = world.surroundings.target.node.address().to_string();
    for host in [&address, target::HOSTNAME, &address] {
        let answer = tell(
            &world,
            json!({"do": "socks", "host": host, "port": target::PORT, "path": "/get?a=1"}),
        )
        .await?;
        assert_eq!(
            answer["status"],
            200,
            "{host}: {answer}\n{}",
            world.lambda.process.log().tail()
        );
        assert!(answer["body"].as_str().unwrap().contains("/get?a=1"), "{answer}");
    }
    let closed = tell(
        &world,
        json!({"do": "socks", "host": address, "port": target::CLOSED_PORT}),
    )
    .await?;
    assert!(
        closed["failed"].as_str().unwrap().starts_with("SOCKS5 reply"),
        "{closed}"
    );
    world.stop().await;
    Ok(())
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
        tell(&world, json!({"do": "listen", "port": PORT})).await?;
        let surroundings = &world.surroundings;
        let socks = SocketAddr::from(([127, 0, 0, 1], 1077));
        let program = &surroundings.binaries.tailscaled;
        let (control, run_dir) = (&surroundings.control, &surroundings.run_dir);
        let peer = Node::start(program, "peer", Some(socks), control, AUTH_KEY, run_dir).await?;
        assert_eq!(heard(&world, socks, PORT).await?, expected, "shields up: {shields_up}");
        drop(peer);
        world.stop().await;
    }
    Ok(())
}

/// tailscaled's server dials what the tailnet does not cover through the host's network, and before a login it covers
/// nothing: the README says so, and what helps. After a login that failed for good nothing listens there.
async fn leads_out(setting: Arc<Setting>) -> Outcome {
    let outside = Server::saying("outside").await?;
    let (host, port) = (outside.address.ip().to_string(), outside.address.port());
    let dial = json!({"do": "socks", "host": host, "port": port});

    let surroundings = setting.surroundings().await?;
    surroundings.control.refuse(Refusal::Unapproved).await?;
    let handler = foreign_handler(&setting)?;
    let world = surroundings.deploy(|function| be(function, &handler)).await?;
    let answer = tell(&world, dial.clone()).await?;
    logged(&world, 0, "must approve this machine").await;
    assert_eq!(answer["body"], "outside", "{answer}");
    let visitors = outside.visitors();
    assert!(
        matches!(visitors[..], [from] if from != IpAddr::from(ADDRESS)),
        "{visitors:?}"
    );
    world.stop().await;

    let world = world_with(&setting, |function| {
        set(function, "TS_SECRET_API_KEY", "no-such-secret")
    })
    .await?;
    let answer = tell(&world, dial).await?;
    logged(&world, 0, "ResourceNotFoundException").await;
    assert_eq!(answer["failed"], "Connection refused (os error 111)", "{answer}");
    assert_eq!(outside.visitors().len(), 1);
    world.stop().await;
    Ok(())
}
