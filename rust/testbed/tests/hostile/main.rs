//! Whatever a caller sends is refused by the proxy or reaches the target as it is; whatever a target does ends in an
//! answer, in time, and in bounded memory; whatever fails meanwhile, each request has one answer.
#![allow(clippy::unwrap_used)]

mod actor;
mod corpus;
mod event;
mod faults;
mod plays;
mod requests;
mod targets;
mod urls;

use std::process::ExitCode;

use testbed::{
    lambda::Function,
    suite::{Outcome, Setting, awake, run, set, trial},
};

fn main() -> ExitCode {
    run(|setting| {
        let trials = [
            requests::trials(setting),
            targets::trials(setting),
            faults::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}

/// Sets the invoke mode, in the URL and in the function. A streamed answer is whole before its environment asks for the
/// next request: the next one may need another environment.
fn stream(function: &mut Function) {
    function.settings.insert("invokeMode".into(), "RESPONSE_STREAM".into());
    function.settings.insert("maxEnvironments".into(), 3.into());
    set(function, "TS_INVOKE_MODE", "RESPONSE_STREAM");
}
