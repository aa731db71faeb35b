//! Logins that fail: what requests are told, and when the login is tried again.

use extension::supervisor::state::TailnetState;
use tokio::time::sleep;

use crate::{
    fake_keys::{ChangingSecret, FakeKeys},
    fake_tailscaled::{LOCKED_OUT, Login, Plan, UNREACHABLE},
    stage::{Ending, LATE, Stage, code, ms, secs},
};

const REJECTED: &str = r#"{"ErrMessage":"invalid key: API key does not exist"}"#;
const UNLOCKED: &str = r#"{"Health":{"Warnings":null}}"#;

fn answered_with(line: &'static str) -> Plan {
    Plan {
        login: Login::Notifies(line),
        ..Plan::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_rejected_is_tried_again_when_the_secret_has_changed() {
    let secret = ChangingSecret::default();
    let stage = Stage::with_keys(answered_with(REJECTED), secret.clone());
    assert_eq!(stage.ready().await, ms(20), "requests are told at once");
    for _ in 0..5 {
        assert_eq!(stage.available(secs(8)).await, Err("AuthKeyRejected"));
        sleep(ms(500)).await;
    }
    assert_eq!(stage.tailscaled.counts().logins, 1);
    assert_eq!(secret.rereads(), 0, "the secret is read every 4 s at most");
    stage.tailscaled.plan(|plan| plan.login = Login::Accepted);
    secret.change();
    sleep(secs(4)).await;
    // A request triggers the look at the secret.
    let _ = stage.available(secs(8)).await;
    sleep(ms(100)).await;
    assert_eq!(stage.available(secs(8)).await, Ok(()));
    assert_eq!((secret.rereads(), stage.tailscaled.counts().logins), (1, 2));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_rejected_is_tried_again_after_5_minutes() {
    let stage = Stage::with_keys(answered_with(REJECTED), ChangingSecret::default());
    stage.ready().await;
    sleep(secs(299)).await;
    assert_eq!(stage.tailscaled.counts().logins, 1);
    stage.tailscaled.plan(|plan| plan.login = Login::Accepted);
    sleep(secs(2)).await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    stage.end(Ending::Shutdown).await;
}

/// tailscaled's timers, and the supervisor's, stand still while the environment is frozen.
#[tokio::test(start_paused = true)]
async fn a_request_after_a_freeze_of_5_minutes_tries_the_same_key_again() {
    let stage = Stage::with_keys(answered_with(REJECTED), ChangingSecret::default());
    stage.ready().await;
    stage.tailscaled.plan(|plan| plan.login = Login::Accepted);
    stage.freeze(secs(301));
    stage.invoke(LATE);
    stage.ready().await;
    assert_eq!(stage.available(secs(1)).await, Ok(()));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn other_refusals_are_tried_again_with_back_off() {
    for (line, expected) in [
        (r#"{"ErrMessage":"requested tags [tag:a] are invalid"}"#, "TagsRejected"),
        (
            r#"{"ErrMessage":"the storage is under maintenance"}"#,
            "RegistrationRefused",
        ),
        (
            r#"{"ErrMessage":"tailnet requires logging to be enabled"}"#,
            "LoggingRequired",
        ),
    ] {
        let stage = Stage::new(answered_with(line));
        stage.ready().await;
        assert_eq!(stage.available(secs(8)).await, Err(expected));
        sleep(secs(600)).await;
        let logins = stage.tailscaled.counts().logins;
        assert!((12..=18).contains(&logins), "{expected}: {logins}");
        stage.tailscaled.plan(|plan| plan.login = Login::Accepted);
        sleep(secs(61)).await;
        assert_eq!(stage.available(secs(0)).await, Ok(()));
        assert_eq!(
            stage.tailscaled.counts().log_outs,
            0,
            "{expected}: nothing was registered"
        );
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_off_that_a_freeze_has_outlasted_ends_with_the_next_request() {
    let stage = Stage::with_keys(Plan::default(), FakeKeys::Missing);
    stage.ready().await;
    assert_eq!(stage.available(secs(0)).await, Err("NoAuthKey"));
    sleep(secs(100)).await;
    let lives = stage.tailscaled.starts().len();
    stage.freeze(secs(60));
    let _ = stage.available(secs(0)).await;
    sleep(ms(100)).await;
    assert_eq!(stage.tailscaled.starts().len(), lives + 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_control_server_that_cannot_be_reached_is_reported_and_asked_again_at_requests() {
    let stage = Stage::new(answered_with(UNREACHABLE));
    stage.ready().await;
    assert_eq!(stage.available(secs(8)).await, Err("ControlUnreachable"));
    stage.freeze(secs(60));
    stage.tailscaled.plan(|plan| plan.login = Login::Accepted);
    stage.invoke(LATE);
    stage.ready().await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    assert_eq!(stage.tailscaled.starts().len(), 1, "tailscaled was started again");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_tailnet_lock_shuts_out_is_reported_until_it_is_signed() {
    let stage = Stage::joined(Plan::default()).await;
    stage.tailscaled.notify(LOCKED_OUT);
    sleep(ms(1)).await;
    assert_eq!(code(stage.route("db").await), "LockedOut");
    stage.tailscaled.notify(UNLOCKED);
    sleep(ms(1)).await;
    assert!(stage.route("db").await.is_ok());
    assert_eq!(stage.tailscaled.starts().len(), 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_locked_out_from_the_start_is_reported() {
    let stage = Stage::new(answered_with(LOCKED_OUT));
    sleep(ms(100)).await;
    stage.tailscaled.join();
    stage.ready().await;
    assert_eq!(code(stage.route("db").await), "LockedOut");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_on_registrations_is_reported_while_tailscaled_waits_for_it() {
    let limited = r#"{"ErrMessage":"node registration rate limited; will retry after 20s"}"#;
    let stage = Stage::new(answered_with(limited));
    stage.ready().await;
    let TailnetState::Starting { note: Some(note) } = stage.tailnet.state() else {
        panic!("{:?}", stage.tailnet.state())
    };
    assert!(
        note.contains("limits how fast") && note.ends_with("after 20s"),
        "{note}"
    );
    stage.tailscaled.join();
    sleep(ms(1)).await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn an_interactive_login_is_reported_as_a_key_that_was_not_accepted() {
    let stage = Stage::new(answered_with(r#"{"BrowseToURL":"http://control/a"}"#));
    stage.ready().await;
    assert_eq!(stage.available(secs(0)).await, Err("InteractiveLoginRequired"));
    assert_eq!(stage.end(Ending::Shutdown).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_comes_later_lets_the_machine_in() {
    let stage = Stage::new(answered_with(r#"{"State":3}"#));
    stage.ready().await;
    assert_eq!(stage.available(secs(0)).await, Err("ApprovalRequired"));
    stage.tailscaled.join();
    sleep(ms(1)).await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    assert_eq!(stage.tailscaled.starts().len(), 1);
    stage.end(Ending::Shutdown).await;
}
