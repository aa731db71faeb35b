//! What can be counted, and what tells one count of it from another.

use std::sync::Arc;

/// Names and values, as far as CloudWatch can take them.
pub type Dimensions = Arc<[(String, String)]>;

/// What can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// The target answered.
    Success,
    /// No answer came from the target.
    Failure,
    /// From the request to the head of the target's answer, in ms.
    FirstByte,
    /// How many times the request was sent again.
    Retries,
    /// It went by a new connection.
    NewConnection,
    /// It went by a kept one.
    KeptConnection,
    /// From the start of the environment's login to its end, in ms.
    TailnetReady,
    /// A request came.
    Requests,
    /// A request ended with an error of the proxy's.
    Errors,
}

/// What a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A time in ms.
    Milliseconds,
}

impl Metric {
    /// The metric's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::FirstByte => "first-byte",
            Self::Retries => "retries",
            Self::NewConnection => "new-connection",
            Self::KeptConnection => "kept-connection",
            Self::TailnetReady => "tailnet-ready",
            Self::Requests => "requests",
            Self::Errors => "errors",
        }
    }

    /// The metric's unit.
    pub fn unit(self) -> Unit {
        match self {
            Self::FirstByte | Self::TailnetReady => Unit::Milliseconds,
            _ => Unit::Count,
        }
    }
}
