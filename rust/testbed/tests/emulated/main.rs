//! The architecture that this machine does not have: what ships for it joins a real tailnet and answers, under qemu.

use std::{process::ExitCode, sync::Arc, time::Duration};

use testbed::{
    emulated::emulated,
    suite::{SuiteContext, TestResult, run},
    walkthrough::Step,
};

/// An emulated program takes some ten times as long.
const LIMIT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    run(|context| {
        testbed::trials![context;
            "the other architecture's function joins the tailnet and answers a request" within LIMIT => answers,
        ]
    })
}

async fn answers(context: Arc<SuiteContext>) -> TestResult {
    let binaries = emulated(&context.binaries, &context.run_dir)?;
    let run_dir = context.run_dir.clone();
    let stack = SuiteContext { binaries, run_dir }.stack(|_| ()).await?;
    for step in [Step::Get, Step::Echo, Step::ClosedPort] {
        let report = step.run(&stack).await?;
        eprintln!("{}: {:#?}", step.title(), report.lines);
        if let Err(wrong) = report.verdict {
            let log = stack.log();
            return Err(format!("{}: {wrong}\n{log}", step.title()).into());
        }
    }
    stack.end().await
}
