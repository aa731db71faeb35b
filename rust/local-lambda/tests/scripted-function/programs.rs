//! Programs that the function runs: for the length of an invocation, or from one to the next, through freezes.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{LazyLock, Mutex, mpsc},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long a program may take for a line.
const LIMIT: Duration = Duration::from_secs(20);

/// A program that goes on.
struct Session {
    _child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

static SESSIONS: LazyLock<Mutex<HashMap<String, Session>>> = LazyLock::new(Mutex::default);

fn command(told: &Value) -> Command {
    let words: Vec<&str> = told["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir("/tmp");
    command
}

/// Runs a program to its end: `status`, `stdout`, `stderr` and `ms`.
pub(crate) fn run(told: &Value) -> Value {
    let began = Instant::now();
    let output = match command(told).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return json!({ "failed": error.to_string() }),
    };
    json!({
        "status": output.status.code(),
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
        "ms": u64::try_from(began.elapsed().as_millis()).unwrap(),
    })
}

/// Starts a program that reads lines, under the name `session`. What it complains about goes to the log.
pub(crate) fn start(told: &Value) -> Value {
    let spawned = command(told).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return json!({ "failed": error.to_string() }),
    };
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let lines = read_lines(output);
    let session = Session {
        _child: child,
        input,
        lines,
    };
    SESSIONS
        .lock()
        .unwrap()
        .insert(told["session"].as_str().unwrap().to_owned(), session);
    json!("started")
}

fn read_lines(output: ChildStdout) -> mpsc::Receiver<String> {
    let (lines, read) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    read
}

/// Says a line to a program, and returns the line that it answers with: `line` and `ms`.
pub(crate) fn say_to(told: &Value) -> Value {
    let mut sessions = SESSIONS.lock().unwrap();
    let session = sessions.get_mut(told["session"].as_str().unwrap()).unwrap();
    let began = Instant::now();
    if let Err(error) = writeln!(session.input, "{}", told["line"].as_str().unwrap()) {
        return json!({ "failed": error.to_string() });
    }
    match session.lines.recv_timeout(LIMIT) {
        Ok(line) => json!({ "line": line, "ms": u64::try_from(began.elapsed().as_millis()).unwrap() }),
        Err(error) => json!({ "failed": error.to_string() }),
    }
}
