//! How a program reads its settings from the environment: once, strictly, and with an error that says what to do.

#[cfg(feature = "contract")]
pub mod contract;
mod program;
mod variables;

pub use program::{finish, start};
pub use variables::{SettingError, Variables};
