//! A caller's requests, there and back.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use testbed::{
    control::Control,
    deadline::within,
    walkthrough::{STEPS, Step, prepare},
    world::World,
};

use crate::{Outcome, Setting, demo::Demo, quiet, trial};

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(setting, "every step of the walk-through behaves", every_step_behaves),
        trial(
            setting,
            "SHUTDOWN takes the function out of the tailnet",
            shutdown_logs_out,
        ),
        trial(setting, "the demo shows all steps and exits 0", the_demo_exits_0),
        trial(
            setting,
            "Ctrl-C ends the demo and leaves no process",
            ctrl_c_leaves_nothing,
        ),
    ]
}

async fn start(setting: &Setting) -> Result<World, testbed::Error> {
    World::start(setting.binaries.clone(), &setting.run_dir, &quiet, prepare).await
}

async fn every_step_behaves(setting: Arc<Setting>) -> Outcome {
    let world = start(&setting).await?;
    for step in STEPS {
        let report = step.run(&world).await?;
        if let Err(wrong) = report.verdict {
            let log = world.lambda.process.log().tail();
            return Err(format!("{}: {wrong}\n{log}", step.title()).into());
        }
    }
    let exit = world.stop().await;
    assert!(exit.status.success(), "{exit}");
    Ok(())
}

async fn shutdown_logs_out(setting: Arc<Setting>) -> Outcome {
    let world = start(&setting).await?;
    Step::Get.run(&world).await?.verdict?;
    let is_online = async |control: &Control| control.is_online("lambda-proxy").await;
    assert!(
        is_online(&world.surroundings.control).await?,
        "the function is not in the tailnet"
    );
    let (surroundings, exit) = world.undeploy().await;
    assert!(exit.status.success(), "{exit}");
    within(Duration::from_secs(5), "the function's leaving", async {
        while is_online(&surroundings.control).await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, testbed::Error>(())
    })
    .await??;
    surroundings.stop().await;
    Ok(())
}

async fn the_demo_exits_0(setting: Arc<Setting>) -> Outcome {
    let (status, output) = Demo::start(&setting, &["--once"])?.end().await?;
    assert!(status.success(), "{output}");
    for step in STEPS {
        assert!(output.contains(step.title()), "{output}");
    }
    assert_eq!(
        (output.matches('✓').count(), output.matches('✗').count()),
        (STEPS.len(), 0),
        "{output}"
    );
    Ok(())
}

async fn ctrl_c_leaves_nothing(setting: Arc<Setting>) -> Outcome {
    let mut demo = Demo::start(&setting, &[])?;
    demo.invitation().await?;
    assert!(demo.victim("tailscaled").is_some());
    demo.process.signal(Signal::SIGINT).await;
    let (status, output) = demo.end().await?;
    assert!(status.success(), "{output}");
    assert_eq!(crate::demo::running(), Vec::<String>::new());
    Ok(())
}
