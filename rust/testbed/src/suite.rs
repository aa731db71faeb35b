//! What the suites on the real stack have in common: a main that enters its namespaces before any thread runs, and
//! tests that end in time.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{
    Error,
    binaries::Binaries,
    deadline::within,
    distance::Distance,
    lambda::Function,
    namespace::{Side, enter, exit_code},
    network,
    stack::{Backends, TestStack},
};

/// How long a test may take where it does not say otherwise: one that hangs fails instead.
pub const TEST_LIMIT: Duration = Duration::from_secs(120);

/// An error fails the test with its own words.
pub type TestResult = Result<(), Failed>;

/// What every test starts from.
#[derive(Debug)]
pub struct SuiteContext {
    /// What everything is started from.
    pub binaries: Binaries,
    /// Where all files go.
    pub run_dir: PathBuf,
}

impl SuiteContext {
    /// A tailnet with a target, and AWS.
    pub async fn backends(&self) -> Result<Backends, Error> {
        self.backends_at(None).await
    }

    /// The same, at a distance from the function.
    pub async fn backends_at(&self, distance: Option<Distance>) -> Result<Backends, Error> {
        Backends::start(distance, self.binaries.clone(), &self.run_dir).await
    }

    /// Everything, with a function that `adjust` may change.
    pub async fn stack(&self, adjust: impl FnOnce(&mut Function)) -> Result<TestStack, Error> {
        self.backends().await?.deploy(adjust).await
    }

    /// The same, with a function at a distance.
    pub async fn stack_at(
        &self,
        distance: Option<Distance>,
        adjust: impl FnOnce(&mut Function),
    ) -> Result<TestStack, Error> {
        self.backends_at(distance).await?.deploy(adjust).await
    }

    /// The same, with another text than a key that serves in the function's secret.
    pub async fn stack_with_secret(&self, text: &str, adjust: impl FnOnce(&mut Function)) -> Result<TestStack, Error> {
        let backends = self.backends().await?;
        backends.put_secret(text).await?;
        backends.deploy(adjust).await
    }
}

/// Sets one of the function's environment variables.
pub fn set(function: &mut Function, name: &str, value: &str) {
    function.environment.insert(name.to_owned(), value.to_owned());
}

/// Has the function's environments not frozen between requests.
pub fn without_freeze(function: &mut Function) {
    function.settings.insert("freeze".into(), false.into());
}

/// Sets the invoke mode RESPONSE_STREAM, in the URL and in the function.
pub fn stream(function: &mut Function) {
    function.settings.insert("invokeMode".into(), "RESPONSE_STREAM".into());
    set(function, "TS_INVOKE_MODE", "RESPONSE_STREAM");
}

/// Runs a suite, which must be all that its `main` does: namespaces are entered before any thread runs.
pub fn run(trials: impl FnOnce(&Arc<SuiteContext>) -> Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each stack has the whole namespace: one at a time.
    arguments.test_threads = Some(1);
    let context = match enter(None) {
        Ok(Side::Outside(status)) => return exit_code(status).into(),
        Ok(Side::Inside(inside)) => inside_setting(inside.run_dir),
        Err(error) => Err(error),
    };
    match context {
        Ok(context) => libtest_mimic::run(&arguments, trials(&Arc::new(context))).exit_code(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn inside_setting(run_dir: PathBuf) -> Result<SuiteContext, Error> {
    network::set_up(&run_dir)?;
    let binaries = Binaries::find()?;
    Ok(SuiteContext { binaries, run_dir })
}

/// The trials of one part of a suite.
pub type Part = fn(&Arc<SuiteContext>) -> Vec<Trial>;

/// The same of a suite that is made of several parts.
pub fn run_all(parts: &[Part]) -> ExitCode {
    run(|context| parts.iter().flat_map(|part| part(context)).collect())
}

/// The trials of a suite, or of a part of it: the name of each, and its test. `within` sets another limit than [`TEST_LIMIT`].
#[macro_export]
macro_rules! trials {
    ($context:expr; $($name:literal $(within $limit:expr)? => $test:expr),+ $(,)?) => {
        vec![$($crate::suite::trial_within($crate::trials!(@limit $($limit)?), $context, $name, $test)),+]
    };
    (@limit) => { $crate::suite::TEST_LIMIT };
    (@limit $limit:expr) => { $limit };
}

/// A test that takes no longer than `limit`.
pub fn trial_within<F>(
    limit: Duration,
    context: &Arc<SuiteContext>,
    name: &str,
    test: impl FnOnce(Arc<SuiteContext>) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = TestResult> + 'static,
{
    let context = Arc::clone(context);
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async { within(limit, "the test", test(context)).await.map_err(Error::from)? })
    })
}
