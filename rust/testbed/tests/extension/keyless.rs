//! Login with the function's role, and no secret at all: STS and Tailscale's API are played, and check every field; the
//! keys are real.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use libtest_mimic::{Failed, Trial};
use testbed::{
    control::Counts,
    deadline::within,
    distance::Distance,
    expect::{RECOVERY, answered, diagnosis, fails_soon, get, is_ok, logged, recovers},
    freeze::with_dead_flows,
    lambda::{Event, Function},
    server as target_server,
    suite::{Outcome, Setting, awake, set},
    world::{Surroundings, World},
};

use crate::{
    server::Server,
    sts::{ISSUER, ROLE, Sts},
    tailscale_api::{ACCESS_TOKEN, AUDIENCE, KEY, TailscaleApi, TrustCredential},
};

/// How long the function is frozen.
const FREEZE: Duration = Duration::from_secs(2);
/// How many cold starts of each kind are measured.
const STARTS: usize = 5;
/// What a busy machine may add to the shortest of these, in milliseconds.
const NOISE_MS: f64 = 25.0;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "keyless: the role logs in with no secret, again after a removal, and no token shows" => logs_in,
        "keyless: renewals ask neither STS nor Tailscale's API" => renews,
        "keyless: each refusal of STS is told with what mends it, and what was mended is found" => refused_by_sts,
        "keyless: each refusal of Tailscale's API is told with what mends it, and what was mended is found"
            => refused_by_tailscale,
        "keyless: a busy STS is waited out within the start" => waited_out,
        "keyless: a cold start takes no longer than with a client secret" => cold_start,
        "a key in Parameter Store serves as one in a secret" => parameter,
    ]
}

/// Whom the function asks.
pub(crate) struct Identity {
    pub(crate) sts: Sts,
    pub(crate) api: TailscaleApi,
}

impl Identity {
    pub(crate) async fn beside(surroundings: &Surroundings, keys: usize) -> Result<Self, Failed> {
        let sts = Sts::allowing(AUDIENCE).await?;
        let api = TailscaleApi::start(sts.issued(), &surroundings.control, keys).await?;
        Ok(Self { sts, api })
    }

    /// Has the function log in with its role.
    pub(crate) fn used_by(&self, function: &mut Function) {
        function.environment.remove("TS_SECRET_API_KEY");
        // Whoever asked for a secret would find nobody.
        set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://192.0.2.2:9");
        set(function, "TS_WORKLOAD_IDENTITY_CLIENT_ID", &self.api.client_id());
        set(function, "TS_ADVERTISE_TAGS", "tag:lambda");
        set(function, "AWS_ENDPOINT_URL_STS", &self.sts.endpoint());
    }

    /// How often STS and Tailscale's API were asked.
    fn asked(&self) -> (usize, usize) {
        (self.sts.server.asked().len(), self.api.server.asked().len())
    }
}

fn shows_no_secret(world: &World, issued: &Mutex<Vec<String>>) {
    let mut secrets = vec![ACCESS_TOKEN.to_owned(), KEY.to_owned()];
    let signature = |token: &String| token.rsplit('.').next().unwrap_or_default().to_owned();
    secrets.extend(issued.lock().unwrap().iter().map(signature));
    let log = world.lambda.process.log();
    for secret in secrets {
        assert_eq!(log.look(0, |line| line.contains(&secret).then(|| line.clone())), None);
    }
}

async fn logs_in(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let identity = Identity::beside(&surroundings, 2).await?;
    let world = surroundings
        .deploy(|function| {
            identity.used_by(function);
            set(function, "TS_DEBUG", "true");
            awake(function);
        })
        .await?;
    let (answer, _) = get(&world).await?;
    let log = world.lambda.process.log();
    assert_eq!(answer.status(), StatusCode::OK, "{answer:?}\n{}", log.tail());
    let control = &world.surroundings.control;
    let own = control.node("lambda-proxy").await?;
    assert_eq!(own.tags.as_deref(), Some(&["tag:lambda".to_owned()][..]));
    assert!(own.ephemeral, "{own:?}");
    assert_eq!(identity.asked(), (1, 2));
    let found = diagnosis(&world).await?;
    assert_eq!(found["key"], "workloadIdentity", "{found}");
    assert_eq!(found["machine"]["tags"], serde_json::json!(["tag:lambda"]), "{found}");

    let since = log.len();
    control.remove(own.id).await?;
    let back = log.find(since, |line| line.contains("joined tailnet as").then_some(()));
    let late = within(RECOVERY, "the second login", back).await;
    late.map_err(|late| format!("{late}\n{}", log.tail()))?;
    recovers(&world).await?;
    assert_eq!(
        identity.asked(),
        (2, 4),
        "a new machine takes a new token and a new key"
    );
    assert_ne!(control.node("lambda-proxy").await?.id, own.id);
    shows_no_secret(&world, &identity.sts.issued());
    world.end().await
}

async fn renews(setting: Arc<Setting>) -> Outcome {
    testbed::nat::remember().await?;
    testbed::nat::block_udp().await?;
    let surroundings = setting.surroundings().await?;
    let identity = Identity::beside(&surroundings, 1).await?;
    let world = surroundings.deploy(|function| identity.used_by(function)).await?;
    let target = target_server::Server::keeping(&world, Duration::from_secs(75)).await?;
    let since = world.lambda.events.len();
    target.must_answer(&world, "GET").await;
    with_dead_flows(&world, since, FREEZE).await?;
    target.must_answer(&world, "GET").await;
    let control = &world.surroundings.control;
    let renewed = async {
        loop {
            let counts = control.counts("lambda-proxy").await?;
            if counts.known > 0 {
                return Ok::<_, Failed>(counts);
            }
            target.must_answer(&world, "GET").await;
        }
    };
    let counts = within(RECOVERY, "a renewal", renewed).await??;
    let expected = Counts {
        new: 1,
        known: counts.known,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(identity.asked(), (1, 2));
    testbed::nat::remember().await?;
    world.end().await
}

/// The table in docs/troubleshooting.md has these.
async fn refused_by_sts(setting: Arc<Setting>) -> Outcome {
    let mut surroundings = setting.surroundings().await?;
    let identity = Identity::beside(&surroundings, 4).await?;
    for (status, code, remedy) in [
        (
            StatusCode::FORBIDDEN,
            "OutboundWebIdentityFederationDisabledException",
            "run 'aws iam enable-outbound-web-identity-federation' once in the function's account",
        ),
        (
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "let the function's role do sts:GetWebIdentityToken on * for this audience, 300 s and ES384",
        ),
        (
            StatusCode::FORBIDDEN,
            "InvalidClientTokenId",
            "check the function's role, and that STS is active in its region",
        ),
        (
            StatusCode::BAD_REQUEST,
            "Throttling",
            "none: STS is busy, and is asked again",
        ),
    ] {
        identity.sts.set(Some((status, code)));
        let world = surroundings.deploy(|function| identity.used_by(function)).await?;
        let words = format!("{code}: as the test says; fix: {remedy}");
        fails_soon(
            &world,
            &[
                "NoAuthKey: cannot get an auth key for the client id 'TAbCdEfCNTRL-kGhIjKl': ",
                &words,
            ],
        )
        .await?;
        identity.sts.set(None);
        recovers(&world).await?;
        (surroundings, _) = world.undeploy().await;
    }
    surroundings.stop().await;
    Ok(())
}

/// So has it these.
async fn refused_by_tailscale(setting: Arc<Setting>) -> Outcome {
    let mut surroundings = setting.surroundings().await?;
    let identity = Identity::beside(&surroundings, 4).await?;
    let sent = format!("issuer '{ISSUER}', audience '{AUDIENCE}', subject '{ROLE}', tags 'tag:lambda'");
    let exchange = format!("token-exchange with 401: token does not match the claims; {sent}; fix: make the trust");
    let good = TrustCredential::default();
    for (credential, words) in [
        (
            TrustCredential {
                audience: "api.tailscale.com/another",
                ..good.clone()
            },
            exchange.as_str(),
        ),
        (
            TrustCredential {
                subject: "arn:aws:iam::123456789012:role/another",
                ..good.clone()
            },
            exchange.as_str(),
        ),
        (
            TrustCredential {
                scopes: &["devices:core"],
                ..good.clone()
            },
            "keys with 403: calling actor does not have enough permissions; tags 'tag:lambda'; fix: give the trust credential",
        ),
        (
            TrustCredential {
                tags: &["tag:other"],
                ..good.clone()
            },
            "not permitted; tags 'tag:lambda'; fix: give the trust credential the scope auth_keys (write) and these tags",
        ),
    ] {
        identity.api.trust(credential);
        let world = surroundings.deploy(|function| identity.used_by(function)).await?;
        fails_soon(&world, &[words]).await?;
        identity.api.trust(good.clone());
        recovers(&world).await?;
        shows_no_secret(&world, &identity.sts.issued());
        (surroundings, _) = world.undeploy().await;
    }
    surroundings.stop().await;
    Ok(())
}

async fn waited_out(setting: Arc<Setting>) -> Outcome {
    let surroundings = setting.surroundings().await?;
    let identity = Identity::beside(&surroundings, 1).await?;
    identity
        .sts
        .set(Some((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")));
    let world = surroundings.deploy(|function| identity.used_by(function)).await?;
    let mending = async {
        while identity.sts.server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        identity.sts.set(None);
    };
    let (answered, ()) = tokio::join!(get(&world), mending);
    let (answer, _) = answered?;
    is_ok(&world, &answer);
    assert_eq!(identity.asked(), (2, 2));
    world.end().await
}

/// INITs of one function, one after the other.
async fn inits(world: &World) -> Result<Vec<f64>, Failed> {
    let mut inits = Vec::new();
    for _ in 0..STARTS {
        let since = world.lambda.events.len();
        let (answer, _) = get(world).await?;
        is_ok(world, &answer);
        let init = world.lambda.events.find(since, |event| match event {
            Event::Invocation { init_ms, .. } => *init_ms,
            _ => None,
        });
        inits.push(within(RECOVERY, "the end of the invocation", init).await?);
        world.lambda.reached(since, "frozen").await?;
        world.lambda.spin_down().await?;
        world.lambda.reached(since, "stopped").await?;
    }
    inits.sort_by(f64::total_cmp);
    Ok(inits)
}

/// Both take three calls. Secrets Manager is played by moto, which takes longer than STS's stand-in: the bound leaves that out.
async fn cold_start(setting: Arc<Setting>) -> Outcome {
    for millis in [0, 30] {
        let distance = (millis > 0).then(|| Distance::of_millis(millis));
        let surroundings = setting.surroundings_at(distance).await?;
        let identity = Identity::beside(&surroundings, STARTS).await?;
        let with_key = surroundings.deploy(|_| ()).await?;
        let key = inits(&with_key).await?;
        let (surroundings, _) = with_key.undeploy().await;
        let oauth = Server::start(crate::oauth::tailscale).await?;
        let secret = format!("{}?baseURL=http://{}", crate::oauth::CLIENT, oauth.address);
        surroundings.put_secret(&secret).await?;
        let with_secret = surroundings.deploy(crate::oauth::tagged).await?;
        let client_secret = inits(&with_secret).await?;
        let (surroundings, _) = with_secret.undeploy().await;
        let keyless = surroundings.deploy(|function| identity.used_by(function)).await?;
        let role = inits(&keyless).await?;
        // The shortest of each: what else the machine does only makes one longer.
        let (shortest, limit) = (role[0], client_secret[0] + NOISE_MS);
        eprintln!("  INIT at {millis} ms: key {key:.1?}, client secret {client_secret:.1?}, role {role:.1?}");
        assert!(shortest <= limit, "at {millis} ms: {role:?} against {client_secret:?}");
        keyless.stop().await;
    }
    Ok(())
}

/// moto plays Systems Manager.
async fn parameter(setting: Arc<Setting>) -> Outcome {
    const NAME: &str = "/tailscale/auth-key";
    let surroundings = setting.surroundings().await?;
    surroundings.aws.put_parameter(NAME, testbed::world::AUTH_KEY).await?;
    let endpoint = surroundings.aws.endpoint();
    let named = |name: &'static str| {
        let endpoint = endpoint.clone();
        move |function: &mut Function| {
            function.environment.remove("TS_SECRET_API_KEY");
            set(function, "TS_AUTH_KEY_PARAMETER", name);
            set(function, "AWS_ENDPOINT_URL_SSM", &endpoint);
        }
    };
    let world = surroundings.deploy(named(NAME)).await?;
    answered(&world).await?;
    let log = world.lambda.process.log();
    let unencrypted = log.look(0, |line| line.contains("is not encrypted").then(|| line.clone()));
    assert_eq!(unencrypted, None);
    let (surroundings, _) = world.undeploy().await;
    let world = surroundings.deploy(named("/tailscale/none")).await?;
    let (answer, _) = get(&world).await?;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    logged(&world, 0, "from parameter '/tailscale/none': ParameterNotFound").await;
    world.end().await
}
