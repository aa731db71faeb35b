//! The demo from its first process to its last.

use std::{net::TcpListener, process::ExitCode, time::Duration};

use testbed::{
    Error,
    binaries::Binaries,
    namespace::Inside,
    walkthrough::{Report, STEPS, Step, prepare},
    world::{Trouble, World},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{relay, show::Show};

/// How long after a request without an answer the end of a process may take to be noticed: it would be the cause.
const CAUSE_LIMIT: Duration = Duration::from_millis(1500);

/// What the demo comes to.
enum End {
    /// The steps are done, and this many did not behave.
    Done(usize),
    /// A process died.
    Died(Trouble),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Runs the demo to its end, and leaves nothing running.
pub(crate) async fn run(once: bool, inside: &Inside, binaries: Binaries, show: &Show) -> Result<ExitCode, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let interrupted = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    tokio::pin!(interrupted);
    let listener = inside.listener()?;

    show.heading("Starting a tailnet, AWS and Lambda on this machine");
    let progress = |what: &str, took: Duration, place: &str| show.started(what, took, place);
    let world = tokio::select! {
        world = World::start(binaries, &inside.run_dir, &progress, prepare) => world?,
        () = &mut interrupted => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let end = tokio::select! {
        end = walk(once, &world, listener, show) => end,
        () = &mut interrupted => Ok(End::Interrupted),
    };
    if let Ok(End::Died(trouble)) = &end {
        show.error(&trouble.to_string());
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

/// 128 and the number of SIGINT, as in a shell.
const INTERRUPTED: u8 = 130;

async fn walk(once: bool, world: &World, listener: TcpListener, show: &Show) -> Result<End, Error> {
    let mut wrong = 0;
    for (index, step) in STEPS.into_iter().enumerate() {
        let report = match run_step(step, world).await? {
            Ok(report) => report,
            Err(trouble) => return Ok(End::Died(trouble)),
        };
        show.step(index + 1, step.title(), &report);
        if report.verdict.is_err() {
            show.log("local-lambda", &world.lambda.process.log().tail());
            wrong += 1;
        }
    }
    show.summary(STEPS.len(), wrong);
    if once {
        return Ok(End::Done(wrong));
    }
    stay_up(world, listener, show).await
}

/// A step's report, or the trouble that kept it from having one.
async fn run_step(step: Step, world: &World) -> Result<Result<Report, Trouble>, Error> {
    let since = world.lambda.events.len();
    let result = tokio::select! {
        biased;
        trouble = world.trouble(since) => return Ok(Err(trouble)),
        result = step.run(world) => result,
    };
    if matches!(&result, Ok(Report { verdict: Ok(_), .. })) {
        return result.map(Ok);
    }
    // The request may have felt it before we were told.
    match tokio::time::timeout(CAUSE_LIMIT, world.trouble(since)).await {
        Ok(trouble) => Ok(Err(trouble)),
        Err(_) => result.map(Ok),
    }
}

/// Until Ctrl-C, or until something dies without which nothing works.
async fn stay_up(world: &World, listener: TcpListener, show: &Show) -> Result<End, Error> {
    let address = listener.local_addr().map_err(Error::Runtime)?;
    show.invitation(
        address,
        &world.url().caller,
        &world.surroundings.target.node.address().to_string(),
    );
    let relay = relay::run(listener, world.lambda.address());
    tokio::pin!(relay);
    let mut since = world.lambda.events.len();
    loop {
        let trouble = tokio::select! {
            trouble = world.trouble(since) => trouble,
            result = &mut relay => return result.map(|()| End::Done(0)).map_err(Error::Runtime),
        };
        match trouble {
            Trouble::Testbed(_) => return Ok(End::Died(trouble)),
            Trouble::Function(_) => {
                since = world.lambda.events.len();
                show.error(&trouble.to_string());
            }
        }
    }
}
