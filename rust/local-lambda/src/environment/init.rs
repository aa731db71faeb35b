//! INIT: the extensions first, the runtime when all of them have registered; done when all have asked for their next
//! event (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>, "Init phase").

use std::time::Duration;

use tokio::time::Instant;

use super::lifecycle::Lifecycle;
use super::task::Environment;
use super::{Ending, Job, RUNTIME, announce};
use crate::event_log::{self, Event, State};
use crate::process_variables;
use crate::sandbox::protocol::{Command, Program};

/// INIT may take this long. It is not part of the function's time-out.
const INIT_LIMIT: Duration = Duration::from_secs(10);

impl Environment {
    /// INIT, and the invocation that it was for. An INIT that failed is tried once more as part of that invocation,
    /// within the function's own time-out: the service's "suppressed init" (and the emulator's).
    pub(super) async fn cold_start(&mut self, job: Job) -> Result<(), Ending> {
        let begun = Instant::now();
        match self.initialize(begun + INIT_LIMIT).await {
            Ok(()) => return self.invoke(job, Some(begun.elapsed()), None).await,
            Err(Ending::Stop) => return self.give_up(job, Ending::Stop),
            Err(ending) => {
                tracing::warn!(environment = self.id, ?ending, "INIT failed, and is tried once more");
                if let Err(ending) = self.reset(ending.reason()).await {
                    return self.give_up(job, ending);
                }
            }
        }
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(self.host.function.timeout_seconds.into());
        announce(self.id, State::Starting, None);
        match self.initialize(deadline).await {
            Ok(()) => self.invoke(job, None, Some(deadline)).await,
            Err(ending) => self.give_up(job, ending),
        }
    }

    fn give_up(&self, job: Job, ending: Ending) -> Result<(), Ending> {
        let (outcome, error_type) = ending.status();
        event_log::write(&Event::Invocation {
            environment: self.id,
            init_ms: None,
            duration_ms: 0.0,
            outcome,
            error_type: Some(error_type),
        });
        job.fail(&ending, self.host.function.timeout_seconds);
        Err(ending)
    }

    async fn initialize(&mut self, deadline: Instant) -> Result<(), Ending> {
        self.lifecycle = Lifecycle::default();
        self.start_extensions(deadline).await?;
        self.until(deadline, |state| state.lifecycle.all_registered()).await?;
        self.start_runtime(deadline).await?;
        self.until(deadline, |state| state.lifecycle.runtime_waits()).await?;
        self.until(deadline, |state| state.lifecycle.all_extensions_wait())
            .await?;
        announce(self.id, State::Initialized, None);
        Ok(())
    }

    async fn start_extensions(&mut self, deadline: Instant) -> Result<(), Ending> {
        let names = self.host.sandbox_host.scratch.extensions.clone();
        for name in &names {
            self.lifecycle.expect_extension(name);
        }
        for name in names {
            let variables = process_variables::of_an_extension(&self.host.function, &self.log_stream);
            let path = format!("/opt/extensions/{name}");
            self.start(
                Program {
                    name: format!("extension:{name}"),
                    path,
                    variables,
                },
                deadline,
            )
            .await?;
        }
        Ok(())
    }

    async fn start_runtime(&mut self, deadline: Instant) -> Result<(), Ending> {
        self.lifecycle.runtime_started();
        let variables = process_variables::of_the_runtime(&self.host.function, &self.log_stream);
        self.start(
            Program {
                name: RUNTIME.into(),
                path: "/var/task/bootstrap".into(),
                variables,
            },
            deadline,
        )
        .await
    }

    /// One after the other.
    async fn start(&mut self, program: Program, deadline: Instant) -> Result<(), Ending> {
        self.spawning = Some(program.name.clone());
        self.tell(&Command::Spawn(program)).await?;
        self.until(deadline, |state| state.spawning.is_none()).await
    }
}
