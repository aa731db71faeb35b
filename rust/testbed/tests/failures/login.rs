//! The control server does not let the function in, or is not there.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use testbed::{
    control::Refusal,
    deadline::within,
    lambda::{Event, Function},
    nat,
    port_forwarder::PortForwarder,
    stack::{AUTH_KEY, TestStack},
};

use crate::{SuiteContext, TestResult, answered, fails_soon, get, logged, recovers, says_why, set, without_freeze};

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "a rejected auth key is reported, and the next request uses a new key from the secret" => refused_key,
        "a login that is refused is told in the control server's words, and asked for again"
            => |context| refused(context, Refusal::Words("this tailnet has no room for another machine"),
                "RegistrationRefused: the control server refused the login: this tailnet has no room for another \
                 machine; fix: check the tailnet's policy"),
        "tags that are refused are told in the control server's words, and asked for again"
            => |context| refused(context, Refusal::Words("requested tags [tag:lambda] are invalid or not permitted"),
                "TagsRejected: the control server rejected this machine's tags: requested tags [tag:lambda] are invalid or \
                 not permitted; fix: let the key's owner have them"),
        "a machine that must be approved is reported, and joins once it is approved"
            => |context| refused(context, Refusal::Unapproved,
                "ApprovalRequired: an administrator of the tailnet must approve this machine; fix: approve it"),
        "a login that requires a person is reported"
            => |context| refused(context, Refusal::Person,
                "InteractiveLoginRequired: Tailscale requires an interactive login"),
        "a tailnet that requires logging is reported"
            => |context| refused(context, Refusal::WithoutLogs, "LoggingRequired: the tailnet requires logging"),
        "a rate limit on registrations is waited out" => limited,
        "a hung control server is reported, the login succeeds once it responds, and machines in the tailnet go on without it"
            => control_stands_still,
        "a closed port of the control server is reported, and the login succeeds once it is open" => control_closed,
        "a control server that is down is reported, and the login succeeds once it is back"
            => |context| refused(context, Refusal::Everything, "cannot be reached, or fails"),
        "a missing network is reported, and the login succeeds once it is back" => no_network,
        "an unknown name of the control server is reported" => control_unknown,
        "a proxy variable that names the function's own port does not prevent the login" => own_port_as_proxy,
        "a function that requires the tailnet does not start without it" => required,
    ]
}

/// A stack whose control server treats those who want to join like this.
async fn refusing(
    context: &SuiteContext,
    what: Refusal,
    adjust: impl FnOnce(&mut Function),
) -> Result<TestStack, testbed::Error> {
    let backends = context.backends().await?;
    backends.control.refuse(what).await?;
    backends.deploy(adjust).await
}

async fn refused_key(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack_with_secret("tskey-auth-wrong", |_| ()).await?;
    let words = [
        "AuthKeyRejected: the control server rejected the auth key: invalid key: unable to validate API key",
        "; fix: put a valid key",
        "into the secret",
    ];
    fails_soon(&stack, &words).await?;
    let (again, _) = get(&stack).await?;
    says_why(&stack, &again, &["invalid key: unable to validate API key"]).await;
    stack.backends.put_secret(AUTH_KEY).await?;
    recovers(&stack).await?;
    logged(&stack, 0, "the secret has changed").await;
    stack.end().await
}

/// The first request tells of the login that is refused, and a later one finds that it no longer is, where it can.
async fn refused(context: Arc<SuiteContext>, what: Refusal, told: &'static str) -> TestResult {
    let tagged = |function: &mut Function| set(function, "TS_ADVERTISE_TAGS", "tag:lambda");
    let stack = refusing(&context, what, tagged).await?;
    fails_soon(&stack, &[told]).await?;
    let control = &stack.backends.control;
    match what {
        // The same key is tried again after minutes; a tailnet that requires logging refuses the target, too.
        Refusal::Person | Refusal::WithoutLogs => return stack.end().await,
        Refusal::Unapproved => control.approve_all().await?,
        _ => control.refuse(Refusal::Nothing).await?,
    }
    recovers(&stack).await?;
    stack.end().await
}

async fn limited(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    backends.control.limit_registrations(1, Duration::from_secs(1)).await?;
    let stack = backends.deploy(|_| ()).await?;
    let took = answered(&stack).await?;
    assert!(took >= Duration::from_secs(1), "{took:?}");
    logged(&stack, 0, "the control server limits how fast machines may join: ").await;
    stack.end().await
}

/// Connections wait in its listener's queue, and nobody ever answers.
async fn control_stands_still(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    backends.control.process.signal(Signal::SIGSTOP).await;
    let stack = backends.deploy(|_| ()).await?;
    let (answer, took) = get(&stack).await?;
    let words = [
        "ControlSilent: ",
        "has not answered the login for 7 s",
        "; fix: check its name",
    ];
    says_why(&stack, &answer, &words).await;
    assert!(took < Duration::from_secs(9), "{took:?}");
    fails_soon(&stack, &["has not answered the login"]).await?;

    let control = &stack.backends.control.process;
    control.signal(Signal::SIGCONT).await;
    recovers(&stack).await?;
    // Traffic between machines that know each other takes no control server.
    control.signal(Signal::SIGSTOP).await;
    for _ in 0..3 {
        answered(&stack).await?;
    }
    control.signal(Signal::SIGCONT).await;
    stack.end().await
}

async fn control_closed(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    let control: SocketAddr = backends.control.url().trim_start_matches("http://").parse()?;
    let forwarder = PortForwarder::open(SocketAddr::new(control.ip(), 0), control).await?;
    let address = forwarder.close();
    let stack = backends
        .deploy(|function| set(function, "TS_CONTROL_URL", &format!("http://{address}")))
        .await?;
    let told = format!("ControlUnreachable: the control server http://{address} cannot be reached");
    fails_soon(&stack, &[&told, "connection refused"]).await?;
    let forwarder = PortForwarder::open(address, control).await?;
    recovers(&stack).await?;
    forwarder.close();
    answered(&stack).await?;
    stack.end().await
}

async fn no_network(context: Arc<SuiteContext>) -> TestResult {
    let stack = refusing(&context, Refusal::Everything, without_freeze).await?;
    let words = [
        "ControlUnreachable: the control server http://172.31.0.2:",
        "check that it runs",
    ];
    fails_soon(&stack, &words).await?;
    let pid = stack.lambda.events.look(0, Event::runtime_started);
    let unplugged = nat::unplug(pid.ok_or("the runtime was not started")?).await?;
    // tailscaled waits for 5 s before it complains.
    let log = stack.lambda.process.log();
    let told = log.find(0, |line| line.contains("the function has no network").then_some(()));
    within(Duration::from_secs(10), "the news", told).await?;
    fails_soon(&stack, &["NoNetwork: the function has no network; fix: "]).await?;
    unplugged.plug_in().await?;
    stack.backends.control.refuse(Refusal::Nothing).await?;
    recovers(&stack).await?;
    stack.end().await
}

async fn control_unknown(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| set(function, "TS_CONTROL_URL", "http://control.invalid"))
        .await?;
    let (answer, took) = get(&stack).await?;
    says_why(&stack, &answer, &["the control server http://control.invalid"]).await;
    assert!(took < Duration::from_secs(9), "{took:?}");
    stack.end().await
}

async fn required(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack_with_secret("tskey-auth-wrong", |function| {
            set(function, "TS_REQUIRE_TAILNET", "true")
        })
        .await?;
    let (answer, _) = get(&stack).await?;
    assert_eq!(answer.status(), 502, "{answer:?}");
    let is_proxys = answer.headers().contains_key("ts-error-name");
    assert!(!is_proxys, "the proxy answered: {answer:?}");
    logged(&stack, 0, "invalid key: unable to validate API key").await;
    stack.end().await
}

/// tailscaled would dial the control server through itself, and never get there.
async fn own_port_as_proxy(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| {
            for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
                set(function, name, "http://localhost:1055");
            }
        })
        .await?;
    answered(&stack).await?;
    logged(&stack, 0, "HTTPS_PROXY points at this extension's own port").await;
    stack.end().await
}
