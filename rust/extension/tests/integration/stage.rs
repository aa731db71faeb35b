//! The extension's whole life among fakes, by a clock that stands still while anybody has something to do.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use extension::{
    auth::key_source::KeySource,
    clock::Clock,
    config::Config,
    lifecycle::{Fatal, Options, live},
    preflight::Preflight,
    supervisor::{
        process::Supervisor,
        state::{Tailnet, TailnetState},
    },
};
use lambda_env::extensions_api::{Event, ShutdownReason};
use tailnet::connect::{Route, RouteError, Router};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    fake_keys::FakeKeys,
    fake_lambda::FakeLambda,
    fake_tailscaled::{Counts, FakeTailscaled, Pings, Plan},
    test_clock::TestClock,
};

/// Far more than anything here takes by the clock of the test.
pub(crate) const LIMIT: Duration = Duration::from_secs(3600);
/// How long the login may hold up INIT.
pub(crate) const INIT_LIMIT: Duration = ms(8500);
/// No function's time is up before then.
pub(crate) const LATE: u64 = u64::MAX;
/// What SHUTDOWN leaves.
pub(crate) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The extension, and the fakes around it.
pub(crate) struct Stage {
    pub(crate) tailscaled: FakeTailscaled,
    pub(crate) tailnet: Tailnet,
    /// What the status socket asks.
    pub(crate) preflight: Preflight,
    pub(crate) began: Instant,
    clock: Arc<TestClock>,
    events: mpsc::UnboundedSender<Event>,
    requests: AsyncMutex<mpsc::UnboundedReceiver<Instant>>,
    errors: Arc<Mutex<Vec<String>>>,
    terminate: oneshot::Sender<()>,
    end: JoinHandle<Result<(), Fatal>>,
    socket: PathBuf,
}

/// How an environment is ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// By Lambda's event, heard when the extension asks for the next one.
    Shutdown,
    /// By the signal.
    Sigterm,
}

impl Stage {
    /// Starts the extension with a good key.
    pub(crate) fn new(plan: Plan) -> Self {
        Self::with_keys(plan, FakeKeys::Good)
    }

    /// Starts the extension with these keys.
    pub(crate) fn with_keys(plan: Plan, keys: impl KeySource) -> Self {
        Self::with_config(&config(), plan, keys)
    }

    /// Starts the extension with these settings.
    pub(crate) fn with_config(config: &Config, plan: Plan, keys: impl KeySource) -> Self {
        let clock = Arc::new(TestClock::new());
        let shared: Clock = clock.clone();
        let tailscaled = FakeTailscaled::new(plan);
        let supervisor = Supervisor::start(config, Arc::clone(&shared), tailscaled.clone(), keys);
        let tailnet = supervisor.tailnet().clone();
        let preflight = Preflight::new(&supervisor, config.uncovered, config.exit_node.as_ref());
        let (events, received) = mpsc::unbounded_channel();
        let (asking, requests) = mpsc::unbounded_channel();
        let errors = Arc::default();
        let lambda = FakeLambda {
            events: received,
            requests: asking,
            errors: Arc::clone(&errors),
        };
        let (terminate, terminated) = oneshot::channel();
        let socket = unique_path("stage");
        let mut options = Options::new(config, &socket);
        options.doors.server = None;
        let end = tokio::spawn(async move { live(lambda, supervisor, &options, shared, terminated).await });
        Self {
            tailscaled,
            tailnet,
            preflight,
            began: Instant::now(),
            clock,
            events,
            requests: AsyncMutex::new(requests),
            errors,
            terminate,
            end,
            socket,
        }
    }

    /// Starts the extension, and waits until it is in the tailnet and nothing of the login is left to do.
    pub(crate) async fn joined(plan: Plan) -> Self {
        let mut peers = plan.peers.iter();
        let answers = peers.find(|peer| peer.tsmp == Pings::Answered).map(|peer| peer.address);
        let stage = Self::new(plan);
        stage.ready().await;
        sleep(secs(20)).await;
        assert!(matches!(stage.tailnet.state(), TailnetState::Running { .. }));
        if let Some(address) = answers {
            stage.verify(address).await.unwrap();
        }
        stage
    }

    /// The status socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until the extension asks for an event. Returns how long after the beginning that was.
    pub(crate) async fn ready(&self) -> Duration {
        timeout(LIMIT, self.requests.lock().await.recv())
            .await
            .unwrap()
            .unwrap()
            - self.began
    }

    /// An invocation begins; its function's time is up at `deadline_ms` after 1970.
    pub(crate) fn invoke(&self, deadline_ms: u64) {
        self.events.send(Event::Invoke { deadline_ms }).unwrap();
    }

    /// The environment is frozen for so long.
    pub(crate) fn freeze(&self, time: Duration) {
        self.clock.freeze(time);
    }

    /// The state of the tailnet once no login is under way.
    pub(crate) async fn settled(&self) -> TailnetState {
        self.tailnet.wait_until_settled(Instant::now() + LIMIT).await
    }

    /// Waits until the tailnet can be used, as long as a request does. Returns the code if it cannot.
    pub(crate) async fn available(&self, wait: Duration) -> Result<(), &'static str> {
        let running = self.tailnet.wait_until_running(Instant::now() + wait).await;
        running.map(drop).map_err(|unavailable| unavailable.code)
    }

    /// Verifies the path to `address`, as the proxy does while it dials.
    pub(crate) async fn verify(&self, address: IpAddr) -> Result<u64, RouteError> {
        self.preflight.verify(address, Instant::now() + secs(30)).await
    }

    /// Asks for a route to `host`.
    pub(crate) async fn route(&self, host: &str) -> Result<Route, RouteError> {
        self.preflight.route(host, Instant::now() + secs(30)).await
    }

    /// Begins to verify the path to `address`, and does not wait.
    pub(crate) fn verifying(&self, address: IpAddr) -> JoinHandle<Result<u64, RouteError>> {
        let preflight = self.preflight.clone();
        tokio::spawn(async move { preflight.verify(address, Instant::now() + secs(30)).await })
    }

    /// Does `work`, waits until all that follows from it is done, and returns what tailscaled was asked to do meanwhile. It
    /// does not take long enough for a gap.
    pub(crate) async fn steps_of(&self, work: impl Future) -> Counts {
        let before = self.tailscaled.counts();
        work.await;
        sleep(ms(1900)).await;
        self.tailscaled.counts() - before
    }

    /// Waits until the extension has ended by itself. Returns what it told Lambda before.
    pub(crate) async fn ended(self) -> (Result<(), Fatal>, Vec<String>) {
        let end = timeout(LIMIT, self.end).await.unwrap().unwrap();
        std::fs::remove_file(self.socket).unwrap();
        let errors = self.errors.lock().unwrap().clone();
        (end, errors)
    }

    /// Ends the environment: in time, without an error, and with no tailscaled left. Returns how often it asked tailscaled
    /// to log out.
    pub(crate) async fn end(self, ending: Ending) -> usize {
        self.end_within(ending, SHUTDOWN_LIMIT).await
    }

    /// The same with another limit.
    pub(crate) async fn end_within(self, ending: Ending, limit: Duration) -> usize {
        let tailscaled = self.tailscaled.clone();
        let ended = Instant::now();
        match ending {
            Ending::Shutdown => {
                let shutdown_reason = ShutdownReason::Spindown;
                self.events.send(Event::Shutdown { shutdown_reason }).unwrap();
            }
            Ending::Sigterm => self.terminate.send(()).unwrap(),
        }
        let end = timeout(LIMIT, self.end).await.unwrap().unwrap();
        std::fs::remove_file(self.socket).unwrap();
        assert!(end.is_ok(), "{end:?}");
        assert!(ended.elapsed() < limit, "it took {:?}", ended.elapsed());
        assert!(!tailscaled.is_running(), "tailscaled is left behind");
        assert_eq!(tailscaled.violations(), [] as [&str; 0]);
        tailscaled.count("logout")
    }
}

/// The code of the error that a request is answered with.
pub(crate) fn code<T>(result: Result<T, RouteError>) -> String {
    match result {
        Err(RouteError::Unavailable { code, .. }) => code,
        Err(error) => error.to_string(),
        Ok(_) => "none".to_owned(),
    }
}

/// A path for a socket that no other test uses.
pub(crate) fn unique_path(purpose: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("{purpose}-{}-{number}", std::process::id()))
}

/// Settings with no more than what is required.
pub(crate) fn config() -> Config {
    config_with(&[])
}

/// The same with more variables.
pub(crate) fn config_with(more: &[(&str, &str)]) -> Config {
    let required = [
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9"),
        ("TS_SECRET_API_KEY", "secret"),
        ("TS_HOSTNAME", "proxy"),
    ];
    let value = |name: &str| {
        let mut all = more.iter().chain(&required);
        all.find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Config::parse(value).unwrap()
}
