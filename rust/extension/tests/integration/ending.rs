//! The end of an environment, in every state that it may come in, by a clock that stands still.

use std::{sync::Arc, time::Duration};

use extension::{credentials::Keys, exit_node::ExitNode, secret::Secret, trouble::Trouble};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    fake_daemon::Plan,
    stage::{Ending, FakeKeys, INIT_LIMIT, LATE, LIMIT, Stage, config, ms},
};

/// What the daemon says when the control server cannot be reached.
const UNREACHABLE: &str =
    r#"{"Health":{"Warnings":{"login-state":{"Args":{"error":"fetch control key: dial tcp: connection refused"}}}}}"#;
/// What it says when there is no network.
const NO_NETWORK: &str = r#"{"Health":{"Warnings":{"network-status":{}}}}"#;

/// A state that an environment may be ended in, how it is brought about, and whether a machine may be in the tailnet.
struct Scene {
    name: &'static str,
    plan: Plan,
    keys: FakeKeys,
    known: bool,
}

fn scenes() -> Vec<Scene> {
    let scene = |name, plan, keys, known| Scene {
        name,
        plan,
        keys,
        known,
    };
    let says = |login| Plan {
        login,
        ..Plan::default()
    };
    let usual = Plan::default;
    let starting = Plan {
        opens_after: None,
        ..usual()
    };
    let crashing = Plan {
        lives_for: Some(ms(10)),
        ..usual()
    };
    let no_logout = Plan {
        mute: vec!["logout"],
        ..usual()
    };
    vec![
        scene("starting", starting, FakeKeys::Good, false),
        scene("waiting-for-the-secret", usual(), FakeKeys::Awaited, false),
        scene("without-a-key", usual(), FakeKeys::Missing, false),
        scene("logging-in", says(None), FakeKeys::Good, true),
        scene("unapproved", says(Some(r#"{"State":3}"#)), FakeKeys::Good, true),
        scene(
            "refused",
            says(Some(r#"{"ErrMessage":"invalid key"}"#)),
            FakeKeys::Good,
            false,
        ),
        scene(
            "without-its-tags",
            says(Some(r#"{"ErrMessage":"requested tags [tag:a] are invalid"}"#)),
            FakeKeys::Good,
            false,
        ),
        scene(
            "a-person-must-log-in",
            says(Some(r#"{"BrowseToURL":"http://control/a"}"#)),
            FakeKeys::Good,
            false,
        ),
        scene("control-unreachable", says(Some(UNREACHABLE)), FakeKeys::Good, true),
        scene("without-a-network", says(Some(NO_NETWORK)), FakeKeys::Good, true),
        scene("crashing", crashing, FakeKeys::Good, false),
        scene("up", usual(), FakeKeys::Good, true),
        scene("up-but-control-is-gone", no_logout, FakeKeys::Good, true),
    ]
}

#[tokio::test(start_paused = true)]
async fn sigterm_ends_it_in_time_in_every_state() {
    for Scene {
        name,
        plan,
        keys,
        known,
    } in scenes()
    {
        let stage = Stage::new(&format!("sigterm-{name}"), plan, keys, false);
        // By now each scene is in its state, and most are still in INIT.
        sleep(Duration::from_secs(1)).await;
        let before = stage.daemon.count("logout");
        assert_eq!(stage.end(Ending::Sigterm).await > before, known, "{name}");
    }
}

/// Lambda's event reaches an extension that asks for one: after INIT, which the login may hold up.
#[tokio::test(start_paused = true)]
async fn shutdown_ends_it_in_time_in_every_state() {
    for Scene {
        name,
        plan,
        keys,
        known,
    } in scenes()
    {
        let mut stage = Stage::new(&format!("shutdown-{name}"), plan, keys, false);
        assert!(stage.asks().await <= INIT_LIMIT, "{name}");
        let before = stage.daemon.count("logout");
        assert_eq!(stage.end(Ending::Shutdown).await > before, known, "{name}");
    }
}

/// Tells when its secret is read again, which never comes to an end.
struct Rereading(Arc<Notify>);

impl Keys for Rereading {
    async fn login_key(&self) -> Result<Secret, Trouble> {
        FakeKeys::Good.login_key().await
    }

    async fn renewed(&self) -> Result<bool, Trouble> {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// How long ago it was read shows by the wall clock alone, which no test can stop: 4 s are waited for.
#[tokio::test(start_paused = true)]
async fn it_ends_in_time_while_the_secret_is_read_again() {
    let refused = Plan {
        login: Some(r#"{"ErrMessage":"invalid key"}"#),
        ..Plan::default()
    };
    let mut stages = Vec::new();
    for ending in [Ending::Shutdown, Ending::Sigterm] {
        let read = Arc::new(Notify::new());
        let keys = Rereading(Arc::clone(&read));
        let mut stage = Stage::new(&format!("rereading-{ending:?}"), refused.clone(), keys, false);
        stage.asks().await;
        stages.push((stage, read, ending));
    }
    std::thread::sleep(ms(4001));
    for (mut stage, read, ending) in stages {
        stage.tailnet.ready(ms(0)).await.unwrap_err();
        timeout(LIMIT, read.notified()).await.unwrap();
        assert_eq!(stage.end(ending).await, 0);
    }
}

/// It is done within INIT, before Lambda's event can be heard: SIGTERM alone can meet it.
#[tokio::test(start_paused = true)]
async fn it_ends_in_time_while_the_exit_node_is_awaited() {
    let mut config = config();
    config.exit_node = Some(ExitNode {
        node: "100.64.0.2".into(),
        required: true,
        ping_timeout: ms(2000),
        pings: 10,
    });
    let plan = Plan {
        mute: vec!["ping"],
        ..Plan::default()
    };
    let stage = Stage::with("exit-node", &config, plan, FakeKeys::Good);
    sleep(Duration::from_secs(1)).await;
    assert!(stage.daemon.count("ping") > 0, "the exit node was not asked");
    assert_eq!(stage.end(Ending::Sigterm).await, 1);
}

/// A gap shows by the wall clock alone, which no test can stop: two are waited for.
#[tokio::test(start_paused = true)]
async fn it_ends_in_time_while_the_link_is_looked_after() {
    let stages = [
        ("silent", &["ping"][..], Ending::Shutdown),
        ("silent", &["ping"], Ending::Sigterm),
        ("stuck", &["ping", "debug", "status"], Ending::Shutdown),
        ("stuck", &["ping", "debug", "status"], Ending::Sigterm),
    ]
    .map(|(name, mute, ending)| {
        let name = format!("thaw-{name}-{ending:?}");
        (Stage::new(&name, Plan::default(), FakeKeys::Good, false), mute, ending)
    });
    let mut ready = Vec::new();
    for (mut stage, mute, ending) in stages {
        stage.asks().await;
        stage.daemon.plan(|plan| plan.mute = mute.to_vec());
        ready.push((stage, ending));
    }
    std::thread::sleep(ms(2001));
    for (stage, ending) in ready {
        stage.invoke(LATE);
        stage.end(ending).await;
    }
}
