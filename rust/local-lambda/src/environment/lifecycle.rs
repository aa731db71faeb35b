//! Who may do what, when: the states of the runtime and of the extensions, and what follows for the environment.
//! Pure: no process, no socket. The refusals are the emulator's.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::lambda_api::Refusal;
use crate::lambda_api::calls::Subscription;

/// An extension may not do this in its state.
const INVALID_EXTENSION_STATE: &str = "Extension.InvalidExtensionState";

/// The runtime's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Runtime {
    /// Not started, or gone.
    #[default]
    Absent,
    /// Its process runs.
    Started,
    /// It asked for the next event.
    Waiting,
    /// It has an event to answer.
    Busy,
    /// It is posting an answer.
    Responding,
    /// It has answered.
    Answered,
}

/// An extension's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Started,
    Registered,
    Waiting,
    Running,
    InitError,
    Exited,
}

#[derive(Debug)]
struct Extension {
    name: String,
    identifier: Uuid,
    events: BTreeSet<Subscription>,
    stage: Stage,
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
        let wants =
            |known: &Extension| known.identifier == identifier && known.events.contains(&Subscription::Shutdown);
        self.extensions.iter().any(wants)
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

    /// One that has not answered yet gets the same event once more.
    pub(super) fn runtime_next(&mut self) -> Result<(), Refusal> {
        match self.runtime {
            Runtime::Started | Runtime::Answered | Runtime::Waiting => {
                self.runtime = Runtime::Waiting;
                Ok(())
            }
            Runtime::Busy => Ok(()),
            other => Err(Refusal::state("InvalidStateTransition", other, "ask for an event")),
        }
    }

    /// The runtime begins to answer, or answers in one piece. The id is looked at before the state.
    pub(super) fn respond(&mut self, request_id: &str) -> Result<(), Refusal> {
        if self.invocation.as_deref() != Some(request_id) {
            return Err(Refusal::invalid_request_id());
        }
        if self.runtime != Runtime::Busy {
            return Err(Refusal::state("InvalidStateTransition", self.runtime, "answer"));
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
            return Err(Refusal::state(INVALID_EXTENSION_STATE, known.stage, "register"));
        }
        known.stage = Stage::Registered;
        known.events = events;
        Ok(known.identifier)
    }

    pub(super) fn extension_next(&mut self, identifier: Uuid) -> Result<(), Refusal> {
        let known = self.registered(identifier)?;
        match known.stage {
            Stage::Registered | Stage::Running | Stage::Waiting => {
                known.stage = Stage::Waiting;
                Ok(())
            }
            other => Err(Refusal::state(INVALID_EXTENSION_STATE, other, "ask for an event")),
        }
    }

    /// Returns the extension's name.
    pub(super) fn extension_init_error(&mut self, identifier: Uuid) -> Result<String, Refusal> {
        let known = self.registered(identifier)?;
        if known.stage != Stage::Registered {
            return Err(Refusal::state(INVALID_EXTENSION_STATE, known.stage, "give up"));
        }
        known.stage = Stage::InitError;
        Ok(known.name.clone())
    }

    fn registered(&mut self, identifier: Uuid) -> Result<&mut Extension, Refusal> {
        let found = self.extensions.iter_mut().find(|known| known.identifier == identifier);
        found.filter(|known| known.stage != Stage::Started).ok_or_else(|| {
            let message = format!("Unknown extension {identifier}");
            Refusal::forbidden("Extension.UnknownExtensionIdentifier", message)
        })
    }
}
