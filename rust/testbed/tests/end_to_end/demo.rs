//! The demo, run as a person runs it.

use std::{process::ExitStatus, sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    binaries::ROOT_VARIABLE,
    deadline::within,
    process::{Process, command},
    vitals::pids,
    walkthrough::STEPS,
};
use tokio::sync::mpsc;

use crate::{SuiteContext, TestResult};

/// How long the demo may take until it has shown all steps.
const STEPS_LIMIT: Duration = Duration::from_secs(60);
/// How long its end may take.
const END_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "the demo shows all steps and exits 0" => exits_0,
        "the demo names a server that is killed, and fails" => names_the_dead,
        "Ctrl-C ends the demo and leaves no process" => ctrl_c_leaves_nothing,
    ]
}

/// A running demo.
struct Demo {
    process: Process,
    lines: mpsc::Receiver<String>,
    output: String,
}

impl Demo {
    fn start(context: &SuiteContext, arguments: &[&str]) -> Result<Self, Failed> {
        let mut command = command(env!("CARGO_BIN_EXE_demo").as_ref(), &context.run_dir);
        command
            .args(arguments)
            .envs(std::env::var_os(ROOT_VARIABLE).map(|root| (ROOT_VARIABLE, root)));
        let (process, lines) = Process::spawn_reading("the demo", &mut command)?;
        Ok(Self {
            process,
            lines,
            output: String::new(),
        })
    }

    /// Reads on to a line with `words`, or to the end. Says whether there was one.
    async fn read_to(&mut self, words: Option<&str>) -> bool {
        while let Some(line) = self.lines.recv().await {
            self.output += &line;
            self.output.push('\n');
            if words.is_some_and(|words| line.contains(words)) {
                return true;
            }
        }
        false
    }

    /// Starts it, and waits until the steps are done, and it invites to try more.
    async fn invited(context: &SuiteContext) -> Result<Self, Failed> {
        let mut demo = Self::start(context, &[])?;
        match within(STEPS_LIMIT, "the demo's steps", demo.read_to(Some("--user "))).await? {
            true => Ok(demo),
            false => Err(format!("the demo ended too early:\n{}", demo.output).into()),
        }
    }

    async fn end(mut self) -> Result<(ExitStatus, String), Failed> {
        within(STEPS_LIMIT, "the demo's end", self.read_to(None)).await?;
        let exit = within(END_LIMIT, "the end of its process", self.process.exited()).await?;
        Ok((exit.status, self.output + &exit.log))
    }
}

async fn exits_0(context: Arc<SuiteContext>) -> TestResult {
    let (status, output) = Demo::start(&context, &["--once"])?.end().await?;
    assert!(status.success(), "{output}");
    for step in STEPS {
        assert!(output.contains(step.title()), "{output}");
    }
    let verdicts = (output.matches('✓').count(), output.matches('✗').count());
    assert_eq!(verdicts, (STEPS.len(), 0), "{output}");
    Ok(())
}

async fn names_the_dead(context: Arc<SuiteContext>) -> TestResult {
    let demo = Demo::invited(&context).await?;
    let server = context.binaries.go_httpbin.display().to_string();
    let server = pids(&server).first().copied().ok_or("go-httpbin does not run")?;
    kill(Pid::from_raw(server), Signal::SIGKILL)?;
    let (status, output) = demo.end().await?;
    assert!(!status.success(), "{output}");
    let told = output.contains("go-httpbin was killed by signal 9 (SIGKILL)");
    assert!(told, "{output}");
    Ok(())
}

async fn ctrl_c_leaves_nothing(context: Arc<SuiteContext>) -> TestResult {
    let demo = Demo::invited(&context).await?;
    demo.process.signal(Signal::SIGINT).await;
    let (status, output) = demo.end().await?;
    assert!(status.success(), "{output}");
    // Process 1 is the suite.
    let left: Vec<i32> = pids("/").into_iter().filter(|pid| *pid != 1).collect();
    assert_eq!(left, [] as [i32; 0], "{output}");
    Ok(())
}
