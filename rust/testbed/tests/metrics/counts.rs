//! Each request is counted once, and no caller waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use testbed::{
    deadline::within,
    fault_proxy::{Fault, FaultProxy},
    stack::TestStack,
    suite::set,
    target::{CLOSED_PORT, PORT},
};

use crate::{SuiteContext, TestResult, comes_to, counted, request, rests};

/// How many requests must come to so many counts.
const REQUESTS: usize = 1000;
/// How many of them go to a port where nobody listens.
const EVERY_FAILURE: usize = 10;
/// How long that may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How long CloudWatch takes in the test that it is slow in.
const STALL: Duration = Duration::from_secs(5);
/// How long an answer may take meanwhile: as long as without it.
const SOON: Duration = Duration::from_secs(1);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "metrics: a stalled CloudWatch delays no response, and each is counted once" => stalled,
        "metrics: 1,000 requests are 1,000 counts, across freezes, refusals and the end" within LIMIT => exact,
    ]
}

/// A stack whose proxy calls CloudWatch by way of a proxy that fails on demand, after each request.
async fn stack(context: &SuiteContext) -> Result<(TestStack, FaultProxy), libtest_mimic::Failed> {
    let backends = context.backends().await?;
    let faults = FaultProxy::start(backends.aws.cloudwatch_address()).await?;
    let endpoint = faults.endpoint();
    let stack = backends.deploy(|function| {
        set(function, "AWS_ENDPOINT_URL_CLOUDWATCH", &endpoint);
        set(function, "TS_METRICS_INTERVAL", "0");
    });
    Ok((stack.await?, faults))
}

async fn stalled(context: Arc<SuiteContext>) -> TestResult {
    let (stack, mut faults) = stack(&context).await?;
    // The first one pays for the start.
    request(&stack, "/get", PORT).await?;
    within(STALL, "the first call", faults.answered(1)).await?;
    faults.set(Fault::Stalled(STALL)).await;
    let mut since = 0;
    let stalled = Instant::now();
    for _ in 0..5 {
        since = stack.lambda.events.len();
        let began = Instant::now();
        let answer = request(&stack, "/get", PORT).await?;
        let took = began.elapsed();
        assert_eq!(answer.status(), 200);
        assert!(took < SOON, "an answer took {took:?} while CloudWatch was stalled");
    }
    rests(&stack, since).await?;
    let took = stalled.elapsed();
    assert!(took < STALL, "the requests waited for CloudWatch: {took:?}");
    faults.set(Fault::None).await;
    // What was held up is passed on by and by, while the environment is frozen; the end tells the rest.
    within(2 * STALL, "the stalled call", faults.answered(2)).await?;
    assert_eq!(faults.calls(), 2, "a call was under way: no other one joined it");
    stack.lambda.spin_down().await?;
    comes_to(&stack, since, "stopped").await?;
    assert_eq!(counted(&stack).await?, (6.0, 0.0));
    stack.end().await
}

async fn exact(context: Arc<SuiteContext>) -> TestResult {
    let (stack, mut faults) = stack(&context).await?;
    let first = stack.lambda.events.len();
    for number in 0..REQUESTS {
        match number % 200 {
            40 => faults.set(Fault::Error(400, "Throttling")).await,
            80 => faults.set(Fault::Refused).await,
            120 => faults.set(Fault::None).await,
            _ => {}
        }
        let since = stack.lambda.events.len();
        let (port, status) = if number % EVERY_FAILURE == 0 {
            (CLOSED_PORT, 502)
        } else {
            (PORT, 200)
        };
        let answer = request(&stack, "/get", port).await?;
        assert_eq!(answer.status(), status, "number {number}: {answer:?}");
        // Before the port closes, too: a batch that waits there to be accepted may have arrived, and is not sent again.
        if number % 7 == 0 || number % 200 == 79 || number + 1 == REQUESTS {
            rests(&stack, since).await?;
        }
    }
    // The last ones are told by the end of the environment: CloudWatch has refused all of late.
    faults.set(Fault::Refused).await;
    let since = stack.lambda.events.len();
    request(&stack, "/get", PORT).await?;
    rests(&stack, since).await?;
    faults.set(Fault::None).await;
    stack.lambda.spin_down().await?;
    comes_to(&stack, first, "stopped").await?;
    let failures = REQUESTS.div_ceil(EVERY_FAILURE);
    let expected = ((REQUESTS + 1 - failures) as f64, failures as f64);
    assert_eq!(counted(&stack).await?, expected);
    stack.end().await
}
