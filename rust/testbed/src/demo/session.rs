//! The demo from its first process to its last.

use std::{process::ExitCode, time::Duration};

use testbed::{
    Error,
    binaries::Binaries,
    door::pass_on,
    namespace::Inside,
    process::Exit,
    walkthrough::{STEPS, prepare},
    world::World,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::show::Show;

/// How long after a request without an answer the end of a process may take to be noticed: it would be the cause.
const CAUSE_LIMIT: Duration = Duration::from_millis(1500);
/// 128 and the number of SIGINT, as in a shell.
const INTERRUPTED: u8 = 130;

/// What the demo comes to.
enum End {
    /// The steps are done, and this many did not behave.
    Done(usize),
    /// A process died.
    Died(Exit),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Runs the demo to its end, and leaves nothing running.
pub(crate) async fn run(once: bool, inside: &Inside, binaries: Binaries, show: &Show) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let interrupted = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    tokio::pin!(interrupted);

    show.heading("Starting a tailnet, AWS and Lambda on this machine");
    let progress = |what: &str, took: Duration, place: &str| show.started(what, took, place);
    let world = tokio::select! {
        world = World::start(binaries, &inside.run_dir, &progress, prepare) => world?,
        () = &mut interrupted => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let end = tokio::select! {
        biased;
        exit = world.death() => Ok(End::Died(exit)),
        end = walk(once, &world, inside, show) => match end {
            // The request may have felt it before we were told.
            Err(error) => timeout(CAUSE_LIMIT, world.death()).await.map(End::Died).map_err(|_| error),
            end => end,
        },
        () = &mut interrupted => Ok(End::Interrupted),
    };
    if let Ok(End::Died(exit)) = &end {
        show.error(&exit.to_string());
    }
    show.heading("Stopping");
    let exit = world.stop().await;
    if !exit.status.success() && !matches!(end, Ok(End::Died(_))) {
        show.error(&exit.to_string());
        return Ok(ExitCode::FAILURE);
    }
    match end? {
        End::Done(0) => Ok(ExitCode::SUCCESS),
        End::Done(_) | End::Died(_) => Ok(ExitCode::FAILURE),
        End::Interrupted if once => Ok(ExitCode::from(INTERRUPTED)),
        End::Interrupted => Ok(ExitCode::SUCCESS),
    }
}

/// Shows the steps, and then stays up for callers in another terminal, unless it is to end at `once`.
async fn walk(once: bool, world: &World, inside: &Inside, show: &Show) -> Result<End, Error> {
    let mut wrong = 0;
    for (index, step) in STEPS.into_iter().enumerate() {
        let report = step.run(world).await?;
        show.step(index + 1, step.title(), &report);
        if report.verdict.is_err() {
            show.log("local-lambda", &world.log());
            wrong += 1;
        }
    }
    show.summary(STEPS.len(), wrong);
    if once {
        return Ok(End::Done(wrong));
    }
    let listener = inside.listener()?;
    let address = listener.local_addr()?;
    let target = world.surroundings.target.node.address().to_string();
    show.invitation(address, &world.url().caller, &target);
    let passed_on = async { pass_on(TcpListener::from_std(listener)?, world.lambda.address().to_owned()).await };
    match passed_on.await? {}
}
