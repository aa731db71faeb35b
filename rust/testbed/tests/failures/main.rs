//! Each way in which a function cannot join the tailnet gives its own message, soon: proven on the real stack.
#![allow(clippy::unwrap_used)]

mod credentials;
mod login;
mod supervision;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use libtest_mimic::{Arguments, Failed, Trial};
use testbed::{
    Error,
    binaries::Binaries,
    deadline::within,
    lambda::Function,
    namespace::{Side, enter, exit_code},
    network,
    target::PORT,
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
        login::trials(&setting),
        credentials::trials(&setting),
        supervision::trials(&setting),
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

/// An error fails the test with its own words.
type Outcome = Result<(), Failed>;

/// How long a test may take: one that hangs fails instead.
const TEST_LIMIT: Duration = Duration::from_secs(90);
/// How soon a request must be answered once the trouble is known, INIT included.
const SOON: Duration = Duration::from_secs(2);

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
            let limited = within(TEST_LIMIT, "the test", test(setting));
            limited.await.map_err(Error::from)?
        })
    })
}

/// A request for the target, and how long its answer took.
async fn get(world: &World) -> Result<(Response<Bytes>, Duration), Error> {
    let address = world.surroundings.target.node.address();
    let request = world.url().request("GET", "/get");
    let request = request.header("ts-target-ip", address.to_string());
    let request = request.header("ts-target-port", PORT).body(Bytes::new()).unwrap();
    let began = Instant::now();
    Ok((world.url().send(request).await?, began.elapsed()))
}

/// The answer is ours, says that there is no tailnet, and why; the function's log says the same.
fn says_why(world: &World, answer: &Response<Bytes>, words: &[&str]) {
    let log = world.lambda.process.log();
    let message = answer
        .headers()
        .get("ts-error-message")
        .map_or("", |value| value.to_str().unwrap());
    assert_eq!(
        answer.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "{answer:?}\n{}",
        log.tail()
    );
    assert_eq!(answer.headers()["ts-error-name"], "TailnetUnavailable");
    for words in words {
        assert!(message.contains(words), "{message}\n{}", log.tail());
        let logged = log.look(0, |line| line.contains(words).then_some(()));
        assert!(logged.is_some(), "the log does not say {words:?}:\n{}", log.tail());
    }
}

/// The first request to a function that cannot join the tailnet: answered soon, with `words` in its message.
async fn fails_soon(world: &World, words: &[&str]) -> Outcome {
    let (answer, took) = get(world).await?;
    says_why(world, &answer, words);
    assert!(
        took < SOON,
        "answered after {took:?}\n{}",
        world.lambda.process.log().tail()
    );
    Ok(())
}

/// Requests, one after the other, until the target answers one.
async fn recovers(world: &World, limit: Duration) -> Outcome {
    let recovered = async {
        loop {
            let (answer, _) = get(world).await?;
            if answer.status() == StatusCode::OK {
                return Ok::<_, Error>(());
            }
            let log = world.lambda.process.log().tail();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{answer:?}\n{log}");
            // A caller's own pause before it tries again.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let limited = within(limit, "an answer of the target's", recovered).await;
    limited.map_err(|late| format!("{late}\n{}", world.lambda.process.log().tail()))??;
    Ok(())
}
