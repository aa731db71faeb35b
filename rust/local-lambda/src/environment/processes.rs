//! What becomes of the environment's processes: every start and exit is announced at once.

use super::task::Environment;
use super::{Ending, RUNTIME};
use crate::event_log::{self, Change, Event};
use crate::lambda_api::calls::Failure;
use crate::sandbox::protocol::{Command, ExitStatus, Report};

impl Environment {
    /// Something the supervisor reports; none: it ended.
    pub(super) fn note(&mut self, report: Option<Report>) {
        match report {
            Some(Report::Spawned { name, pid }) => self.note_start(&name, pid),
            Some(Report::NotSpawned { name, error }) => {
                self.spawning = None;
                let kind = if name == RUNTIME {
                    "Runtime.InvalidEntrypoint"
                } else {
                    "Extension.LaunchError"
                };
                self.fail(kind, format!("{name} could not be started: {error}"));
            }
            Some(Report::Exited { name, status }) => self.note_exit(&name, status),
            Some(Report::AllStopped) => self.all_stopped = true,
            Some(Report::AllGone) => self.all_gone = true,
            Some(Report::SetUp | Report::SetUpFailed(_)) => {}
            None => {
                self.supervisor_ended = true;
                self.all_gone = true;
                self.fail("Sandbox.Failure", "the environment's supervisor ended".into());
            }
        }
    }

    fn note_start(&mut self, name: &str, inside: u32) {
        self.spawning = None;
        let pid = self.sandbox.host_pid(inside);
        self.processes.insert(name.to_owned(), pid);
        event_log::write(&Event::Process {
            environment: self.id,
            name,
            change: Change::Started { pid },
        });
    }

    fn note_exit(&mut self, name: &str, status: ExitStatus) {
        let pid = self.processes.remove(name).flatten();
        let expected = self.ending;
        let change = Change::Exited { pid, status, expected };
        event_log::write(&Event::Process {
            environment: self.id,
            name,
            change,
        });
        let (kind, message) = if name == RUNTIME {
            self.lifecycle.runtime_exited();
            ("Runtime.ExitError", format!("Runtime exited with error: {status}"))
        } else {
            self.lifecycle.extension_exited(name.trim_start_matches("extension:"));
            ("Extension.Crash", format!("{name} exited with error: {status}"))
        };
        if !expected {
            self.fail(kind, message);
        }
    }

    /// The environment must end. What a process reported before counts more than how it exited.
    pub(super) fn fail(&mut self, error_type: &str, message: String) {
        if self.ending {
            return;
        }
        tracing::warn!(environment = self.id, error_type, message, "the environment failed");
        let failure = self.reported.take().unwrap_or(Failure {
            error_type: error_type.into(),
            message,
        });
        self.failure.get_or_insert(failure);
    }

    pub(super) async fn tell(&mut self, command: &Command) -> Result<(), Ending> {
        Ok(self.sandbox.tell(command).await?)
    }
}
