//! The control server behaves as Tailscale's does, and fails as it is told to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use testbed::{
    Error,
    control::{Counts, Crowd, KeyKind},
    deadline::within,
    node::Node,
    suite::{Outcome, Setting, trial},
    world::{AUTH_KEY, Surroundings},
};
use tokio::time::sleep;

/// How long news may take to reach a node.
const NEWS: Duration = Duration::from_secs(5);
/// How long nothing may happen, where nothing is to happen.
const NOTHING: Duration = Duration::from_millis(700);
/// A tailnet that is large.
const PEERS: usize = 5000;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(setting, "control: a single-use key serves once", single_use),
        trial(setting, "control: keys can be revoked and purged", revoked),
        trial(
            setting,
            "control: an ephemeral machine is gone when it logs out",
            logged_out,
        ),
        trial(
            setting,
            "control: a removed machine is answered with 404, and its peers forget it",
            removed,
        ),
        trial(setting, "control: it can be slow", slow),
        trial(
            setting,
            "control: it can be silent, on open streams too, and has its say after",
            silent,
        ),
        trial(setting, "control: a tailnet of 5,000 machines", crowd),
    ]
}

async fn node(surroundings: &Surroundings, hostname: &str, key: &str) -> Result<Node, Error> {
    let program = &surroundings.binaries.tailscaled;
    Node::start(
        program,
        hostname,
        None,
        &surroundings.control,
        key,
        &surroundings.run_dir,
    )
    .await
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

async fn refused(surroundings: &Surroundings, hostname: &str, key: &str, words: &str) {
    let error = node(surroundings, hostname, key).await.map(drop);
    let error = error.map_or_else(|error| error.to_string(), |()| "it was let in".to_owned());
    assert!(error.contains(words), "{error}");
}

async fn single_use(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let kind = KeyKind {
        reusable: false,
        ephemeral: true,
    };
    surroundings.control.declare_key("tskey-once", kind).await?;
    let first = node(&surroundings, "first", "tskey-once").await?;
    refused(&surroundings, "second", "tskey-once", "authkey already used").await;
    let counts = surroundings.control.counts("first").await?;
    assert_eq!(
        counts,
        Counts {
            new: 1,
            ..Counts::default()
        }
    );
    assert!(surroundings.control.counts("second").await?.refused > 0);
    drop(first);
    surroundings.stop().await;
    Ok(())
}

async fn revoked(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    surroundings.control.revoke_key(AUTH_KEY).await?;
    refused(&surroundings, "late", AUTH_KEY, "invalid key: API key does not exist").await;
    surroundings.control.purge_key(AUTH_KEY).await?;
    refused(
        &surroundings,
        "later",
        AUTH_KEY,
        "invalid key: unable to validate API key",
    )
    .await;
    surroundings.stop().await;
    Ok(())
}

async fn logged_out(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let leaving = node(&surroundings, "leaving", AUTH_KEY).await?;
    target_knows(&surroundings, "leaving", 1).await?;
    leaving.local_api.log_out().await?;
    assert!(surroundings.control.node("leaving").await.is_err(), "it is still there");
    let counts = surroundings.control.counts("leaving").await?;
    assert_eq!((counts.new, counts.logged_out), (1, 1), "{counts:?}");
    target_knows(&surroundings, "leaving", 0).await?;
    drop(leaving);
    surroundings.stop().await;
    Ok(())
}

async fn removed(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let forgotten = node(&surroundings, "forgotten", AUTH_KEY).await?;
    target_knows(&surroundings, "forgotten", 1).await?;
    let id = surroundings.control.node("forgotten").await?.id;
    surroundings.control.remove(id).await?;
    target_knows(&surroundings, "forgotten", 0).await?;
    let log = forgotten.process.log();
    let told = log.find(0, |line| line.contains("404: node not found").then_some(()));
    within(NEWS, "word of the removal", told).await?;
    drop(forgotten);
    surroundings.stop().await;
    Ok(())
}

async fn slow(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let delay = Duration::from_millis(500);
    surroundings.control.delay(delay).await?;
    let began = Instant::now();
    let patient = node(&surroundings, "patient", AUTH_KEY).await?;
    let took = began.elapsed();
    // Its keys, the registration, and the network map.
    assert!(took > 3 * delay, "it took {took:?}");
    drop(patient);
    surroundings.stop().await;
    Ok(())
}

async fn silent(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let control = &surroundings.control;
    let leaving = node(&surroundings, "leaving", AUTH_KEY).await?;
    target_knows(&surroundings, "leaving", 1).await?;
    control.be_silent(Duration::from_secs(60)).await?;
    let id = control.node("leaving").await?.id;
    control.remove(id).await?;
    let waiting = node(&surroundings, "waiting", AUTH_KEY);
    let joined = tokio::time::timeout(NOTHING, waiting).await;
    assert!(joined.is_err(), "it was answered");
    assert_eq!(peers(&surroundings, "leaving").await?, 1, "its peer was told");
    control.be_silent(Duration::ZERO).await?;
    target_knows(&surroundings, "leaving", 0).await?;
    drop(node(&surroundings, "waiting-again", AUTH_KEY).await?);
    drop(leaving);
    surroundings.stop().await;
    Ok(())
}

async fn crowd(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let crowd = Crowd {
        peers: PEERS,
        online: 50,
        siblings: 20,
        hostname: "lambda-proxy".to_owned(),
        tags: vec!["tag:lambda".to_owned()],
    };
    surroundings.control.add_crowd(&crowd).await?;
    let one = node(&surroundings, "one", AUTH_KEY).await?;
    let peers = one.local_api.peers().await?;
    assert_eq!(peers.len(), PEERS + 20 + 1);
    assert_eq!(peers.iter().filter(|peer| peer.online).count(), 50 + 20 + 1);
    one.meet(surroundings.target.node.address().into()).await?;
    assert_eq!(
        surroundings.control.nodes().await?.len(),
        2,
        "the crowd is not among the nodes"
    );
    drop(one);
    surroundings.stop().await;
    Ok(())
}
