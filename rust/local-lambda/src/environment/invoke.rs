//! An invocation: the event to the runtime and to the extensions, the answer to the caller, and the time after it until
//! all have asked for their next event.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::current::Current;
use super::requests::give;
use super::task::Environment;
use super::{Availability, Ending, Job, JobError, announce};
use crate::event_log::{self, Event, State};
use crate::invocation::{Answer, InvokeError, StreamBroken, StreamingAnswer};
use crate::lambda_api::calls::{Delivery, ExtensionEvent, Reply, Tracing};
use crate::trace;

impl Environment {
    /// Runs one invocation until all have asked for their next event. `init` is how long the INIT for it took;
    /// `deadline` is given when the function's time already runs.
    pub(super) async fn invoke(
        &mut self,
        job: Job,
        init: Option<Duration>,
        deadline: Option<Instant>,
    ) -> Result<(), Ending> {
        if let Err(ending) = self.thaw().await {
            job.fail(&ending, self.host.function.timeout_seconds);
            return Err(ending);
        }
        announce(self.id, State::Invoking, None);
        let begun = Instant::now();
        let limit = Duration::from_secs(self.host.function.timeout_seconds.into());
        let deadline = deadline.unwrap_or(begun + limit);
        let delivery = Delivery {
            request_id: job.invocation.request_id,
            function_arn: self.host.function.invoked_arn(job.invocation.qualifier.as_deref()),
            deadline_ms: milliseconds_since_1970(deadline - begun),
            trace_id: trace::header(&job.invocation.trace_root),
            payload: job.invocation.payload,
        };
        self.current = Some(Current {
            delivery: delivery.clone(),
            reply: Some(job.reply),
            stream: None,
            begun,
            init,
            told: false,
        });
        self.deliver(delivery);
        let outcome = self.follow(deadline).await;
        self.conclude(&outcome);
        outcome
    }

    fn deliver(&mut self, delivery: Delivery) {
        let event = ExtensionEvent::Invoke {
            deadline_ms: delivery.deadline_ms,
            request_id: delivery.request_id.clone(),
            invoked_function_arn: delivery.function_arn.clone(),
            tracing: Tracing::xray(&delivery.trace_id),
        };
        for identifier in self.lifecycle.begin(&delivery.request_id) {
            if let Some(poll) = self.extension_polls.remove(&identifier) {
                give(poll, Ok(event.clone()));
            }
        }
        if let Some(poll) = self.runtime_poll.take() {
            give(poll, Ok(delivery));
        }
    }

    async fn follow(&mut self, deadline: Instant) -> Result<(), Ending> {
        self.until(deadline, |state| state.lifecycle.has_answered()).await?;
        self.until(deadline, |state| state.lifecycle.all_wait()).await
    }

    /// The last of an invocation: the bad news for a caller that still waits.
    fn conclude(&mut self, outcome: &Result<(), Ending>) {
        if let Err(ending) = outcome {
            let (outcome, error_type) = ending.status();
            self.tell_outcome(outcome, Some(error_type));
            self.break_off(ending);
        }
        self.lifecycle.finish();
        self.current = None;
    }

    fn break_off(&mut self, ending: &Ending) {
        let Some(current) = &mut self.current else { return };
        let timeout = self.host.function.timeout_seconds;
        let request_id = &current.delivery.request_id;
        if let Some(stream) = current.stream.take() {
            // The stream may just have come to its end by itself.
            let _ = stream.send(StreamBroken {
                reason: ending.message(request_id, timeout),
            });
        }
        if let Some(reply) = current.reply.take() {
            let _ = reply.send(Err(JobError::Failed(ending.for_caller(request_id, timeout))));
        }
    }

    /// Announces how the invocation went, once.
    fn tell_outcome(&mut self, outcome: &str, error_type: Option<&str>) {
        let Some(current) = self.current.as_mut().filter(|current| !current.told) else {
            return;
        };
        current.told = true;
        event_log::write(&Event::Invocation {
            environment: self.id,
            init_ms: current.init.map(milliseconds),
            duration_ms: milliseconds(current.begun.elapsed()),
            outcome,
            error_type,
        });
    }

    /// The caller's next request must find an environment that is about to be free, so this comes before the answer.
    fn answered(&mut self, outcome: &str, error_type: Option<&str>) {
        self.lifecycle.responded();
        self.host.registry.set(self.id, Availability::Finishing);
        self.tell_outcome(outcome, error_type);
    }

    pub(super) fn take_answer(&mut self, id: &str, answer: Result<Bytes, InvokeError>, reply: Reply<()>) {
        if let Err(refusal) = self.lifecycle.respond(id) {
            return give(reply, Err(refusal));
        }
        match &answer {
            Ok(_) => self.answered("success", None),
            Err(InvokeError::Function { error_type, .. }) => self.answered("error", Some(error_type)),
            Err(_) => self.answered("error", Some("Function.ResponseSizeTooLarge")),
        }
        self.pass_to_caller(answer.map(Answer::Buffered));
        give(reply, Ok(()));
    }

    pub(super) fn begin_stream(
        &mut self,
        id: &str,
        stream: StreamingAnswer,
        reply: Reply<oneshot::Receiver<StreamBroken>>,
    ) {
        if let Err(refusal) = self.lifecycle.respond(id) {
            return give(reply, Err(refusal));
        }
        let (stop, stopped) = oneshot::channel();
        if let Some(current) = &mut self.current {
            current.stream = Some(stop);
        }
        self.pass_to_caller(Ok(Answer::Streaming(stream)));
        give(reply, Ok(stopped));
    }

    pub(super) fn end_stream(&mut self, id: &str, broken: Option<StreamBroken>, reply: Reply<()>) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.delivery.request_id == id)
        {
            match &broken {
                None => self.answered("success", None),
                Some(_) => self.answered("error", Some("Function.StreamBroken")),
            }
        }
        give(reply, Ok(()));
    }

    /// The caller may have hung up.
    fn pass_to_caller(&mut self, answer: Result<Answer, InvokeError>) {
        if let Some(reply) = self.current.as_mut().and_then(|current| current.reply.take()) {
            let _ = reply.send(answer.map_err(JobError::Failed));
        }
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

pub(super) fn milliseconds_since_1970(from_now: Duration) -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now + from_now).as_millis()
}
