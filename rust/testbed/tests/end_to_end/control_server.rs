//! What tests of the product take for granted of the control server, and would pass without: that it takes no key that serves
//! no more, its silence, and a crowd.

use std::{sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use testbed::{
    control::{Crowd, KeyKind},
    deadline::within,
    node::Node,
    suite::{Outcome, Setting},
    world::Surroundings,
};
use tokio::time::sleep;

/// How long news may take to reach a node.
const NEWS: Duration = Duration::from_secs(5);
/// How long nothing may happen, where nothing is to happen.
const NOTHING: Duration = Duration::from_millis(700);
/// A tailnet that is large.
const PEERS: usize = 5000;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "control: a key that is used up, revoked or purged lets nobody in" => useless_keys,
        "control: it can be silent, on open streams too, and has its say after" => silent,
        "control: a tailnet of 5,000 machines" => crowd,
    ]
}

/// Waits until the target knows so many machines of this name.
async fn target_knows(surroundings: &Surroundings, hostname: &str, count: usize) -> Outcome {
    let known = async {
        while peers(surroundings, hostname).await? != count {
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, Failed>(())
    };
    within(NEWS, &format!("word of {count} of {hostname}"), known).await?
}

async fn peers(surroundings: &Surroundings, hostname: &str) -> Result<usize, Failed> {
    let peers = surroundings.target.node.local_api.peers().await?;
    Ok(peers.iter().filter(|peer| peer.host_name == hostname).count())
}

async fn useless_keys(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let (control, run_dir) = (&surroundings.control, &surroundings.run_dir);
    let join = |hostname, key| {
        let program = &surroundings.binaries.tailscaled;
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
    surroundings.stop().await;
    Ok(())
}

async fn silent(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let control = &surroundings.control;
    let leaving = surroundings.machine("leaving", None).await?;
    target_knows(&surroundings, "leaving", 1).await?;
    control.be_silent(Duration::from_secs(60)).await?;
    let id = control.node("leaving").await?.id;
    control.remove(id).await?;
    let waiting = surroundings.machine("waiting", None);
    let joined = tokio::time::timeout(NOTHING, waiting).await;
    assert!(joined.is_err(), "it was answered");
    assert_eq!(peers(&surroundings, "leaving").await?, 1, "its peer was told");
    control.be_silent(Duration::ZERO).await?;
    target_knows(&surroundings, "leaving", 0).await?;
    drop(surroundings.machine("waiting-again", None).await?);
    drop(leaving);
    surroundings.stop().await;
    Ok(())
}

async fn crowd(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let crowd = Crowd::of(PEERS + 20, 20);
    surroundings.control.add_crowd(&crowd).await?;
    let one = surroundings.machine("one", None).await?;
    let peers = one.local_api.peers().await?;
    assert_eq!(peers.len(), PEERS + 20 + 1);
    assert_eq!(peers.iter().filter(|peer| peer.online).count(), 50 + 20 + 1);
    one.meet(surroundings.target.node.address().into()).await?;
    let nodes = surroundings.control.nodes().await?;
    assert_eq!(nodes.len(), 2, "the crowd is not among the nodes");
    drop(one);
    surroundings.stop().await;
    Ok(())
}
