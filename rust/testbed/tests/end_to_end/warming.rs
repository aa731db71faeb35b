//! The warmer: as many environments of the proxy as it is told stay warm.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_credential_types::Credentials;
use bytes::Bytes;
use libtest_mimic::Trial;
use serde_json::json;
use testbed::{
    Error,
    deadline::within,
    expect::is_ok,
    invoke_api::{InvokeApi, Invoked},
    lambda::{Event, Function, LocalLambda},
    stack::TestStack,
    suite::{set, stream},
};
use tokio::task::JoinSet;

use crate::{SuiteContext, TestResult};

/// How many environments are kept warm.
const WARM: usize = 5;
/// How many there may be.
const MOST: usize = 7;
/// How soon the function's log must show what happened, and its environments must be idle.
const SOON: Duration = Duration::from_secs(5);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "warmer: concurrent requests up to the number of warm environments meet no cold start" => no_cold_start,
        "warmer: failures are reported by reason" => failures,
        "warmer: an environment outside the tailnet is warm all the same, and the log says why it is outside"
            => outside,
        "warmer: a function that streams is kept warm as well" => streaming,
    ]
}

/// The role that the warmer runs as.
fn role() -> Credentials {
    let token = Some("warmer-token".into());
    Credentials::new("ASIAWARMERROLE", "warmer-secret", token, None, "testbed")
}

async fn stack(context: &SuiteContext, adjust: impl FnOnce(&mut Function)) -> Result<TestStack, Error> {
    context
        .stack(|function| {
            function.callers.push(role());
            function.settings.insert("aliases".into(), json!(["live"]));
            function.settings.insert("maxEnvironments".into(), json!(MOST));
            adjust(function);
        })
        .await
}

/// A warmer, deployed as the construct does: the proxy's zip, without the layer.
struct Warmer {
    lambda: LocalLambda,
    api: InvokeApi,
}

impl Warmer {
    async fn start(stack: &TestStack, target: &str, invocations: usize, role: &Credentials) -> Result<Self, Error> {
        let role = json!({
            "accessKeyId": role.access_key_id(),
            "secretAccessKey": role.secret_access_key(),
            "sessionToken": role.session_token(),
        });
        let proxy = stack.invoke_api();
        let mut function = Function {
            environment: [].into(),
            callers: vec![proxy.caller.clone()],
            settings: [
                ("functionName".into(), "warmer".into()),
                ("layerZips".into(), json!([])),
                ("executionRole".into(), role),
            ]
            .into(),
        };
        set(&mut function, "TS_WARMER_FUNCTION", target);
        set(&mut function, "TS_WARMER_INVOCATIONS", &invocations.to_string());
        set(&mut function, "AWS_ENDPOINT_URL_LAMBDA", &proxy.endpoint());
        let (binaries, run_dir) = (&stack.backends.binaries, &stack.backends.run_dir);
        let lambda = LocalLambda::start(binaries, &function, run_dir, None).await?;
        let address = lambda.invoke_address().to_owned();
        let api = InvokeApi { address, ..proxy };
        Ok(Self { lambda, api })
    }

    async fn run(&self) -> Result<Invoked, Error> {
        // What the schedule sends, as far as the warmer cares.
        let scheduled = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        self.api.invoke("warmer", &scheduled).await
    }

    /// Runs a round that must succeed, and whose account in the log must say `words`.
    async fn warms(&self, words: &str) -> TestResult {
        let log = self.lambda.process.log();
        let since = log.len();
        let began = Instant::now();
        let invoked = self.run().await?;
        eprintln!("a round of warm-ups took {:.0?}", began.elapsed());
        assert!(!invoked.failed, "{invoked:?}\n{}", log.tail());
        let told = log.find(since, |line| line.contains(words).then_some(()));
        let told = within(SOON, &format!("{words:?} in the warmer's log"), told).await;
        told.unwrap_or_else(|late| panic!("{late}\n{}", log.tail()));
        Ok(())
    }

    async fn stop(self) {
        self.lambda.process.stop(SOON).await;
    }
}

/// Waits until `count` environments have gone to rest.
async fn rest(stack: &TestStack, mut since: usize, count: usize) -> TestResult {
    for _ in 0..count {
        let found = stack.lambda.events.find_numbered(since, Event::frozen);
        (since, ()) = within(SOON, "an environment's rest", found).await?;
    }
    Ok(())
}

async fn no_cold_start(context: Arc<SuiteContext>) -> TestResult {
    let stack = stack(&context, |_| ()).await?;
    let target = "arn:aws:lambda:eu-central-1:123456789012:function:tailscale-proxy:live";
    let warmer = Warmer::start(&stack, target, WARM, &role()).await?;
    let events = &stack.lambda.events;

    let since = events.len();
    warmer.warms("5 of 5 environments are warm, 5 of them new").await?;
    rest(&stack, since, WARM).await?;
    let since = events.len();
    warmer.warms("5 of 5 environments are warm, 0 of them new").await?;
    rest(&stack, since, WARM).await?;

    let since = events.len();
    let mut requests = JoinSet::new();
    for _ in 0..WARM {
        let url = stack.url();
        // So long that all of them are under way at once.
        let request = stack.request("GET", "/delay/0.5").body(Bytes::new())?;
        requests.spawn(async move { url.send(request).await });
    }
    while let Some(answer) = requests.join_next().await {
        is_ok(&stack, &answer??);
    }
    let cold = events.look(since, |event| match event {
        Event::Environment { state, .. } if state == "starting" => Some(()),
        Event::Invocation { init_ms: Some(_), .. } => Some(()),
        _ => None,
    });
    assert_eq!(cold, None, "an environment was started for a request");
    warmer.stop().await;
    stack.end().await
}

/// Starts a warmer whose round must fail with `words`.
async fn fails(stack: &TestStack, target: &str, invocations: usize, role: &Credentials, words: &[&str]) -> TestResult {
    let warmer = Warmer::start(stack, target, invocations, role).await?;
    let invoked = warmer.run().await?;
    let message = invoked.payload["errorMessage"].as_str().unwrap_or_default();
    for words in words {
        assert!(invoked.failed && message.contains(words), "{invoked:?}");
    }
    warmer.stop().await;
    Ok(())
}

async fn failures(context: Arc<SuiteContext>) -> TestResult {
    let stack = stack(&context, |_| ()).await?;
    let own = "tailscale-proxy";
    let too_many = [
        "2 of 9 warm-ups failed: 2 by TooManyRequestsException",
        "reserved concurrency",
    ];
    fails(&stack, own, MOST + 2, &role(), &too_many).await?;
    let unknown = [
        "1 of 1 warm-ups failed",
        "ResourceNotFoundException",
        "TS_WARMER_FUNCTION",
    ];
    fails(&stack, "tailscale-proxy:dead", 1, &role(), &unknown).await?;
    let stranger = Credentials::new("ASIASTRANGER", "secret", Some("token".into()), None, "testbed");
    fails(&stack, own, 1, &stranger, &["UnrecognizedClientException"]).await?;
    stack.end().await
}

async fn outside(context: Arc<SuiteContext>) -> TestResult {
    let stack = stack(&context, |function| {
        set(function, "TS_SECRET_API_KEY", "no-such-secret")
    })
    .await?;
    let warmer = Warmer::start(&stack, "tailscale-proxy", 1, &role()).await?;
    warmer.warms("1 of 1 environments are warm, 1 of them new").await?;
    warmer
        .warms("1 of 1 cannot use the tailnet: NoAuthKey: cannot read an auth key from secret 'no-such-secret'")
        .await?;
    warmer.stop().await;
    stack.end().await
}

async fn streaming(context: Arc<SuiteContext>) -> TestResult {
    let stack = stack(&context, stream).await?;
    let warmer = Warmer::start(&stack, "tailscale-proxy", 2, &role()).await?;
    warmer.warms("2 of 2 environments are warm, 2 of them new").await?;
    warmer.stop().await;
    stack.end().await
}
