//! What the environment's processes ask for.

use uuid::Uuid;

use super::task::Environment;
use crate::lambda_api::Refusal;
use crate::lambda_api::calls::{Call, Delivery, ExtensionEvent, Failure, Reply};

impl Environment {
    /// A call of one of the processes.
    pub(super) fn answer(&mut self, call: Call) {
        match call {
            Call::RuntimeNext(reply) => self.runtime_next(reply),
            Call::Response { id, answer, reply } => self.take_answer(&id, answer, reply),
            Call::StreamBegins { id, stream, reply } => self.begin_stream(&id, stream, reply),
            Call::StreamEnded { id, broken, reply } => self.end_stream(&id, broken, reply),
            Call::Register { name, events, reply } => give(reply, self.lifecycle.register(&name, events)),
            Call::ExtensionNext { identifier, reply } => self.extension_next(identifier, reply),
            Call::ExtensionInitError {
                identifier,
                error_type,
                reply,
            } => {
                let outcome = self.lifecycle.extension_init_error(identifier);
                let outcome = outcome.map(|name| self.extension_gave_up(&name, &error_type));
                give(reply, outcome);
            }
        }
    }

    fn runtime_next(&mut self, reply: Reply<Delivery>) {
        match (self.lifecycle.runtime_next(), &self.current) {
            (Err(refusal), _) => give(reply, Err(refusal)),
            (Ok(()), Some(current)) if !self.lifecycle.runtime_waits() => give(reply, Ok(current.delivery.clone())),
            (Ok(()), _) => self.runtime_poll = Some(reply),
        }
    }

    fn extension_next(&mut self, identifier: Uuid, reply: Reply<ExtensionEvent>) {
        match (self.lifecycle.extension_next(identifier), &self.shutdown_event) {
            (Err(refusal), _) => give(reply, Err(refusal)),
            (Ok(()), Some(shutdown_event)) if self.lifecycle.wants_shutdown(identifier) => {
                give(reply, Ok(shutdown_event.clone()))
            }
            (Ok(()), _) => {
                self.extension_polls.insert(identifier, reply);
            }
        }
    }

    /// The service waits for the process to exit; what it said before then names the failure.
    fn extension_gave_up(&mut self, name: &str, error_type: &str) {
        let message = format!("extension {name} reported {error_type} to init/error");
        tracing::warn!(environment = self.id, %message, "an extension gives up");
        self.reported.get_or_insert(Failure {
            error_type: "Extension.InitError".into(),
            message,
        });
    }
}

/// Whoever asked may be dead by now; then nobody needs the answer.
pub(super) fn give<T>(reply: Reply<T>, answer: Result<T, Refusal>) {
    let _ = reply.send(answer);
}
