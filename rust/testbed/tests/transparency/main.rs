//! Whatever HTTP a caller sends arrives, and whatever a target answers comes back: proven on the real stack, from a
//! signed request to a target behind a real tailnet and back.
#![allow(clippy::unwrap_used)]

mod cases;
mod differential;
mod errors;
mod exceptions;
mod exchange;
mod freeze;
mod guard;
mod identity;
mod logs;
mod streaming;
mod tls;

use std::process::ExitCode;

use testbed::{
    lambda::Function,
    suite::{Outcome, Setting, run, set, trial},
};

fn main() -> ExitCode {
    run(|setting| {
        let trials = [
            differential::trials(setting),
            streaming::trials(setting),
            freeze::trials(setting),
            guard::trials(setting),
            identity::trials(setting),
            errors::trials(setting),
            tls::trials(setting),
            logs::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}

/// Sets the invoke mode, in the URL and in the function.
fn stream(function: &mut Function) {
    function.settings.insert("invokeMode".into(), "RESPONSE_STREAM".into());
    set(function, "TS_INVOKE_MODE", "RESPONSE_STREAM");
}
