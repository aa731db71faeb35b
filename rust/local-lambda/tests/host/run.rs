//! A run of the real binary in namespaces of its own, and what a test sees of it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A function to run.
pub(crate) struct Script {
    config: Value,
    extensions: Vec<&'static str>,
    unprivileged: bool,
}

impl Script {
    pub(crate) fn new() -> Self {
        let architecture = if cfg!(target_arch = "x86_64") {
            "x86_64"
        } else {
            "arm64"
        };
        let config = json!({
            "functionName": "scripted", "handlerZip": "function.zip", "architecture": architecture,
            "region": "eu-central-1", "accountId": "123456789012", "environment": {},
            "executionRole": { "accessKeyId": "ROLE", "secretAccessKey": "role-secret", "sessionToken": "role-token" },
            "callers": [{ "accessKeyId": "CALLER", "secretAccessKey": "caller-secret" }],
            "timeoutSeconds": 10,
        });
        Self {
            config,
            extensions: Vec::new(),
            unprivileged: false,
        }
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.config[field] = value.into();
        self
    }

    pub(crate) fn runtime(mut self, script: &str) -> Self {
        self.config["environment"]["SCRIPT_RUNTIME"] = script.into();
        self
    }

    pub(crate) fn extension(mut self, name: &'static str, script: &str) -> Self {
        self.extensions.push(name);
        self.config["environment"]["SCRIPT_EXTENSION"] = script.into();
        self
    }

    /// Inside a user namespace with one mapped id, as without root.
    pub(crate) fn unprivileged(mut self) -> Self {
        self.unprivileged = true;
        self
    }

    /// Runs it; it must get ready.
    pub(crate) fn run(self) -> Run {
        self.try_run()
            .unwrap_or_else(|log| panic!("local-lambda does not run:\n{log}"))
    }

    /// Runs it, or gives its log if it ends before it is ready.
    pub(crate) fn try_run(self) -> Result<Run, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        self.start(OwnedFd::from(listener).into(), address)
    }

    /// Runs it with another standard input than a listener.
    pub(crate) fn try_run_on(self, stdin: Stdio) -> Result<Run, String> {
        self.start(stdin, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn start(mut self, stdin: Stdio, address: SocketAddr) -> Result<Run, String> {
        let folder = Folder::new();
        zip(&folder.0.join("function.zip"), &["bootstrap".to_owned()]);
        if !self.extensions.is_empty() {
            let files: Vec<_> = self
                .extensions
                .iter()
                .map(|name| format!("extensions/{name}"))
                .collect();
            zip(&folder.0.join("layer.zip"), &files);
            self.config["layerZips"] = json!(["layer.zip"]);
        }
        std::fs::write(folder.0.join("function.json"), self.config.to_string()).unwrap();
        Run::start(folder, self.unprivileged, stdin, address)
    }
}

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("local-lambda-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn zip(path: &Path, names: &[String]) {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_scripted-function")).unwrap();
    let mut writer = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for name in names {
        let options = SimpleFileOptions::default().unix_permissions(0o755);
        writer
            .start_file(name, options.compression_method(zip::CompressionMethod::Stored))
            .unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.finish().unwrap();
}

/// A running local-lambda.
pub(crate) struct Run {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) control: PathBuf,
    events: Receiver<Value>,
    /// Events that were passed over while another was waited for, to be looked at again.
    passed: VecDeque<Value>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    _folder: Folder,
}

impl Run {
    fn start(folder: Folder, unprivileged: bool, stdin: Stdio, address: SocketAddr) -> Result<Self, String> {
        let control = folder.0.join("control.sock");
        // Nothing of it touches the machine's own network: the URL's socket alone comes from there.
        let root = nix::unistd::geteuid().is_root();
        let namespaces = if root && !unprivileged { "-n" } else { "-Urnm" };
        let mut command = Command::new("unshare");
        command.args([namespaces, "--", env!("CARGO_BIN_EXE_local-lambda"), "--listen-stdin"]);
        command
            .arg("--config")
            .arg(folder.0.join("function.json"))
            .arg("--control-socket")
            .arg(&control);
        let mut child = command
            .stdin(stdin)
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
            control,
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
            std::thread::yield_now();
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
        assert!(!self.control.exists(), "the control socket stays behind");
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

/// The control groups that a process is in.
pub(crate) fn control_groups(pid: u64) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mut groups = Vec::new();
    for mount in mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()) {
        for member in membership.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>()) {
            let unified = mount[2] == "cgroup2" && member[1].is_empty();
            let listed = mount[2] == "cgroup"
                && mount[3]
                    .split(',')
                    .any(|option| member[1].split(',').any(|one| one == option));
            if unified || listed {
                groups.push(Path::new(mount[1]).join(member[2].trim_start_matches('/')));
            }
        }
    }
    groups
}
