//! The architecture that this machine does not have: what ships for it joins a real tailnet and answers, under qemu.

use std::{process::ExitCode, sync::Arc, time::Duration};

use testbed::{
    binaries::project_folder,
    emulated::emulated,
    suite::{Outcome, Setting, run, trial_within},
    walkthrough::Step,
    world::World,
};

/// An emulated program takes some ten times as long.
const LIMIT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    run(|setting| {
        vec![trial_within(
            LIMIT,
            setting,
            "the other architecture's function joins the tailnet and answers a request",
            answers,
        )]
    })
}

async fn answers(setting: Arc<Setting>) -> Outcome {
    let binaries = emulated(&setting.binaries, &project_folder(), &setting.run_dir)?;
    let world = World::start(binaries, &setting.run_dir, &|_, _, _| (), |_| ()).await?;
    for step in [Step::Get, Step::Echo, Step::ClosedPort] {
        let report = step.run(&world).await?;
        println!("{}: {:?}", step.title(), report.took);
        if let Err(wrong) = report.verdict {
            let log = world.lambda.process.log().tail();
            return Err(format!("{}: {wrong}\n{log}", step.title()).into());
        }
    }
    let exit = world.stop().await;
    assert!(exit.status.success(), "{exit}");
    Ok(())
}
