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
    suite::{Outcome, Setting, awake},
    vitals::pids,
    world::World,
};

/// What SHUTDOWN leaves.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// How long the freeze before it is.
const FREEZE: Duration = Duration::from_secs(3);

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "end: SIGTERM makes the extension leave the tailnet, as SHUTDOWN does" => terminated,
        "end: SHUTDOWN is kept to though the control server does not answer" => without_control,
        "end: SHUTDOWN after a freeze that killed the flows logs out, at 0 ms" => |setting| after_dead_flows(setting, 0),
        "end: SHUTDOWN after a freeze that killed the flows logs out, at 100 ms"
            => |setting| after_dead_flows(setting, 100),
    ]
}

/// Waits for the extension's end, which must come in time and be a good one.
async fn ended(world: &World, began: Instant) -> Outcome {
    let exit = world.lambda.events.find(0, |event| match event {
        Event::Process {
            name, state, exit_code, ..
        } if name.starts_with("extension:") && state == "exited" => Some(*exit_code),
        _ => None,
    });
    let code = within(SHUTDOWN, "the extension's end", exit).await;
    let code = code.map_err(|late| format!("{late}\n{}", world.log()))?;
    assert_eq!(code, Some(0), "{}", world.log());
    assert!(began.elapsed() < SHUTDOWN, "{:?}", began.elapsed());
    Ok(())
}

async fn is_online(world: &World) -> Result<bool, Failed> {
    Ok(world.surroundings.control.is_online("lambda-proxy").await?)
}

async fn terminated(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(awake).await?;
    answered(&world).await?;
    assert!(is_online(&world).await?);
    let [extension] = pids("/opt/extensions/")[..] else {
        return Err("there is not one extension".into());
    };
    let began = Instant::now();
    kill(Pid::from_raw(extension), Signal::SIGTERM)?;
    ended(&world, began).await?;
    assert!(!is_online(&world).await?);
    world.end().await
}

async fn without_control(setting: Arc<Setting>) -> Outcome {
    let world = setting.world(|_| ()).await?;
    answered(&world).await?;
    world.lambda.reached(0, "frozen").await?;
    world.surroundings.control.process.signal(Signal::SIGSTOP).await;
    let began = Instant::now();
    world.lambda.spin_down().await?;
    ended(&world, began).await?;
    world.surroundings.control.process.signal(Signal::SIGCONT).await;
    world.end().await
}

/// That is how nearly every environment ends.
async fn after_dead_flows(setting: Arc<Setting>, millis: u64) -> Outcome {
    nat::remember().await?;
    nat::block_udp().await?;
    let distance = (millis > 0).then(|| Distance::of_millis(millis));
    let world = setting.world_at(distance, |_| ()).await?;
    answered(&world).await?;
    with_dead_flows(&world, 0, FREEZE).await?;
    let began = Instant::now();
    world.lambda.spin_down().await?;
    ended(&world, began).await?;
    eprintln!("  it took {:.1?}", began.elapsed());
    let control = &world.surroundings.control;
    let counts = control.counts("lambda-proxy").await?;
    assert_eq!((counts.new, counts.logged_out), (1, 1), "{counts:?}");
    assert!(!is_online(&world).await?);
    nat::remember().await?;
    world.end().await
}
