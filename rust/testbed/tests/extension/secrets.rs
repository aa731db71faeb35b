//! A Secrets Manager that throttles, fails or refuses. moto does neither by itself: what stands before it does.

use std::{sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use testbed::{
    expect::{answered, fails_soon, recovers},
    fault_proxy::{FAULT_WORDS, Fault, FaultProxy},
    stack::{Backends, TestStack},
    suite::{SuiteContext, TestResult, set},
};

/// Lambda gives a start this long.
const INIT: Duration = Duration::from_secs(10);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "Secrets Manager: throttling and failures are waited out within INIT" => waited_out,
        "Secrets Manager: each refusal is reported with its fix, and the login succeeds once it is fixed" => refused,
    ]
}

/// A tailnet and AWS, and what stands before Secrets Manager.
async fn before_secrets_manager(context: &SuiteContext) -> Result<(Backends, FaultProxy), Failed> {
    let backends = context.backends().await?;
    let faults = FaultProxy::start(backends.aws.address()).await?;
    Ok((backends, faults))
}

/// Deploys a function that asks Secrets Manager by way of `faults`, which has this fault at first.
async fn deploy(backends: Backends, faults: &mut FaultProxy, fault: Fault) -> Result<TestStack, Failed> {
    faults.set(fault).await;
    let asks = |function: &mut _| set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", &faults.endpoint());
    Ok(backends.deploy(asks).await?)
}

async fn waited_out(context: Arc<SuiteContext>) -> TestResult {
    let (backends, mut faults) = before_secrets_manager(&context).await?;
    // An error, in the form of <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>.
    let throttled = Fault::Error(400, "ThrottlingException");
    let stack = deploy(backends, &mut faults, throttled).await?;
    let mending = async {
        faults.called(1).await;
        faults.set(Fault::Error(500, "InternalServiceError")).await;
        faults.called(2).await;
        faults.set(Fault::None).await;
    };
    let (took, ()) = tokio::join!(answered(&stack), mending);
    let took = took?;
    assert!(took < INIT, "{took:?}");
    stack.end().await
}

/// The table in docs/troubleshooting.md has these.
async fn refused(context: Arc<SuiteContext>) -> TestResult {
    let (mut backends, mut faults) = before_secrets_manager(&context).await?;
    for (code, remedy) in [
        (
            "ThrottlingException",
            "none: Secrets Manager is busy, and is asked again",
        ),
        (
            "AccessDeniedException",
            "let the function's role do secretsmanager:GetSecretValue on it",
        ),
        (
            "DecryptionFailure",
            "let the function's role do kms:Decrypt on the secret's key",
        ),
        (
            "InvalidRequestException",
            "check that the secret is not scheduled for deletion",
        ),
        (
            "UnrecognizedClientException",
            "check the secret and the function's role",
        ),
    ] {
        let stack = deploy(backends, &mut faults, Fault::Error(400, code)).await?;
        let words = format!("': {code}: {FAULT_WORDS}; fix: {remedy}");
        fails_soon(&stack, &[&words]).await?;
        faults.set(Fault::None).await;
        recovers(&stack).await?;
        (backends, _) = stack.undeploy().await;
    }
    backends.stop().await;
    Ok(())
}
