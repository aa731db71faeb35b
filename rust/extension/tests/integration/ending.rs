//! The end of an environment, in every state that it may come in: within 2 s, and logged out where that is possible.

use extension::supervisor::exit_node::ExitNode;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    fake_keys::{FakeKeys, HungReread},
    fake_tailscaled::{LOCKED_OUT, Login, PEER, Peer, Plan, UNREACHABLE},
    stage::{Ending, INIT_LIMIT, LATE, LIMIT, SHUTDOWN_LIMIT, Stage, config, ms, secs},
};

/// The notification of a tailscaled that sees no network.
const NO_NETWORK: &str = r#"{"Health":{"Warnings":{"network-status":{}}}}"#;

/// A state that an environment may be ended in, how it is reached, and whether a machine may be in the tailnet.
struct Scenario {
    name: &'static str,
    plan: Plan,
    keys: FakeKeys,
    registered: bool,
}

fn scenarios() -> Vec<Scenario> {
    let scenario = |name, plan, keys, registered| Scenario {
        name,
        plan,
        keys,
        registered,
    };
    let login = |login| Plan {
        login,
        ..Plan::default()
    };
    let notified = |line| login(Login::Notifies(line));
    let starting = Plan {
        listens_after: None,
        ..Plan::default()
    };
    let crashing = Plan {
        lives_for: Some(ms(10)),
        ..Plan::default()
    };
    let without_logout = Plan {
        hung: vec!["logout"],
        ..Plan::default()
    };
    let without_answers = Plan {
        hung: vec!["logout", "disconnect-control", "prefs"],
        ..Plan::default()
    };
    let good = FakeKeys::Good;
    vec![
        scenario("starting", starting, good, false),
        scenario("waiting for the secret", Plan::default(), FakeKeys::Hung, false),
        scenario("without a key", Plan::default(), FakeKeys::Missing, false),
        scenario("logging in", login(Login::Silent), good, true),
        scenario("not approved", notified(r#"{"State":3}"#), good, true),
        scenario("locked out", notified(LOCKED_OUT), good, true),
        scenario("key rejected", notified(r#"{"ErrMessage":"invalid key"}"#), good, false),
        scenario(
            "tags rejected",
            notified(r#"{"ErrMessage":"requested tags [tag:a] are invalid"}"#),
            good,
            false,
        ),
        scenario(
            "interactive login",
            notified(r#"{"BrowseToURL":"http://control/a"}"#),
            good,
            false,
        ),
        scenario("control unreachable", notified(UNREACHABLE), good, true),
        scenario("no network", notified(NO_NETWORK), good, true),
        scenario("crashing", crashing, good, false),
        scenario("running", Plan::default(), good, true),
        scenario("running without control", without_logout, good, true),
        scenario("running without a responsive tailscaled", without_answers, good, true),
    ]
}

#[tokio::test(start_paused = true)]
async fn sigterm_ends_it_in_time_in_every_state() {
    for Scenario {
        name,
        plan,
        keys,
        registered,
    } in scenarios()
    {
        let stage = Stage::with_keys(plan, keys);
        // By now each scenario is in its state, and most are still in INIT.
        sleep(secs(1)).await;
        let before = stage.tailscaled.count("logout");
        assert_eq!(stage.end(Ending::Sigterm).await > before, registered, "{name}");
    }
}

/// Lambda's event reaches an extension that asks for one: after INIT, which the login may hold up.
#[tokio::test(start_paused = true)]
async fn shutdown_ends_it_in_time_in_every_state() {
    for Scenario {
        name,
        plan,
        keys,
        registered,
    } in scenarios()
    {
        let stage = Stage::with_keys(plan, keys);
        assert!(stage.ready().await <= INIT_LIMIT, "{name}");
        let before = stage.tailscaled.count("logout");
        assert_eq!(stage.end(Ending::Shutdown).await > before, registered, "{name}");
    }
}

/// A freeze comes before nearly every SHUTDOWN.
#[tokio::test(start_paused = true)]
async fn a_log_out_over_a_dead_connection_is_repeated_over_a_new_one() {
    for ending in [Ending::Shutdown, Ending::Sigterm] {
        for round_trip in [2, 100, 300] {
            for whole_link in [true, false] {
                let stage = Stage::joined(Plan::with_peers([Peer::new("db", PEER).at(ms(round_trip))])).await;
                stage.freeze(secs(400));
                if whole_link {
                    stage.tailscaled.kill_links();
                } else {
                    stage.tailscaled.kill_control();
                }
                let tailscaled = stage.tailscaled.clone();
                assert_eq!(stage.end(ending).await, 2, "{round_trip} ms away");
                assert_eq!(tailscaled.counts().log_outs, 1, "{round_trip} ms away");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_out_over_a_live_connection_takes_no_second_one() {
    let stage = Stage::joined(Plan::default()).await;
    let (tailscaled, began) = (stage.tailscaled.clone(), Instant::now());
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
    assert!(began.elapsed() < ms(10), "{:?}", began.elapsed());
    assert_eq!((tailscaled.counts().log_outs, tailscaled.counts().disconnects), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn it_ends_in_time_while_the_control_client_sleeps_in_its_back_off() {
    for ending in [Ending::Shutdown, Ending::Sigterm] {
        let stage = Stage::joined(Plan::default()).await;
        stage.tailscaled.back_off_control(secs(45));
        let tailscaled = stage.tailscaled.clone();
        stage.end(ending).await;
        assert_eq!(tailscaled.counts().log_outs, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_in_time_while_the_secret_is_read_again() {
    for ending in [Ending::Shutdown, Ending::Sigterm] {
        let rejected = Plan {
            login: Login::Notifies(r#"{"ErrMessage":"invalid key"}"#),
            ..Plan::default()
        };
        let keys = HungReread::default();
        let stage = Stage::with_keys(rejected, keys.clone());
        stage.ready().await;
        stage.freeze(secs(5));
        assert_eq!(stage.available(secs(0)).await, Err("AuthKeyRejected"));
        timeout(LIMIT, keys.0.notified()).await.unwrap();
        assert_eq!(stage.end(ending).await, 0);
    }
}

/// It is done within INIT, before Lambda's event can be heard: only SIGTERM can come in between.
#[tokio::test(start_paused = true)]
async fn it_ends_in_time_while_the_exit_node_is_pinged() {
    let mut config = config();
    config.exit_node = Some(ExitNode {
        node: "100.64.0.2".into(),
        required: true,
        ping_timeout: ms(2000),
        pings: 10,
    });
    let plan = Plan::with_peers([Peer::new("exit", PEER).exit_node().silent()]);
    let stage = Stage::with_config(&config, plan, FakeKeys::Good);
    sleep(secs(1)).await;
    assert!(stage.tailscaled.pings(PEER).0 > 0, "the exit node was not pinged");
    assert_eq!(stage.end(Ending::Sigterm).await, 1);
}

#[tokio::test(start_paused = true)]
async fn it_ends_in_time_while_the_path_is_looked_at() {
    for hung in [&["ping"][..], &["ping", "debug", "prefs"]] {
        for ending in [Ending::Shutdown, Ending::Sigterm] {
            let stage = Stage::joined(Plan::default()).await;
            stage.tailscaled.plan(|plan| plan.hung = hung.to_vec());
            stage.freeze(secs(30));
            stage.invoke(LATE);
            if matches!(ending, Ending::Sigterm) {
                sleep(ms(100)).await;
            }
            let invoked = Instant::now();
            // SHUTDOWN is heard when the look is over, which an invocation waits for.
            stage.end_within(ending, SHUTDOWN_LIMIT * 2).await;
            assert!(invoked.elapsed() < SHUTDOWN_LIMIT * 2);
        }
    }
}
