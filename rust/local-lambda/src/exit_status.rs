//! How a process ended.

use std::fmt;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// An exit code or a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExitStatus {
    /// It exited by itself.
    #[serde(rename = "exitCode")]
    Code(i32),
    /// A signal ended it.
    #[serde(rename = "signal")]
    Signal(i32),
}

impl fmt::Display for ExitStatus {
    /// In the words of the service's logs (`exit status 1`, `signal: killed`), which are Go's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(9) => f.write_str("signal: killed"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "signal: {signal}"),
                Err(_) => write!(f, "signal: {number}"),
            },
        }
    }
}
