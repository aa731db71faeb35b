//! The control server does not let the function in, or is not there.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use testbed::{
    control::Refusal,
    deadline::within,
    door::Door,
    lambda::{Event, Function},
    nat,
    world::{AUTH_KEY, World},
};

use crate::{Outcome, Setting, answered, awake, fails_soon, get, logged, recovers, says_why, set};

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "a refused key is told, and another one in the secret is found by a request" => refused_key,
        "a login that is refused is told in the control server's words, and asked for again"
            => |setting| refused(setting, Refusal::Words("this tailnet has no room for another machine"),
                "RegistrationRefused: the control server refused the login: this tailnet has no room for another \
                 machine; fix: check the tailnet's policy"),
        "tags that are refused are told in the control server's words, and asked for again"
            => |setting| refused(setting, Refusal::Words("requested tags [tag:lambda] are invalid or not permitted"),
                "TagsRejected: the control server rejected this machine's tags: requested tags [tag:lambda] are invalid or \
                 not permitted; fix: let the key's owner have them"),
        "a machine that must be approved is told, and joins when it is"
            => |setting| refused(setting, Refusal::Unapproved,
                "ApprovalRequired: an administrator of the tailnet must approve this machine; fix: approve it"),
        "a login that needs a person is told"
            => |setting| refused(setting, Refusal::Person,
                "InteractiveLoginRequired: Tailscale requires an interactive login"),
        "a tailnet that requires logging is told"
            => |setting| refused(setting, Refusal::WithoutLogs, "LoggingRequired: the tailnet requires logging"),
        "a limit on registrations is waited out" => limited,
        "a control server that stands still is told, found when it goes on, and not missed by those who are in"
            => control_stands_still,
        "a control server whose port is closed is told, and found when it is open" => control_closed,
        "a control server that is down is told, and found when it is back"
            => |setting| refused(setting, Refusal::Everything, "cannot be reached, or fails"),
        "a function without a network is told so, and finds it when it is back" => no_network,
        "a control server whose name is unknown is told" => control_unknown,
        "a proxy variable that names the function's own port does not keep it out" => own_port_as_proxy,
        "a function that requires the tailnet does not start without it" => required,
    ]
}

/// A world whose control server treats those who want to join like this.
async fn refusing(
    setting: &Setting,
    what: Refusal,
    adjust: impl FnOnce(&mut Function),
) -> Result<World, testbed::Error> {
    let surroundings = setting.surroundings().await?;
    surroundings.control.refuse(what).await?;
    surroundings.deploy(adjust).await
}

async fn refused_key(setting: Arc<Setting>) -> Outcome {
    let world = setting.world_with_secret("tskey-auth-wrong", |_| ()).await?;
    let words = [
        "AuthKeyRejected: the control server rejected the auth key: invalid key: unable to validate API key",
        "; fix: put a valid key",
        "into the secret",
    ];
    fails_soon(&world, &words).await?;
    let (again, _) = get(&world).await?;
    says_why(&world, &again, &["invalid key: unable to validate API key"]).await;
    world.surroundings.put_secret(AUTH_KEY).await?;
    recovers(&world).await?;
    logged(&world, 0, "the secret has changed").await;
    world.end().await
}

/// The first request tells of the login that is refused, and a later one finds that it no longer is, where it can.
async fn refused(setting: Arc<Setting>, what: Refusal, told: &'static str) -> Outcome {
    let tagged = |function: &mut Function| set(function, "TS_ADVERTISE_TAGS", "tag:lambda");
    let world = refusing(&setting, what, tagged).await?;
    fails_soon(&world, &[told]).await?;
    let control = &world.surroundings.control;
    match what {
        // The same key is tried again after minutes; a tailnet that requires logging refuses the target, too.
        Refusal::Person | Refusal::WithoutLogs => return world.end().await,
        Refusal::Unapproved => control.approve_all().await?,
        _ => control.refuse(Refusal::Nothing).await?,
    }
    recovers(&world).await?;
    world.end().await
}

async fn limited(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    surroundings
        .control
        .limit_registrations(1, Duration::from_secs(1))
        .await?;
    let world = surroundings.deploy(|_| ()).await?;
    let took = answered(&world).await?;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    logged(&world, 0, "the control server limits how fast machines may join: ").await;
    world.end().await
}

/// Connections wait in its listener's queue, and nobody ever answers.
async fn control_stands_still(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    surroundings.control.process.signal(Signal::SIGSTOP).await;
    let world = surroundings.deploy(|_| ()).await?;
    let (answer, took) = get(&world).await?;
    let words = [
        "ControlSilent: ",
        "has not answered the login for 7 s",
        "; fix: check its name",
    ];
    says_why(&world, &answer, &words).await;
    assert!(took < Duration::from_secs(9), "{took:?}");
    fails_soon(&world, &["has not answered the login"]).await?;

    let control = &world.surroundings.control.process;
    control.signal(Signal::SIGCONT).await;
    recovers(&world).await?;
    // Traffic between machines that know each other takes no control server.
    control.signal(Signal::SIGSTOP).await;
    for _ in 0..3 {
        answered(&world).await?;
    }
    control.signal(Signal::SIGCONT).await;
    world.end().await
}

async fn control_closed(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let control: SocketAddr = surroundings.control.url().trim_start_matches("http://").parse()?;
    let door = Door::open(SocketAddr::new(control.ip(), 0), control).await?;
    let address = door.close();
    let world = surroundings
        .deploy(|function| set(function, "TS_CONTROL_URL", &format!("http://{address}")))
        .await?;
    let told = format!("ControlUnreachable: the control server http://{address} cannot be reached");
    fails_soon(&world, &[&told, "connection refused"]).await?;
    let door = Door::open(address, control).await?;
    recovers(&world).await?;
    door.close();
    answered(&world).await?;
    world.end().await
}

async fn no_network(setting: Arc<Setting>) -> Outcome {
    let world = refusing(&setting, Refusal::Everything, awake).await?;
    let words = [
        "ControlUnreachable: the control server http://172.31.0.2:",
        "check that it runs",
    ];
    fails_soon(&world, &words).await?;
    let pid = world.lambda.events.look(0, Event::runtime_started);
    let unplugged = nat::unplug(pid.ok_or("the runtime was not started")?).await?;
    // tailscaled waits for 5 s before it complains.
    let log = world.lambda.process.log();
    let told = log.find(0, |line| line.contains("the function has no network").then_some(()));
    within(Duration::from_secs(10), "the news", told).await?;
    fails_soon(&world, &["NoNetwork: the function has no network; fix: "]).await?;
    unplugged.plug_in().await?;
    world.surroundings.control.refuse(Refusal::Nothing).await?;
    recovers(&world).await?;
    world.end().await
}

async fn control_unknown(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world(|function| set(function, "TS_CONTROL_URL", "http://control.invalid"))
        .await?;
    let (answer, took) = get(&world).await?;
    says_why(&world, &answer, &["the control server http://control.invalid"]).await;
    assert!(took < Duration::from_secs(9), "{took:?}");
    world.end().await
}

async fn required(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world_with_secret("tskey-auth-wrong", |function| {
            set(function, "TS_REQUIRE_TAILNET", "true")
        })
        .await?;
    let (answer, _) = get(&world).await?;
    assert_eq!(answer.status(), 502, "{answer:?}");
    let is_proxys = answer.headers().contains_key("ts-error-name");
    assert!(!is_proxys, "the proxy answered: {answer:?}");
    logged(&world, 0, "invalid key: unable to validate API key").await;
    world.end().await
}

/// tailscaled would dial the control server through itself, and never get there.
async fn own_port_as_proxy(setting: Arc<Setting>) -> Outcome {
    let world = setting
        .world(|function| {
            for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
                set(function, name, "http://localhost:1055");
            }
        })
        .await?;
    answered(&world).await?;
    logged(&world, 0, "HTTPS_PROXY points at this extension's own port").await;
    world.end().await
}
