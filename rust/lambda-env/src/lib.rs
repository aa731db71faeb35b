//! How a program lives in Lambda's environment: reads its settings once and strictly, with errors that say what to do;
//! logs as the function's logging configuration has it; and calls AWS as the function's role.

pub mod aws;
#[cfg(feature = "contract")]
pub mod contract;
mod logging;
mod program;
mod variables;

pub use program::{finish, start};
pub use variables::{SettingError, Variables};
