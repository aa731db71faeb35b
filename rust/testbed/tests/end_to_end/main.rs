//! The product on a real tailnet: what ships, run by local-lambda, between a real caller and a real target.
//!
//! All of it happens in namespaces of its own: nothing leaves the machine, and nothing stays.
#![allow(clippy::unwrap_used)]

mod control_server;
mod demo;
mod warming;

use std::process::ExitCode;

use testbed::suite::{SuiteContext, TestResult, run_all};

fn main() -> ExitCode {
    run_all(&[control_server::trials, demo::trials, warming::trials])
}
