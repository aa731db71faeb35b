//! How a program lives in Lambda's environment: reads its settings once and strictly, with errors that say what to do;
//! logs as the function's logging configuration has it; calls AWS as the function's role; and, as an extension, asks Lambda
//! for the next event.

pub mod aws;
#[cfg(feature = "contract")]
pub mod contract;
pub mod extensions_api;
mod logging;
pub mod metrics;
mod program;
mod variables;

pub use logging::to_stderr as log_to_stderr;
pub use program::{environment, finish, start};
pub use variables::{SettingError, Variables};
