//! How an environment comes to its end, and what callers and extensions are told of it.

use super::{Job, JobError};
use crate::error::Error;
use crate::invocation::InvokeError;
use crate::lambda_api::calls::{Failure, ShutdownReason};

/// How an environment came to its end.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// Nobody needs it any more.
    Spindown,
    /// local-lambda ends.
    Stop,
    /// INIT or an invocation took too long.
    Timeout,
    /// A process ended, or could not start, or the machine failed us.
    Failure(Failure),
}

impl Ending {
    pub(super) fn reason(&self) -> ShutdownReason {
        match self {
            Self::Spindown | Self::Stop => ShutdownReason::Spindown,
            Self::Timeout => ShutdownReason::Timeout,
            Self::Failure(_) => ShutdownReason::Failure,
        }
    }

    /// `error` or `timeout`, and the failure's type.
    pub(super) fn status(&self) -> (&'static str, &str) {
        match self {
            Self::Timeout => ("timeout", "Sandbox.Timedout"),
            Self::Failure(failure) => ("error", &failure.error_type),
            Self::Spindown | Self::Stop => ("error", "Sandbox.Stopped"),
        }
    }

    pub(super) fn message(&self, request_id: &str, timeout_seconds: u32) -> String {
        let what = match self {
            Self::Timeout => format!("Task timed out after {timeout_seconds}.00 seconds"),
            Self::Failure(failure) => failure.message.clone(),
            Self::Spindown | Self::Stop => "the environment was shut down".into(),
        };
        format!("RequestId: {request_id} Error: {what}")
    }

    pub(super) fn for_caller(&self, request_id: &str, timeout_seconds: u32) -> InvokeError {
        let error_type = self.status().1.to_owned();
        InvokeError::Function {
            error_type,
            message: self.message(request_id, timeout_seconds),
        }
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self::Failure(Failure {
            error_type: "Sandbox.Failure".into(),
            message: error.to_string(),
        })
    }
}

impl Job {
    /// Tells the caller that nothing will come.
    pub(super) fn fail(self, ending: &Ending, timeout_seconds: u32) {
        let error = ending.for_caller(&self.invocation.request_id, timeout_seconds);
        // The caller may have hung up.
        let _ = self.reply.send(Err(JobError::Failed(error)));
    }
}
