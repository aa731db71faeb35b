//! The product on a real tailnet: what ships, run by local-lambda, between a real caller and a real target.
//!
//! All of it happens in namespaces of its own: nothing leaves the machine, and nothing stays.
#![allow(clippy::unwrap_used)]

mod deaths;
mod demo;
mod journey;
mod surroundings;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::{
    Error,
    binaries::Binaries,
    namespace::{Side, enter, exit_code},
    network,
};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine within the machine: one world at a time.
    arguments.test_threads = Some(1);
    let inside = match enter(None) {
        Ok(Side::Inside(inside)) => inside,
        Ok(Side::Outside(status)) => return exit_code(status).into(),
        Err(error) => return fail(&error),
    };
    if let Err(error) = network::set_up(&inside.run_dir) {
        return fail(&error);
    }
    let setting = match Binaries::find() {
        Ok(binaries) => Arc::new(Setting {
            binaries,
            run_dir: inside.run_dir,
        }),
        Err(error) => return fail(&error),
    };
    let trials = [
        surroundings::trials(&setting),
        journey::trials(&setting),
        deaths::trials(&setting),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// What every test starts from.
struct Setting {
    binaries: Binaries,
    run_dir: PathBuf,
}

/// An error fails the test with its own words.
type Outcome = Result<(), Failed>;

/// How long a test may take: one that hangs fails instead.
const TEST_LIMIT: Duration = Duration::from_secs(90);

fn trial<F>(setting: &Arc<Setting>, name: &str, test: fn(Arc<Setting>) -> F) -> Trial
where
    F: Future<Output = Outcome> + 'static,
{
    let setting = Arc::clone(setting);
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let limited = testbed::deadline::within(TEST_LIMIT, "the test", test(setting));
            limited.await.map_err(Error::from)?
        })
    })
}

/// Starts are of no interest here.
fn quiet(_: &str, _: Duration, _: &str) {}
