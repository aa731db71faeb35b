//! Callers that sign nothing: unmodified HTTP clients, told of the caller's layer by `HTTP_PROXY` alone.
#![allow(clippy::unwrap_used)]

mod clients;
mod function;
mod invoke;
mod layer;
mod program;

use std::process::ExitCode;

use testbed::suite::{SuiteContext, TestResult, run_all};

fn main() -> ExitCode {
    run_all(&[
        clients::trials,
        layer::trials,
        function::trials,
        invoke::trials,
        program::trials,
    ])
}
