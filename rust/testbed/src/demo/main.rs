//! The demo: the product on a tailnet of its own, to look at.

mod session;
mod show;

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;
use testbed::{
    Error,
    namespace::{Inside, Side, enter, exit_code},
};

use crate::show::Show;

/// Sends signed requests to a Lambda function across a real tailnet, all on this machine.
#[derive(Debug, Parser)]
struct Options {
    /// End after the requests; the exit code tells whether all behaved.
    #[arg(long)]
    once: bool,
    /// Where the Function URL can be called from another terminal.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let show = Show::on_stdout();
    let result = match enter(Some(options.listen)) {
        Ok(Side::Outside(status)) => return exit_code(status).into(),
        Ok(Side::Inside(inside)) => run(&options, &inside, &show),
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        show.error(&error.to_string());
        ExitCode::FAILURE
    })
}

fn run(options: &Options, inside: &Inside, show: &Show) -> Result<ExitCode, Error> {
    testbed::network::set_up(&inside.run_dir)?;
    let binaries = testbed::binaries::Binaries::find()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(session::run(options.once, inside, binaries, show))
}
