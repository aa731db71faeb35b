//! The states of an environment's parties, by the emulator's names.

/// The runtime's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Runtime {
    /// Not started, or gone.
    #[default]
    Absent,
    /// Its process runs.
    Started,
    /// It reported that it cannot start.
    InitError,
    /// It asked for the next event.
    Waiting,
    /// It has an event to answer.
    Busy,
    /// It is posting a streamed answer.
    Responding,
    /// It has answered.
    Answered,
}

impl Runtime {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Absent => "Absent",
            Self::Started => "Started",
            Self::InitError => "InitError",
            Self::Waiting | Self::Busy => "Ready",
            Self::Responding => "InvocationResponse",
            Self::Answered => "ResponseSent",
        }
    }
}

/// An extension's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Started,
    Registered,
    Waiting,
    Running,
    InitError,
    Exited,
}

impl Stage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Registered => "Registered",
            Self::Waiting => "Ready",
            Self::Running => "Running",
            Self::InitError => "InitError",
            Self::Exited => "Exited",
        }
    }
}
