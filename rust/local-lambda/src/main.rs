//! `local-lambda`, and the parts of it that it runs itself again for.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use local_lambda::cli::{self, Arguments};
use local_lambda::sandbox::{identity, supervisor};

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let arguments: Vec<String> = std::env::args().collect();
    let rest = arguments.get(2..).unwrap_or_default();
    match arguments.get(1).map(String::as_str) {
        Some(supervisor::SUBCOMMAND) => supervisor::main(),
        Some(identity::SUBCOMMAND) => identity::main(rest),
        _ => cli::main(&Arguments::parse()),
    }
}
