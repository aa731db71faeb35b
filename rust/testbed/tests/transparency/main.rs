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

use testbed::suite::{SuiteContext, TestResult, run_all, set, stream};

fn main() -> ExitCode {
    run_all(&[
        differential::trials,
        streaming::trials,
        freeze::trials,
        guard::trials,
        identity::trials,
        errors::trials,
        tls::trials,
        logs::trials,
    ])
}
