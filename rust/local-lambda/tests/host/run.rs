//! A run of the real binary in namespaces of its own, and what a test sees of it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::script::Folder;

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running local-lambda.
pub(crate) struct Run {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    events: Receiver<Value>,
    /// Events that were passed over while another was waited for, to be looked at again.
    passed: VecDeque<Value>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    _folder: Folder,
}

impl Run {
    pub(crate) fn start(folder: Folder, unprivileged: bool) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Nothing of it touches the machine's own network: the URL's socket alone comes from there.
        let root = nix::unistd::geteuid().is_root();
        let namespaces = if root && !unprivileged { "-n" } else { "-Urnm" };
        let mut command = Command::new("unshare");
        command.args([namespaces, "--", env!("CARGO_BIN_EXE_local-lambda"), "--listen-stdin"]);
        command.arg("--config").arg(folder.0.join("function.json"));
        let mut child = command
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, events) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON on stdout: {line}"));
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = log.clone();
        let reader = std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .for_each(|line| lines.lock().unwrap().push(line));
        });
        let mut run = Self {
            child,
            address,
            events,
            passed: VecDeque::new(),
            log,
            _folder: folder,
        };
        match run.events.recv_timeout(PATIENCE) {
            Ok(ready) => {
                assert_eq!(ready, json!({ "event": "ready", "url": format!("http://{address}/") }));
                Ok(run)
            }
            Err(RecvTimeoutError::Disconnected) => {
                assert_eq!(run.wait().code(), Some(1));
                reader.join().unwrap();
                Err(run.log_text())
            }
            Err(RecvTimeoutError::Timeout) => panic!("it neither gets ready nor ends:\n{}", run.log_text()),
        }
    }

    /// The next event of a kind; others stay for later.
    pub(crate) fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.passed.iter().position(&wanted) {
            return self.passed.remove(index).unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!("no such event; others: {:#?}\nlog:\n{}", self.passed, self.log_text());
            };
            if wanted(&event) {
                return event;
            }
            self.passed.push_back(event);
        }
    }

    /// The next announcement of an environment's state.
    pub(crate) fn state(&mut self, state: &str) -> Value {
        self.event(|event| event["event"] == "environment" && event["state"] == state)
    }

    /// The next invocation that ended.
    pub(crate) fn invocation(&mut self) -> Value {
        self.event(|event| event["event"] == "invocation")
    }

    /// Kills the process of this name that was started first.
    pub(crate) fn kill_process(&mut self, name: &str) {
        let pid = self.process(name, "started")["pid"].as_i64().unwrap();
        kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    }

    pub(crate) fn process(&mut self, name: &str, state: &str) -> Value {
        self.event(|event| event["event"] == "process" && event["name"] == name && event["state"] == state)
    }

    /// Everything that was announced up to now and was not asked for.
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        self.passed.extend(self.events.try_iter());
        self.passed.drain(..).collect()
    }

    pub(crate) fn log_text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a line in the log: it comes by another pipe than the events.
    pub(crate) fn logged(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log_text().contains(text) {
            assert!(
                Instant::now() < deadline,
                "{text:?} is not in the log:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "local-lambda does not end:\n{}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as Ctrl-C does, and checks that it took everything along.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.log_text());
        self.passed.extend(self.events.iter());
        self.rest()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Ended already, if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log_text());
        }
    }
}
