//! The first and the last lines of a program's `main`.

use std::{fmt::Display, process::ExitCode};

use crate::SettingError;

/// Reads the settings from the process's environment by `parse`, and starts the log: in detail where `debug` says so.
/// What is wrong with the settings has been logged when this returns.
///
/// `parse` is given the environment: the value by the name.
pub fn start<C>(
    parse: impl FnOnce(fn(&str) -> Option<String>) -> Result<C, SettingError>,
    debug: impl FnOnce(&C) -> bool,
) -> Result<C, SettingError> {
    let config = parse(environment);
    crate::logging::init(config.as_ref().is_ok_and(debug), environment);
    config.inspect_err(|error| tracing::error!("{error}"))
}

/// The process's exit code; what ended it is logged.
pub fn finish(outcome: Result<(), impl Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A variable of the process's environment. A value that is not UTF-8 is no unset one: it is shown to whoever checks it with replacement characters in it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
