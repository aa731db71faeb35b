//! The architecture that this machine does not have: what ships for it joins a real tailnet and answers, under qemu.

use std::{process::ExitCode, sync::Arc, time::Duration};

use testbed::{
    emulated::emulated,
    suite::{Outcome, Setting, run},
    walkthrough::Step,
};

/// An emulated program takes some ten times as long.
const LIMIT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    run(|setting| {
        testbed::trials![setting;
            "the other architecture's function joins the tailnet and answers a request" within LIMIT => answers,
        ]
    })
}

async fn answers(setting: Arc<Setting>) -> Outcome {
    let binaries = emulated(&setting.binaries, &setting.run_dir)?;
    let run_dir = setting.run_dir.clone();
    let world = Setting { binaries, run_dir }.world(|_| ()).await?;
    for step in [Step::Get, Step::Echo, Step::ClosedPort] {
        let report = step.run(&world).await?;
        eprintln!("{}: {:#?}", step.title(), report.lines);
        if let Err(wrong) = report.verdict {
            let log = world.log();
            return Err(format!("{}: {wrong}\n{log}", step.title()).into());
        }
    }
    world.end().await
}
