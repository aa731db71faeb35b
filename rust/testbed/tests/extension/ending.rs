//! The end: no process and no machine is left, and it does not take longer than Lambda allows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    deadline::within,
    distance::Distance,
    expect::answered,
    freeze::with_dead_flows,
    lambda::Event,
    nat,
    stack::TestStack,
    suite::{SuiteContext, TestResult, without_freeze},
    vitals::pids,
};
use tokio::time::sleep;

/// What SHUTDOWN leaves.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// How long the freeze before it is.
const FREEZE: Duration = Duration::from_secs(3);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "end: SIGTERM logs the machine out, as SHUTDOWN does" => terminated,
        "end: SHUTDOWN's deadline is met although the control server does not respond" => without_control,
        "end: SHUTDOWN after a freeze that killed the flows logs out, at 0 ms" => |context| after_dead_flows(context, 0),
        "end: SHUTDOWN after a freeze that killed the flows logs out, at 100 ms"
            => |context| after_dead_flows(context, 100),
    ]
}

/// Waits for the extension's end, which must come in time and be a good one.
async fn ended(stack: &TestStack, began: Instant) -> TestResult {
    let exit = stack.lambda.events.find(0, |event| match event {
        Event::Process {
            name, state, exit_code, ..
        } if name.starts_with("extension:") && state == "exited" => Some(*exit_code),
        _ => None,
    });
    let code = within(SHUTDOWN, "the extension's end", exit).await;
    let code = code.map_err(|late| format!("{late}\n{}", stack.log()))?;
    assert_eq!(code, Some(0), "{}", stack.log());
    assert!(began.elapsed() < SHUTDOWN, "{:?}", began.elapsed());
    Ok(())
}

async fn is_online(stack: &TestStack) -> Result<bool, Failed> {
    Ok(stack.backends.control.is_online("lambda-proxy").await?)
}

async fn terminated(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(without_freeze).await?;
    answered(&stack).await?;
    // tailscaled begins its map request anew after a login: it may be between two of them.
    let online = async {
        while !is_online(&stack).await? {
            sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, Failed>(())
    };
    within(Duration::from_secs(1), "the machine to be online", online).await??;
    let [extension] = pids("/opt/extensions/")[..] else {
        return Err("there is not one extension".into());
    };
    let began = Instant::now();
    kill(Pid::from_raw(extension), Signal::SIGTERM)?;
    ended(&stack, began).await?;
    assert!(!is_online(&stack).await?);
    stack.end().await
}

async fn without_control(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    answered(&stack).await?;
    stack.lambda.reached(0, "frozen").await?;
    stack.backends.control.process.signal(Signal::SIGSTOP).await;
    let began = Instant::now();
    stack.lambda.spin_down().await?;
    ended(&stack, began).await?;
    stack.backends.control.process.signal(Signal::SIGCONT).await;
    stack.end().await
}

/// That is how nearly every environment ends.
async fn after_dead_flows(context: Arc<SuiteContext>, millis: u64) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let distance = (millis > 0).then(|| Distance::of_millis(millis));
    let stack = context.stack_at(distance, |_| ()).await?;
    answered(&stack).await?;
    with_dead_flows(&stack, 0, FREEZE).await?;
    let began = Instant::now();
    stack.lambda.spin_down().await?;
    ended(&stack, began).await?;
    eprintln!("  it took {:.1?}", began.elapsed());
    let control = &stack.backends.control;
    let counts = control.counts("lambda-proxy").await?;
    assert_eq!((counts.new, counts.logged_out), (1, 1), "{counts:?}");
    assert!(!is_online(&stack).await?);
    nat::reset().await?;
    stack.end().await
}
