//! Login with what Tailscale's API makes a key of: the function's role, and no secret at all, or a client secret; and with a
//! key that is stored elsewhere.

use std::{sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use serde_json::json;
use testbed::{
    deadline::within,
    distance::Distance,
    expect::{RECOVERY, answered, diagnosis, fails_soon, logged, recovers},
    freeze::with_dead_flows,
    lambda::{Event, Function},
    nat,
    server::Server,
    stack::{AUTH_KEY, TestStack},
    suite::{SuiteContext, TestResult, set, without_freeze},
};

use crate::{
    exit_nodes::kept_its_machine,
    identity::{AUDIENCE, ISSUER, Identity, ROLE, Trouble, UNSEEN, tagged},
};

/// How long the function is frozen.
const FREEZE: Duration = Duration::from_secs(2);
/// How many cold starts of each kind are measured.
const STARTS: usize = 5;
/// What a busy machine may add to the shortest of these, in milliseconds.
const NOISE_MS: f64 = 25.0;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "keyless: the role logs in without a secret, again after a removal, and no token appears in a log"
            => |context| logs_in(context, true),
        "client secret: each login takes a new key with the tags, and none appears in a log"
            => |context| logs_in(context, false),
        "keyless: renewals call neither STS nor Tailscale's API" => renews,
        "keyless: each refusal is told with what mends it, and what was mended is found" => refused,
        "keyless: a cold start takes no longer than with a client secret" => cold_start,
        "a key in Parameter Store is used like one in a secret" => parameter,
    ]
}

fn shows_no_secret(stack: &TestStack) {
    let log = stack.lambda.process.log();
    assert_eq!(log.look(0, |line| line.contains(UNSEEN).then(|| line.clone())), None);
}

async fn logs_in(context: Arc<SuiteContext>, by_role: bool) -> TestResult {
    let backends = context.backends().await?;
    let identity = Identity::beside(&backends).await?;
    backends.put_secret(&identity.client_secret()).await?;
    let stack = backends
        .deploy(|function| {
            if by_role {
                identity.used_by(function);
            }
            tagged(function);
            set(function, "TS_DEBUG", "true");
            without_freeze(function);
        })
        .await?;
    answered(&stack).await?;
    let control = &stack.backends.control;
    let own = control.node("lambda-proxy").await?;
    assert_eq!(own.tags.as_deref(), Some(&["tag:lambda".to_owned()][..]));
    assert!(own.ephemeral, "{own:?}");
    let (tokens, kind) = if by_role {
        (1, "workloadIdentity")
    } else {
        (0, "oauthClient")
    };
    assert_eq!(identity.asked(), (tokens, 2));
    let found = diagnosis(&stack).await?;
    assert_eq!(found["key"], kind, "{found}");
    assert_eq!(found["machine"]["tags"], json!(["tag:lambda"]), "{found}");

    let log = stack.lambda.process.log();
    let since = log.len();
    if by_role {
        control.remove(own.id).await?;
    } else {
        control.expire(own.id).await?;
    }
    let back = log.find(since, |line| line.contains("joined tailnet as").then_some(()));
    let late = within(RECOVERY, "the second login", back).await;
    late.map_err(|late| format!("{late}\n{}", log.tail()))?;
    recovers(&stack).await?;
    if !by_role {
        let words = "NodeRemoved: the control server has logged this machine out";
        logged(&stack, since, words).await;
    }
    assert_eq!(
        identity.asked(),
        (2 * tokens, 4),
        "a new machine takes a new token and a new key"
    );
    assert_ne!(control.node("lambda-proxy").await?.id, own.id);
    shows_no_secret(&stack);
    stack.end().await
}

async fn renews(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let backends = context.backends().await?;
    let identity = Identity::beside(&backends).await?;
    let stack = backends.deploy(|function| identity.used_by(function)).await?;
    let target = Server::keeping(&stack, Duration::from_secs(75)).await?;
    let since = stack.lambda.events.len();
    target.must_answer(&stack, "GET").await;
    with_dead_flows(&stack, since, FREEZE).await?;
    target.must_answer(&stack, "GET").await;
    let control = &stack.backends.control;
    let renewed = async {
        while control.counts("lambda-proxy").await?.known == 0 {
            target.must_answer(&stack, "GET").await;
        }
        Ok::<_, Failed>(())
    };
    within(RECOVERY, "a renewal", renewed).await??;
    kept_its_machine(&stack).await?;
    assert_eq!(identity.asked(), (1, 2));
    nat::reset().await?;
    stack.end().await
}

/// The table in docs/troubleshooting.md has these.
async fn refused(context: Arc<SuiteContext>) -> TestResult {
    let mut backends = context.backends().await?;
    let identity = Identity::beside(&backends).await?;
    let sent = format!("issuer '{ISSUER}', audience '{AUDIENCE}', subject '{ROLE}', tags 'tag:lambda'");
    let exchange = format!("token-exchange with 401: token does not match the claims; {sent}; fix: make the trust");
    for (trouble, words) in [
        (
            Trouble::Sts(403, "OutboundWebIdentityFederationDisabledException"),
            "OutboundWebIdentityFederationDisabledException: as the test says; fix: run 'aws iam \
             enable-outbound-web-identity-federation' once in the function's account",
        ),
        (
            Trouble::Sts(403, "AccessDenied"),
            "AccessDenied: as the test says; fix: let the function's role do sts:GetWebIdentityToken on * for this \
             audience, 300 s and ES384",
        ),
        (
            Trouble::Sts(403, "InvalidClientTokenId"),
            "InvalidClientTokenId: as the test says; fix: check the function's role, and that STS is active in its region",
        ),
        (
            Trouble::Sts(400, "Throttling"),
            "Throttling: as the test says; fix: none: STS is busy, and is asked again",
        ),
        (Trouble::OtherSubject, &exchange),
        (
            Trouble::OtherTags,
            "keys with 403: requested tags [tag:lambda] are invalid or not permitted; tags 'tag:lambda'; fix: give the \
             trust credential the scope auth_keys (write) and these tags",
        ),
    ] {
        identity.set(trouble);
        let stack = backends.deploy(|function| identity.used_by(function)).await?;
        let start = "NoAuthKey: cannot get an auth key for the client id 'TAbCdEfCNTRL-kGhIjKl': ";
        fails_soon(&stack, &[start, words]).await?;
        identity.set(Trouble::Nothing);
        recovers(&stack).await?;
        shows_no_secret(&stack);
        (backends, _) = stack.undeploy().await;
    }
    backends.stop().await;
    Ok(())
}

/// INITs of one function, one after the other.
async fn inits(stack: &TestStack) -> Result<Vec<f64>, Failed> {
    let mut inits = Vec::new();
    for _ in 0..STARTS {
        let since = stack.lambda.events.len();
        answered(stack).await?;
        let init = stack.lambda.events.find(since, |event| match event {
            Event::Invocation { init_ms, .. } => *init_ms,
            _ => None,
        });
        inits.push(within(RECOVERY, "the end of the invocation", init).await?);
        stack.lambda.retire(since).await?;
    }
    inits.sort_by(f64::total_cmp);
    Ok(inits)
}

/// Both take three calls. Secrets Manager is played by moto, which takes longer than STS's stand-in: the bound leaves that out.
async fn cold_start(context: Arc<SuiteContext>) -> TestResult {
    for millis in [0, 30] {
        let distance = (millis > 0).then(|| Distance::of_millis(millis));
        let backends = context.backends_at(distance).await?;
        let identity = Identity::beside(&backends).await?;
        backends.put_secret(&identity.client_secret()).await?;
        let with_secret = backends.deploy(tagged).await?;
        let client_secret = inits(&with_secret).await?;
        let (backends, _) = with_secret.undeploy().await;
        let keyless = backends.deploy(|function| identity.used_by(function)).await?;
        let role = inits(&keyless).await?;
        // The shortest of each: what else the machine does only makes one longer.
        let (shortest, limit) = (role[0], client_secret[0] + NOISE_MS);
        eprintln!("  INIT at {millis} ms: client secret {client_secret:.1?}, role {role:.1?}");
        assert!(shortest <= limit, "at {millis} ms: {role:?} against {client_secret:?}");
        keyless.stop().await;
    }
    Ok(())
}

/// moto plays Systems Manager.
async fn parameter(context: Arc<SuiteContext>) -> TestResult {
    const NAME: &str = "/tailscale/auth-key";
    let backends = context.backends().await?;
    backends.aws.put_parameter(NAME, AUTH_KEY).await?;
    let endpoint = backends.aws.endpoint();
    let named = |function: &mut Function| {
        function.environment.remove("TS_SECRET_API_KEY");
        set(function, "TS_AUTH_KEY_PARAMETER", NAME);
        set(function, "AWS_ENDPOINT_URL_SSM", &endpoint);
    };
    let stack = backends.deploy(named).await?;
    answered(&stack).await?;
    let log = stack.lambda.process.log();
    let unencrypted = log.look(0, |line| line.contains("is not encrypted").then(|| line.clone()));
    assert_eq!(unencrypted, None);
    stack.end().await
}
