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
mod streaming;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::{
    Error,
    binaries::Binaries,
    lambda::Function,
    namespace::{Side, enter, exit_code},
    network,
    world::{Surroundings, World},
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
        differential::trials(&setting),
        streaming::trials(&setting),
        freeze::trials(&setting),
        guard::trials(&setting),
        errors::trials(&setting),
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

impl Setting {
    /// A tailnet with a target, and AWS.
    async fn surroundings(&self) -> Result<Surroundings, Error> {
        Surroundings::start(self.binaries.clone(), &self.run_dir, &|_, _, _| ()).await
    }

    /// Everything, with a function that `adjust` may change.
    async fn world(&self, adjust: impl FnOnce(&mut Function)) -> Result<World, Error> {
        World::around(self.surroundings().await?, &|_, _, _| (), adjust).await
    }
}

/// Sets one of the function's environment variables.
fn set(function: &mut Function, name: &str, value: &str) {
    function.environment.insert(name.to_owned(), value.to_owned());
}

/// Sets the invoke mode, in the URL and in the function.
fn stream(function: &mut Function) {
    function.settings.insert("invokeMode".into(), "RESPONSE_STREAM".into());
    set(function, "TS_INVOKE_MODE", "RESPONSE_STREAM");
}

/// An error fails the test with its own words.
type Outcome = Result<(), Failed>;

/// How long a test may take: one that hangs fails instead.
const TEST_LIMIT: Duration = Duration::from_secs(120);

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
