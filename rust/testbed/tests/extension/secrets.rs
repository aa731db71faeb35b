//! A Secrets Manager that throttles, fails or refuses. moto does neither by itself: what stands before it does.

use std::{sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use testbed::{
    expect::{answered, fails_soon, recovers},
    fault_proxy::{FAULT_WORDS, Fault, FaultProxy},
    suite::{Outcome, Setting, set},
    world::{Surroundings, World},
};

/// Lambda gives a start this long.
const INIT: Duration = Duration::from_secs(10);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "Secrets Manager: throttling and failures are waited out within INIT" => waited_out,
        "Secrets Manager: each refusal is told with what mends it, and what was mended is found" => refused,
    ]
}

/// A tailnet and AWS, and what stands before Secrets Manager.
async fn before_secrets_manager(setting: &Setting) -> Result<(Surroundings, FaultProxy), Failed> {
    let surroundings = setting.surroundings().await?;
    let faults = FaultProxy::start(surroundings.aws.address()).await?;
    Ok((surroundings, faults))
}

/// Deploys a function that asks Secrets Manager by way of `faults`, which has this fault at first.
async fn deploy(surroundings: Surroundings, faults: &mut FaultProxy, fault: Fault) -> Result<World, Failed> {
    faults.set(fault).await;
    let asks = |function: &mut _| set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", &faults.endpoint());
    Ok(surroundings.deploy(asks).await?)
}

async fn waited_out(setting: Arc<Setting>) -> Outcome {
    let (surroundings, mut faults) = before_secrets_manager(&setting).await?;
    // An error, in the form of <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>.
    let throttled = Fault::Error(400, "ThrottlingException");
    let world = deploy(surroundings, &mut faults, throttled).await?;
    let mending = async {
        faults.called(1).await;
        faults.set(Fault::Error(500, "InternalServiceError")).await;
        faults.called(2).await;
        faults.set(Fault::None).await;
    };
    let (took, ()) = tokio::join!(answered(&world), mending);
    let took = took?;
    assert!(took < INIT, "{took:?}");
    world.end().await
}

/// The table in docs/troubleshooting.md has these.
async fn refused(setting: Arc<Setting>) -> Outcome {
    let (mut surroundings, mut faults) = before_secrets_manager(&setting).await?;
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
        let world = deploy(surroundings, &mut faults, Fault::Error(400, code)).await?;
        let words = format!("': {code}: {FAULT_WORDS}; fix: {remedy}");
        fails_soon(&world, &[&words]).await?;
        faults.set(Fault::None).await;
        recovers(&world).await?;
        (surroundings, _) = world.undeploy().await;
    }
    surroundings.stop().await;
    Ok(())
}
