//! A daemon in memory: its LocalAPI, its logins and its end go as a test plans them.
//!
//! No kernel has a part in it, so a test's clock that stands still goes on only when nobody has anything left to do.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use extension::{
    local_api::LocalApi,
    socket::{Connection, Way},
    tailscaled::{Program, Running},
};
use futures_util::{StreamExt, future::BoxFuture, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::duplex,
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

/// The auth key with which it logs in.
pub(crate) const KEY: &str = "tskey-auth-a";
/// What the daemon says when it is in the tailnet.
pub(crate) const RUNNING: &str = r#"{"State":6}"#;

/// What it knows while the control server answers its polls.
const STATUS: &str = r#"{"TailscaleIPs":["100.64.0.1"],"Self":{"Online":true},"Peer":{"nodekey:a":{"ID":"n","Online":true,
    "TailscaleIPs":["100.64.0.2"],"AllowedIPs":["100.64.0.2/32","0.0.0.0/0","::/0"]}}}"#;
/// What it knows while the control server does not.
const OUT_OF_TOUCH: &str = r#"{"TailscaleIPs":["100.64.0.1"],"Self":{"Online":false},"Peer":{"nodekey:a":{"ID":"n","Online":true,
    "TailscaleIPs":["100.64.0.2"],"AllowedIPs":["100.64.0.2/32","0.0.0.0/0","::/0"]}}}"#;

/// How the daemon behaves; a change counts from the next question on.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How long after the start its LocalAPI takes connections. `None`: never.
    pub(crate) opens_after: Option<Duration>,
    /// When it ends by itself.
    pub(crate) lives_for: Option<Duration>,
    /// What it says to a login. `None`: nothing.
    pub(crate) login: Option<&'static str>,
    /// What it never answers, by a part of the path.
    pub(crate) mute: Vec<&'static str>,
    /// Whether the control server answers its polls.
    pub(crate) in_touch: bool,
    /// How often WireGuard's sessions must be dropped until they are of use.
    pub(crate) stale: usize,
    /// How many pings fail before the first that does not.
    pub(crate) failing_pings: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            opens_after: Some(Duration::from_millis(20)),
            lives_for: None,
            login: Some(RUNNING),
            mute: Vec::new(),
            in_touch: true,
            stale: 0,
            failing_pings: 0,
        }
    }
}

/// The program, and all the lives that it had.
#[derive(Debug, Clone)]
pub(crate) struct FakeDaemon(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    plan: Plan,
    /// When each life began.
    starts: Vec<Instant>,
    /// What its LocalAPI was asked, in all lives.
    asked: Vec<String>,
    /// The life under way.
    life: Option<Life>,
}

#[derive(Debug)]
struct Life {
    opens: Option<Instant>,
    /// Those who listen to its notifications. They hear the end with the life's.
    listeners: Vec<mpsc::UnboundedSender<String>>,
    ended: watch::Sender<bool>,
    disowning: mpsc::Sender<()>,
}

impl FakeDaemon {
    pub(crate) fn new(plan: Plan) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan,
            starts: Vec::new(),
            asked: Vec::new(),
            life: None,
        })))
    }

    /// When each of its lives began.
    pub(crate) fn starts(&self) -> Vec<Instant> {
        self.state().starts.clone()
    }

    /// How often its LocalAPI was asked for something with `part` in its method and path.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.state().asked.iter().filter(|line| line.contains(part)).count()
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.state().life.is_some()
    }

    /// Changes the plan.
    pub(crate) fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.state().plan);
    }

    /// Has it say something to those who listen.
    pub(crate) fn say(&self, line: &str) {
        if let Some(life) = &self.state().life {
            life.say(line);
        }
    }

    /// Its LocalAPI ends before it does.
    pub(crate) fn break_off(&self) {
        if let Some(life) = &mut self.state().life {
            (life.opens, life.listeners) = (None, Vec::new());
        }
    }

    /// It says that the control server does not know its machine.
    pub(crate) fn disown(&self) {
        if let Some(life) = &self.state().life {
            life.disowning.try_send(()).unwrap();
        }
    }

    /// It dies.
    pub(crate) fn die(&self) {
        if let Some(life) = self.state().life.take() {
            life.ended.send_replace(true);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, hyper::Error>>, hyper::Error> {
        let path = request.uri().path().to_owned();
        let muted = {
            let mut state = self.state();
            state.asked.push(format!("{} {}", request.method(), request.uri()));
            state.plan.mute.iter().any(|part| path.contains(part))
                || state.plan.stale > 0 && request.uri().to_string().contains("TSMP")
        };
        if muted {
            return std::future::pending().await;
        }
        let body = match path.as_str() {
            "/localapi/v0/watch-ipn-bus" => return Ok(Response::new(self.listen())),
            "/localapi/v0/status" => {
                if self.state().plan.in_touch {
                    STATUS
                } else {
                    OUT_OF_TOUCH
                }
            }
            "/localapi/v0/ping" => {
                let plan = &mut self.state().plan;
                let fails = plan.failing_pings > 0;
                plan.failing_pings = plan.failing_pings.saturating_sub(1);
                if fails {
                    r#"{"Err":"local tailscaled stopped"}"#
                } else {
                    r#"{"Err":""}"#
                }
            }
            "/localapi/v0/login-interactive" => {
                let login = self.state().plan.login;
                login.into_iter().for_each(|line| self.say(line));
                ""
            }
            "/localapi/v0/prefs" if request.method() == "PATCH" => {
                let body = request.into_body().collect().await?.to_bytes();
                self.switch(&body);
                ""
            }
            "/localapi/v0/prefs" => "{}",
            "/localapi/v0/start" => {
                let body = request.into_body().collect().await?.to_bytes();
                self.start_anew(&body);
                ""
            }
            "/localapi/v0/logout" | "/localapi/v0/debug" => "",
            other => panic!("unexpected: {other}"),
        };
        Ok(Response::new(
            Full::from(body).map_err(|never| match never {}).boxed_unsync(),
        ))
    }

    /// Its control client is a new one, and it may be switched off with that.
    fn start_anew(&self, options: &[u8]) {
        let options: serde_json::Value = serde_json::from_slice(options).unwrap();
        assert_eq!(options["AuthKey"], KEY);
        if options["UpdatePrefs"]["WantRunning"] == false {
            self.switch_off();
        }
    }

    /// Its sessions are gone.
    fn switch_off(&self) {
        let mut state = self.state();
        state.plan.stale = state.plan.stale.saturating_sub(1);
        drop(state);
        self.say(r#"{"State":4}"#);
    }

    /// It is switched off, or on again.
    fn switch(&self, prefs: &[u8]) {
        let prefs: serde_json::Value = serde_json::from_slice(prefs).unwrap();
        if prefs == serde_json::json!({"WantRunning": false, "WantRunningSet": true}) {
            self.switch_off();
        } else if prefs == serde_json::json!({"WantRunning": true, "WantRunningSet": true}) {
            self.say(r#"{"State":5}"#);
            self.say(RUNNING);
        } else {
            panic!("unexpected: {prefs}");
        }
    }

    fn listen(&self) -> UnsyncBoxBody<Bytes, hyper::Error> {
        let (sender, lines) = mpsc::unbounded_channel();
        if let Some(life) = &mut self.state().life {
            life.listeners.push(sender);
            life.say(r#"{"State":2}"#);
        }
        let frames = stream::unfold(lines, |mut lines| async {
            let line: String = lines.recv().await?;
            Some((Ok(Frame::data(Bytes::from(line + "\n"))), lines))
        });
        StreamBody::new(frames.boxed()).boxed_unsync()
    }
}

impl Life {
    fn say(&self, line: &str) {
        for listener in &self.listeners {
            // One who does not listen any more misses nothing.
            let _ = listener.send(line.to_owned());
        }
    }
}

impl Program for FakeDaemon {
    type Running = FakeRunning;

    fn start(&self) -> Result<FakeRunning, String> {
        let mut state = self.state();
        let now = Instant::now();
        state.starts.push(now);
        let (ended, end) = watch::channel(false);
        let (disowning, disowned) = mpsc::channel(1);
        state.life = Some(Life {
            opens: state.plan.opens_after.map(|pause| now + pause),
            listeners: Vec::new(),
            ended,
            disowning,
        });
        Ok(FakeRunning {
            daemon: self.clone(),
            lives_for: state.plan.lives_for,
            end,
            disowned: Some(disowned),
        })
    }

    fn local_api(&self) -> LocalApi {
        LocalApi::by(Arc::new(self.clone()))
    }
}

impl Way for FakeDaemon {
    fn open(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            let opens = self.state().life.as_ref().and_then(|life| life.opens);
            match opens {
                Some(opens) => sleep_until(opens).await,
                None => std::future::pending().await,
            }
            Ok(())
        })
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            let open = matches!(&self.state().life, Some(Life { opens: Some(opens), .. }) if *opens <= Instant::now());
            if !open {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 16);
            let daemon = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| daemon.answer(request));
                // A client that goes away is no concern of the server's.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(ours), service)
                    .await;
            });
            Ok(Box::new(theirs) as Box<dyn Connection>)
        })
    }
}

/// One life.
pub(crate) struct FakeRunning {
    daemon: FakeDaemon,
    lives_for: Option<Duration>,
    end: watch::Receiver<bool>,
    disowned: Option<mpsc::Receiver<()>>,
}

impl Running for FakeRunning {
    fn disowned(&mut self) -> mpsc::Receiver<()> {
        self.disowned.take().unwrap()
    }

    async fn ended(&mut self) -> String {
        let lifetime = self.lives_for.unwrap_or(Duration::MAX);
        tokio::select! {
            () = sleep(lifetime) => self.daemon.die(),
            _ = self.end.wait_for(|ended| *ended) => {}
        }
        "tailscaled ended with exit code 1".into()
    }

    async fn kill(&mut self) -> io::Result<()> {
        self.daemon.die();
        Ok(())
    }
}

impl fmt::Debug for FakeRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a life of the fake daemon")
    }
}
