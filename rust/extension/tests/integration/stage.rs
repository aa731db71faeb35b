//! The extension's whole life among fakes, by a clock that stands still while anybody has something to do.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use extension::{
    config::Config,
    credentials::Keys,
    extensions_api::{ApiError, Event, Host, ShutdownReason},
    lifecycle::{Fatal, Terms, live},
    netmap::Uncovered,
    phase::Phase,
    secret::Secret,
    tailnet::{Handle, Tailnet},
    trouble::Trouble,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::fake_daemon::{FakeDaemon, KEY, Plan};

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

/// What Secrets Manager brings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FakeKeys {
    /// A key.
    Good,
    /// Nothing, ever.
    Awaited,
    /// A refusal.
    Missing,
}

impl Keys for FakeKeys {
    async fn login_key(&self) -> Result<Secret, Trouble> {
        match self {
            Self::Good => Ok(Secret::new(KEY)),
            Self::Awaited => std::future::pending().await,
            Self::Missing => Err(Trouble::NoKey {
                words: "the secret brings no auth key".into(),
                for_good: false,
            }),
        }
    }

    async fn renewed(&self) -> Result<bool, Trouble> {
        Ok(false)
    }
}

struct FakeHost {
    events: mpsc::UnboundedReceiver<Event>,
    asked: mpsc::UnboundedSender<Instant>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Host for FakeHost {
    async fn next(&mut self) -> Result<Event, ApiError> {
        // A test that has seen enough does not listen any more.
        let _ = self.asked.send(Instant::now());
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => std::future::pending().await,
        }
    }

    async fn init_error(&mut self, error_type: &str, message: &str) -> Result<(), ApiError> {
        self.errors.lock().unwrap().push(format!("{error_type}: {message}"));
        Ok(())
    }
}

/// The extension, and those around it.
pub(crate) struct Stage {
    pub(crate) daemon: FakeDaemon,
    pub(crate) tailnet: Handle,
    pub(crate) began: Instant,
    events: mpsc::UnboundedSender<Event>,
    asked: mpsc::UnboundedReceiver<Instant>,
    errors: Arc<Mutex<Vec<String>>>,
    terminate: oneshot::Sender<()>,
    end: JoinHandle<Result<(), Fatal>>,
    endpoint: PathBuf,
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
    /// Starts the extension. `name` is the test's own.
    pub(crate) fn new(name: &str, plan: Plan, keys: impl Keys, require_tailnet: bool) -> Self {
        let mut config = config();
        config.require_tailnet = require_tailnet;
        Self::with(name, &config, plan, keys)
    }

    /// Starts the extension with these settings.
    pub(crate) fn with(name: &str, config: &Config, plan: Plan, keys: impl Keys) -> Self {
        let began = Instant::now();
        let daemon = FakeDaemon::new(plan);
        let tailnet = Tailnet::start(config, daemon.clone(), keys);
        let handle = tailnet.handle();
        let (events, received) = mpsc::unbounded_channel();
        let (asking, asked) = mpsc::unbounded_channel();
        let errors = Arc::default();
        let host = FakeHost {
            events: received,
            asked: asking,
            errors: Arc::clone(&errors),
        };
        let (terminate, terminated) = oneshot::channel();
        let endpoint = std::env::temp_dir().join(format!("stage-{name}-{}", std::process::id()));
        let terms = Terms {
            endpoint: endpoint.clone(),
            uncovered: Uncovered::Refuse,
            front: None,
            require_tailnet: config.require_tailnet,
        };
        let end = tokio::spawn(async move { live(host, tailnet, &terms, terminated).await });
        Self {
            daemon,
            tailnet: handle,
            began,
            events,
            asked,
            errors,
            terminate,
            end,
            endpoint,
        }
    }

    /// Where the proxy asks.
    pub(crate) fn endpoint(&self) -> &Path {
        &self.endpoint
    }

    /// Waits until the extension asks for an event, and says how long after the beginning that was.
    pub(crate) async fn asks(&mut self) -> Duration {
        timeout(LIMIT, self.asked.recv()).await.unwrap().unwrap() - self.began
    }

    /// An invocation begins; its function's time is up at `deadline_ms` after 1970.
    pub(crate) fn invoke(&self, deadline_ms: u64) {
        self.events.send(Event::Invoke { deadline_ms }).unwrap();
    }

    /// Where the tailnet stands once it does not move any more.
    pub(crate) async fn settled(&mut self) -> Phase {
        self.tailnet.settled(LIMIT).await
    }

    /// Waits until the extension has ended by itself, and says what it told Lambda before.
    pub(crate) async fn ended(self) -> (Result<(), Fatal>, Vec<String>) {
        let end = timeout(LIMIT, self.end).await.unwrap().unwrap();
        std::fs::remove_file(self.endpoint).unwrap();
        let errors = self.errors.lock().unwrap().clone();
        (end, errors)
    }

    /// Ends the environment: in time, without an error, and with no daemon left. Returns how often it logged out.
    pub(crate) async fn end(self, ending: Ending) -> usize {
        let daemon = self.daemon.clone();
        let ended = Instant::now();
        match ending {
            Ending::Shutdown => self
                .events
                .send(Event::Shutdown {
                    shutdown_reason: ShutdownReason::Spindown,
                })
                .unwrap(),
            Ending::Sigterm => self.terminate.send(()).unwrap(),
        }
        let end = timeout(LIMIT, self.end).await.unwrap().unwrap();
        std::fs::remove_file(self.endpoint).unwrap();
        assert!(end.is_ok(), "{end:?}");
        assert!(ended.elapsed() < SHUTDOWN_LIMIT, "it took {:?}", ended.elapsed());
        assert!(!daemon.is_running(), "the daemon is left behind");
        daemon.count("logout")
    }
}

/// Settings that name nothing but what must be named.
pub(crate) fn config() -> Config {
    let value = |name: &str| match name {
        "AWS_LAMBDA_RUNTIME_API" => Some("127.0.0.1:9"),
        "TS_SECRET_API_KEY" => Some("secret"),
        "TS_HOSTNAME" => Some("proxy"),
        _ => None,
    };
    Config::parse(|name| value(name).map(str::to_owned)).unwrap()
}
