//! Who may do what, when: the states of the runtime and of the extensions, and what follows for the environment.
//! Pure: no process, no socket. The names and the refusals are the emulator's.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::states::{Runtime, Stage};
use crate::lambda_api::Refusal;
use crate::lambda_api::calls::Subscription;

#[derive(Debug)]
struct Extension {
    name: String,
    identifier: Uuid,
    events: BTreeSet<Subscription>,
    stage: Stage,
}

/// What the runtime gets for asking for the next event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits.
    Wait,
    /// The event that it has not answered yet, once more.
    Again,
}

/// The parties of one environment.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    pub(super) runtime: Runtime,
    extensions: Vec<Extension>,
    invocation: Option<String>,
}

impl Lifecycle {
    /// An extension's process is about to start: nobody else may register under its name.
    pub(super) fn expect_extension(&mut self, name: &str) {
        let identifier = Uuid::new_v4();
        let events = BTreeSet::new();
        let stage = Stage::Started;
        self.extensions.push(Extension {
            name: name.into(),
            identifier,
            events,
            stage,
        });
    }

    pub(super) fn runtime_started(&mut self) {
        self.runtime = Runtime::Started;
    }

    /// Whether one has registered.
    pub(super) fn has_extensions(&self) -> bool {
        self.extensions.iter().any(|known| known.stage != Stage::Started)
    }

    /// True once all extensions have registered: then the runtime may start.
    pub(super) fn all_registered(&self) -> bool {
        self.extensions.iter().all(|known| known.stage != Stage::Started)
    }

    pub(super) fn runtime_waits(&self) -> bool {
        self.runtime == Runtime::Waiting
    }

    /// True when every extension has asked for its next event.
    pub(super) fn all_extensions_wait(&self) -> bool {
        self.extensions.iter().all(|known| known.stage == Stage::Waiting)
    }

    /// True when nothing of the current invocation goes on any more.
    pub(super) fn all_wait(&self) -> bool {
        self.runtime_waits() && self.all_extensions_wait()
    }

    pub(super) fn has_answered(&self) -> bool {
        matches!(self.runtime, Runtime::Answered | Runtime::Waiting)
    }

    /// An invocation begins. Returns the extensions that get the event.
    pub(super) fn begin(&mut self, request_id: &str) -> Vec<Uuid> {
        self.invocation = Some(request_id.to_owned());
        self.runtime = Runtime::Busy;
        self.release(Subscription::Invoke)
    }

    /// It ended; its id is no longer valid.
    pub(super) fn finish(&mut self) {
        self.invocation = None;
    }

    /// The extensions that wait and are registered for an event; they run from here on.
    pub(super) fn release(&mut self, event: Subscription) -> Vec<Uuid> {
        let concerned = |known: &&mut Extension| known.stage == Stage::Waiting && known.events.contains(&event);
        let released = self.extensions.iter_mut().filter(concerned).map(|known| {
            known.stage = Stage::Running;
            known.identifier
        });
        released.collect()
    }

    /// The names of the extensions that run, and whether each wants to be told of the shutdown.
    pub(super) fn running_extensions(&self) -> Vec<(String, bool)> {
        let running = self.extensions.iter().filter(|known| known.stage != Stage::Exited);
        running
            .map(|known| (known.name.clone(), known.events.contains(&Subscription::Shutdown)))
            .collect()
    }

    /// Whether an identifier belongs to an extension that is registered for SHUTDOWN.
    pub(super) fn wants_shutdown(&self, identifier: Uuid) -> bool {
        self.find(identifier)
            .is_some_and(|known| known.events.contains(&Subscription::Shutdown))
    }

    pub(super) fn runtime_exited(&mut self) {
        self.runtime = Runtime::Absent;
    }

    pub(super) fn extension_exited(&mut self, name: &str) {
        if let Some(gone) = self.extensions.iter_mut().find(|known| known.name == name) {
            gone.stage = Stage::Exited;
        }
    }

    // What processes ask for.

    pub(super) fn runtime_next(&mut self) -> Result<Next, Refusal> {
        match self.runtime {
            Runtime::Started | Runtime::Answered | Runtime::Waiting => {
                self.runtime = Runtime::Waiting;
                Ok(Next::Wait)
            }
            Runtime::Busy => Ok(Next::Again),
            other => Err(Refusal::runtime_state(other.name(), "Ready")),
        }
    }

    pub(super) fn runtime_init_error(&mut self) -> Result<(), Refusal> {
        if self.runtime != Runtime::Started {
            return Err(Refusal::runtime_state(self.runtime.name(), "InitError"));
        }
        self.runtime = Runtime::InitError;
        Ok(())
    }

    /// The runtime begins to answer, or answers in one piece. The id is looked at before the state.
    pub(super) fn respond(&mut self, request_id: &str) -> Result<(), Refusal> {
        if self.invocation.as_deref() != Some(request_id) {
            return Err(Refusal::invalid_request_id());
        }
        if self.runtime != Runtime::Busy {
            return Err(Refusal::runtime_state(self.runtime.name(), "InvocationResponse"));
        }
        self.runtime = Runtime::Responding;
        Ok(())
    }

    /// The answer is complete.
    pub(super) fn responded(&mut self) {
        if self.runtime == Runtime::Responding {
            self.runtime = Runtime::Answered;
        }
    }

    /// A name that is not a file of `/opt/extensions` would be an internal extension, a part of the runtime's process:
    /// the service takes it before the runtime's first event, and here none is taken.
    pub(super) fn register(&mut self, name: &str, events: BTreeSet<Subscription>) -> Result<Uuid, Refusal> {
        let Some(known) = self.extensions.iter_mut().find(|known| known.name == name) else {
            let message = "Extension registration closed already";
            return Err(Refusal::forbidden("Extension.RegistrationClosed", message));
        };
        if known.stage != Stage::Started {
            return Err(Refusal::extension_state(known.stage.name(), "Registered", name));
        }
        known.stage = Stage::Registered;
        known.events = events;
        Ok(known.identifier)
    }

    pub(super) fn extension_next(&mut self, identifier: Uuid) -> Result<(), Refusal> {
        let known = self.find_mut(identifier)?;
        match known.stage {
            Stage::Registered | Stage::Running | Stage::Waiting => {
                known.stage = Stage::Waiting;
                Ok(())
            }
            other => Err(Refusal::extension_state(other.name(), "Ready", &identifier.to_string())),
        }
    }

    /// Returns the extension's name.
    pub(super) fn extension_init_error(&mut self, identifier: Uuid) -> Result<String, Refusal> {
        let known = self.find_mut(identifier)?;
        if known.stage != Stage::Registered {
            let (from, to) = (known.stage.name(), Stage::InitError.name());
            return Err(Refusal::extension_state(from, to, &identifier.to_string()));
        }
        known.stage = Stage::InitError;
        Ok(known.name.clone())
    }

    fn find(&self, identifier: Uuid) -> Option<&Extension> {
        self.extensions
            .iter()
            .find(|known| known.identifier == identifier && known.stage != Stage::Started)
    }

    fn find_mut(&mut self, identifier: Uuid) -> Result<&mut Extension, Refusal> {
        let found = self.extensions.iter_mut().find(|known| known.identifier == identifier);
        found.filter(|known| known.stage != Stage::Started).ok_or_else(|| {
            let message = format!("Unknown extension {identifier}");
            Refusal::forbidden("Extension.UnknownExtensionIdentifier", message)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn both() -> BTreeSet<Subscription> {
        [Subscription::Invoke, Subscription::Shutdown].into()
    }

    fn ready() -> (Lifecycle, Uuid) {
        let mut lifecycle = Lifecycle::default();
        lifecycle.expect_extension("one");
        let identifier = lifecycle.register("one", both()).unwrap();
        lifecycle.runtime_started();
        lifecycle.runtime_next().unwrap();
        lifecycle.extension_next(identifier).unwrap();
        (lifecycle, identifier)
    }

    #[test]
    fn the_runtime_may_start_only_after_every_extension_has_registered() {
        let mut lifecycle = Lifecycle::default();
        lifecycle.expect_extension("one");
        lifecycle.expect_extension("two");
        lifecycle.register("one", both()).unwrap();
        assert!(!lifecycle.all_registered());
        lifecycle.register("two", BTreeSet::new()).unwrap();
        assert!(lifecycle.all_registered());
    }

    #[test]
    fn init_is_done_when_runtime_and_extensions_have_asked_for_their_next_event() {
        let (lifecycle, _) = ready();
        assert!(lifecycle.all_wait());
    }

    #[test]
    fn an_invocation_is_over_when_the_last_one_has_asked_again() {
        let (mut lifecycle, identifier) = ready();
        assert_eq!(lifecycle.begin("id"), [identifier]);
        lifecycle.respond("id").unwrap();
        lifecycle.responded();
        assert!(lifecycle.has_answered() && !lifecycle.all_wait());
        lifecycle.runtime_next().unwrap();
        assert!(!lifecycle.all_wait(), "the extension still works");
        lifecycle.extension_next(identifier).unwrap();
        assert!(lifecycle.all_wait());
    }

    #[test]
    fn an_answer_needs_the_right_id_and_may_come_once() {
        let (mut lifecycle, _) = ready();
        assert_eq!(lifecycle.respond("id").unwrap_err(), Refusal::invalid_request_id());
        lifecycle.begin("id");
        assert_eq!(lifecycle.respond("other").unwrap_err(), Refusal::invalid_request_id());
        lifecycle.respond("id").unwrap();
        lifecycle.responded();
        let refusal = lifecycle.respond("id").unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), refusal.error_type),
            (403, "InvalidStateTransition")
        );
        assert!(
            refusal
                .error_message
                .starts_with("State transition from ResponseSent to InvocationResponse failed")
        );
    }

    #[test]
    fn a_runtime_that_asks_again_before_it_answered_gets_the_same_event() {
        let (mut lifecycle, _) = ready();
        lifecycle.begin("id");
        assert_eq!(lifecycle.runtime_next(), Ok(Next::Again));
    }

    #[test]
    fn extensions_that_are_not_registered_for_invoke_are_left_alone() {
        let mut lifecycle = Lifecycle::default();
        lifecycle.expect_extension("quiet");
        let identifier = lifecycle.register("quiet", [Subscription::Shutdown].into()).unwrap();
        lifecycle.runtime_started();
        lifecycle.runtime_next().unwrap();
        lifecycle.extension_next(identifier).unwrap();
        assert!(lifecycle.begin("id").is_empty());
        assert!(lifecycle.all_extensions_wait());
        assert_eq!(lifecycle.release(Subscription::Shutdown), [identifier]);
    }

    #[test]
    fn registering_twice_or_late_is_refused() {
        let (mut lifecycle, _) = ready();
        assert_eq!(
            lifecycle.register("one", both()).unwrap_err().error_type,
            "Extension.InvalidExtensionState"
        );
        assert_eq!(
            lifecycle.register("new", BTreeSet::new()).unwrap_err().error_type,
            "Extension.RegistrationClosed"
        );
    }

    #[test]
    fn an_unknown_identifier_is_refused() {
        let (mut lifecycle, _) = ready();
        let refusal = lifecycle.extension_next(Uuid::new_v4()).unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), refusal.error_type),
            (403, "Extension.UnknownExtensionIdentifier")
        );
    }

    #[test]
    fn after_an_error_no_further_call_succeeds() {
        let mut lifecycle = Lifecycle::default();
        lifecycle.expect_extension("one");
        let identifier = lifecycle.register("one", both()).unwrap();
        assert_eq!(lifecycle.extension_init_error(identifier).unwrap(), "one");
        assert_eq!(
            lifecycle.extension_next(identifier).unwrap_err().error_type,
            "Extension.InvalidExtensionState"
        );
        lifecycle.runtime_started();
        lifecycle.runtime_init_error().unwrap();
        assert!(lifecycle.runtime_next().is_err());
    }
}
