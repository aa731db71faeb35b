//! A Secrets Manager that throttles, fails or refuses. moto does neither by itself: what stands before it does.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use libtest_mimic::{Failed, Trial};
use testbed::{
    expect::{fails_soon, get, recovers, says_why},
    fault_proxy::{FAULT_WORDS, Fault, FaultProxy},
    suite::{Outcome, Setting, set},
    world::{Surroundings, World},
};

/// Lambda gives a start this long.
const INIT: Duration = Duration::from_secs(10);
/// An error, in the form of <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>.
const THROTTLED: Fault = Fault::Error(400, "ThrottlingException");

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "Secrets Manager: throttling and failures are waited out within INIT" => waited_out,
        "Secrets Manager: throttling that goes on is told, and it is asked again" => throttled,
        "Secrets Manager: each refusal is told with what mends it, and what was mended is found" => refused,
    ]
}

/// A tailnet and AWS, and what stands before Secrets Manager, with this fault at first.
async fn before_secrets_manager(setting: &Setting, fault: Fault) -> Result<(Surroundings, FaultProxy), Failed> {
    let surroundings = setting.surroundings().await?;
    let mut faults = FaultProxy::start(surroundings.aws.address()).await?;
    faults.set(fault).await;
    Ok((surroundings, faults))
}

/// Deploys a function that asks Secrets Manager by way of `faults`.
async fn deploy(surroundings: Surroundings, faults: &FaultProxy) -> Result<World, Failed> {
    let asks = |function: &mut _| set(function, "AWS_ENDPOINT_URL_SECRETS_MANAGER", &faults.endpoint());
    Ok(surroundings.deploy(asks).await?)
}

async fn waited_out(setting: Arc<Setting>) -> Outcome {
    let (surroundings, mut faults) = before_secrets_manager(&setting, THROTTLED).await?;
    let world = deploy(surroundings, &faults).await?;
    let mending = async {
        faults.called(1).await;
        faults.set(Fault::Error(500, "InternalServiceError")).await;
        faults.called(2).await;
        faults.set(Fault::None).await;
    };
    let (answered, ()) = tokio::join!(get(&world), mending);
    let (answer, took) = answered?;
    let log = world.log();
    assert_eq!(answer.status(), StatusCode::OK, "{answer:?}\n{log}");
    assert!(took < INIT, "{took:?}");
    world.end().await
}

async fn throttled(setting: Arc<Setting>) -> Outcome {
    let (surroundings, mut faults) = before_secrets_manager(&setting, THROTTLED).await?;
    let world = deploy(surroundings, &faults).await?;
    let (answer, took) = get(&world).await?;
    let words = [
        "NoAuthKey: cannot read an auth key from secret '",
        "': ThrottlingException",
        "; fix: none: Secrets Manager is busy, and is asked again",
    ];
    says_why(&world, &answer, &words).await;
    assert!(took < INIT, "{took:?}");
    faults.set(Fault::None).await;
    recovers(&world).await?;
    world.end().await
}

/// The table in docs/troubleshooting.md has these.
async fn refused(setting: Arc<Setting>) -> Outcome {
    let (mut surroundings, mut faults) = before_secrets_manager(&setting, Fault::None).await?;
    for (code, remedy) in [
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
        faults.set(Fault::Error(400, code)).await;
        let world = deploy(surroundings, &faults).await?;
        let words = format!("': {code}: {FAULT_WORDS}; fix: {remedy}");
        fails_soon(&world, &[&words]).await?;
        faults.set(Fault::None).await;
        recovers(&world).await?;
        (surroundings, _) = world.undeploy().await;
    }
    surroundings.stop().await;
    Ok(())
}
