//! What tests of the product take for granted of the control server, and would pass without: that it takes no key that serves
//! no more, its silence, and a crowd.

use std::{sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use testbed::{
    control::{Crowd, KeyKind},
    deadline::within,
    node::Node,
    stack::Backends,
    suite::{SuiteContext, TestResult},
};
use tokio::time::sleep;

/// How long news may take to reach a node.
const NEWS: Duration = Duration::from_secs(5);
/// How long nothing may happen, where nothing is to happen.
const NOTHING: Duration = Duration::from_millis(700);
/// A tailnet that is large.
const PEERS: usize = 5000;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "control: a key that is used up, revoked or purged is refused" => useless_keys,
        "control: it can stay silent, on open streams too, and responds afterwards" => silent,
        "control: a tailnet of 5,000 machines" => crowd,
    ]
}

/// Waits until the target knows so many machines of this name.
async fn target_knows(backends: &Backends, hostname: &str, count: usize) -> TestResult {
    let known = async {
        while peers(backends, hostname).await? != count {
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, Failed>(())
    };
    within(NEWS, &format!("word of {count} of {hostname}"), known).await?
}

async fn peers(backends: &Backends, hostname: &str) -> Result<usize, Failed> {
    let peers = backends.target.node.local_api.peers().await?;
    Ok(peers.iter().filter(|peer| peer.host_name == hostname).count())
}

async fn useless_keys(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    let (control, run_dir) = (&backends.control, &backends.run_dir);
    let join = |hostname, key| {
        let program = &backends.binaries.tailscaled;
        Node::start(program, hostname, None, control.url(), key, run_dir)
    };
    let refused = async |hostname, key, words: &str| {
        let error = join(hostname, key).await.map(drop);
        let error = error.map_or_else(|error| error.to_string(), |()| "it was let in".to_owned());
        assert!(error.contains(words), "{hostname}: {error}");
    };
    for (key, reusable) in [("tskey-once", false), ("tskey-many", true)] {
        let ephemeral = true;
        control.declare_key(key, KeyKind { reusable, ephemeral }).await?;
    }
    let first = join("first", "tskey-once").await?;
    refused("second", "tskey-once", "authkey already used").await;
    let counts = control.counts("second").await?;
    assert!(counts.new == 0 && counts.refused > 0, "{counts:?}");
    control.revoke_key("tskey-many").await?;
    refused("late", "tskey-many", "invalid key: API key does not exist").await;
    control.purge_key("tskey-many").await?;
    refused("later", "tskey-many", "invalid key: unable to validate API key").await;
    drop(first);
    backends.stop().await;
    Ok(())
}

async fn silent(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    let control = &backends.control;
    let leaving = backends.machine("leaving", None).await?;
    target_knows(&backends, "leaving", 1).await?;
    control.be_silent(Duration::from_secs(60)).await?;
    let id = control.node("leaving").await?.id;
    control.remove(id).await?;
    let waiting = backends.machine("waiting", None);
    let joined = tokio::time::timeout(NOTHING, waiting).await;
    assert!(joined.is_err(), "it was answered");
    assert_eq!(peers(&backends, "leaving").await?, 1, "its peer was told");
    control.be_silent(Duration::ZERO).await?;
    target_knows(&backends, "leaving", 0).await?;
    drop(backends.machine("waiting-again", None).await?);
    drop(leaving);
    backends.stop().await;
    Ok(())
}

async fn crowd(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    let crowd = Crowd::of(PEERS + 20, 20);
    backends.control.add_crowd(&crowd).await?;
    let one = backends.machine("one", None).await?;
    let peers = one.local_api.peers().await?;
    assert_eq!(peers.len(), PEERS + 20 + 1);
    assert_eq!(peers.iter().filter(|peer| peer.online).count(), 50 + 20 + 1);
    one.wait_for_session(backends.target.node.address().into()).await?;
    let nodes = backends.control.nodes().await?;
    assert_eq!(nodes.len(), 2, "the crowd is not among the nodes");
    drop(one);
    backends.stop().await;
    Ok(())
}
