//! A runtime and an extension in one, for the tests of local-lambda: it does what it is told, in good and in bad ways,
//! and speaks plain HTTP over a socket, so that the tests need nothing else.
//!
//! Started as `bootstrap` it is the runtime: the event's body says what to do with the event. Started under any other
//! name it is an extension. `SCRIPT_RUNTIME` and `SCRIPT_EXTENSION` say how INIT and SHUTDOWN go.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod http;
mod programs;
mod socks;

use std::io::Write;
use std::process::exit;
use std::time::{Duration, Instant};

use http::{Answer, call, connect};
use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};

fn main() {
    let name = std::env::args().next().unwrap().rsplit('/').next().unwrap().to_owned();
    // Blocked before there are threads: one thread takes it, when there is one to take it.
    let mut terminate = SigSet::empty();
    terminate.add(Signal::SIGTERM);
    terminate.thread_block().unwrap();
    if name == "bootstrap" {
        runtime(terminate);
    } else {
        extension(&name);
    }
}

// --- the runtime

const RUNTIME: &str = "/2018-06-01/runtime";

fn runtime(terminate: SigSet) {
    say("runtime: started");
    match script("SCRIPT_RUNTIME").as_str() {
        "exit" => exit(3),
        "fail-once" if fails_now() => exit(4),
        "hang" => loop {
            std::thread::park();
        },
        "ignore-sigterm" => {}
        _ => {
            std::thread::spawn(move || {
                terminate.wait().unwrap();
                say("runtime: SIGTERM");
                exit(0);
            });
        }
    }
    loop {
        let next = call("GET", &format!("{RUNTIME}/invocation/next"), &[], b"");
        let id = next.header("lambda-runtime-aws-request-id").to_owned();
        let event: Value = serde_json::from_slice(&next.body).unwrap();
        let told: Value = serde_json::from_str(event["body"].as_str().unwrap_or("{}")).unwrap_or_default();
        obey(&id, &told, &event, &next);
    }
}

/// The first time in this environment; `/tmp` is the memory.
fn fails_now() -> bool {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open("/tmp/failed-once")
        .is_ok()
}

fn obey(id: &str, told: &Value, event: &Value, next: &Answer) {
    let response = format!("{RUNTIME}/invocation/{id}/response");
    match told["do"].as_str().unwrap_or("echo") {
        "exit" => exit(7),
        "hang" => std::thread::sleep(Duration::from_secs(3600)),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(told["ms"].as_u64().unwrap()));
            respond(&response, &told["ms"]);
        }
        "who" => respond(&response, &who(event, next)),
        "write" => respond(&response, &write_everywhere()),
        "error" => {
            let headers = [("Lambda-Runtime-Function-Error-Type", "Scripted.Error")];
            let path = format!("{RUNTIME}/invocation/{id}/error");
            assert_eq!(call("POST", &path, &headers, b"{}").status, 202);
        }
        "too-large" => {
            let answer = call("POST", &response, &[], &vec![b' '; 6 * 1024 * 1024 + 101]);
            say(&format!("runtime: too large {}", answer.status));
        }
        "wrong-id" => {
            let wrong = call("POST", &format!("{RUNTIME}/invocation/{}/response", "0-0"), &[], b"{}");
            let headers = [("Lambda-Runtime-Invocation-Id", "another invocation's")];
            let late = call("POST", &response, &headers, b"{}");
            respond(
                &response,
                &json!({ "status": wrong.status, "body": wrong.json(), "late": late.status }),
            );
        }
        "respond-twice" => {
            respond(&response, &json!("first"));
            let second = call("POST", &response, &[], b"{}");
            say(&format!(
                "runtime: second answer {} {}",
                second.status,
                second.json()["errorType"]
            ));
        }
        "respond-and-exit" => {
            respond(&response, &json!("a last answer"));
            exit(5);
        }
        "stream" => stream(&response, told),
        "late-registration" => {
            let headers = [("Lambda-Extension-Name", "latecomer")];
            let answer = call("POST", "/2020-01-01/extension/register", &headers, br#"{"events":[]}"#);
            respond(&response, &json!({ "status": answer.status, "body": answer.json() }));
        }
        "socks" => respond(&response, &socks::get(told)),
        "datagram" => respond(&response, &socks::datagram(told)),
        "listen" => {
            socks::listen(told);
            respond(&response, &json!("listening"));
        }
        "run" => respond(&response, &programs::run(told)),
        "start" => respond(&response, &programs::start(told)),
        "say" => respond(&response, &programs::say_to(told)),
        "clock" => {
            let ticks = std::fs::read_to_string("/tmp/ticks").unwrap_or_default();
            respond(&response, &json!(ticks.len()));
        }
        _ => respond(&response, told),
    }
}

fn respond(path: &str, body: &Value) {
    let answer =
        json!({ "statusCode": 200, "headers": { "content-type": "application/json" }, "body": body.to_string() });
    let posted = call("POST", path, &[], answer.to_string().as_bytes());
    assert_eq!(
        (posted.status, posted.body.as_slice()),
        (202, br#"{"status":"OK"}"#.as_slice())
    );
}

fn who(event: &Value, next: &Answer) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    json!({
        "status": read("/proc/self/status"),
        "folder": std::env::current_dir().unwrap(),
        "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
        "addresses": nix::ifaddrs::getifaddrs().unwrap()
            .filter_map(|interface| Some(format!("{} {}", interface.interface_name, interface.address?.as_sockaddr_in()?.ip())))
            .collect::<Vec<_>>(),
        "processes": std::fs::read_dir("/proc").unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().parse::<u32>().is_ok()).count(),
        "headers": next.headers,
        "traceInEvent": event["headers"]["x-amzn-trace-id"],
        "deadlineInMs": next.header("lambda-runtime-deadline-ms").parse::<i128>().unwrap() - now_ms(),
    })
}

fn now_ms() -> i128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .cast_signed()
}

fn write_everywhere() -> Value {
    let attempt = |folder: &str| match std::fs::write(format!("{folder}/probe"), "x") {
        Ok(()) => "written".to_owned(),
        Err(error) => error
            .raw_os_error()
            .map_or("?".into(), |code| nix::errno::Errno::from_raw(code).to_string()),
    };
    let folders = [
        "/",
        "/opt",
        "/opt/extensions",
        "/var/task",
        "/usr",
        "/etc",
        "/dev",
        "/var/runtime",
        "/tmp",
    ];
    folders.iter().map(|folder| (*folder, attempt(folder))).collect()
}

fn stream(path: &str, told: &Value) {
    let mut socket = connect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n\
         lambda-runtime-function-response-mode: streaming\r\ntransfer-encoding: chunked\r\n\
         trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    for piece in ["one ", "two ", "three"] {
        write!(socket, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
        socket.flush().unwrap();
    }
    match told["end"].as_str().unwrap_or("well") {
        "well" => socket.write_all(b"0\r\n\r\n").unwrap(),
        "trailers" => socket
            .write_all(b"0\r\nlambda-runtime-function-error-type: Scripted.Broke\r\n\r\n")
            .unwrap(),
        "exit" => exit(6),
        "abort" => return,
        "hang" => std::thread::sleep(Duration::from_secs(3600)),
        other => panic!("no such end: {other}"),
    }
    say(&format!(
        "runtime: stream answered {}",
        Answer::read(socket).unwrap().status
    ));
}

// --- the extension

const EXTENSION: &str = "/2020-01-01/extension";

fn extension(name: &str) {
    let script = script("SCRIPT_EXTENSION");
    let register = |name: &str| {
        let headers = [("Lambda-Extension-Name", name)];
        let events = if script == "quiet" {
            br#"{"events":[]}"#.as_slice()
        } else {
            br#"{"events":["INVOKE","SHUTDOWN"]}"#
        };
        call("POST", &format!("{EXTENSION}/register"), &headers, events)
    };
    match script.as_str() {
        "exit" => exit(8),
        "slow-registration" => std::thread::sleep(Duration::from_millis(300)),
        "lawless" => {
            say_refusal(name, "wrong name", &register("somebody-else"));
            let headers = [("Lambda-Extension-Identifier", "00000000-0000-0000-0000-000000000000")];
            let unknown = call("GET", &format!("{EXTENSION}/event/next"), &headers, b"");
            say_refusal(name, "unknown", &unknown);
        }
        _ => {}
    }
    say(&format!("extension {name}: registers"));
    let registered = register(name);
    assert_eq!(registered.status, 200);
    say(&format!("extension {name}: registered {}", registered.json()));
    if script == "lawless" {
        say_refusal(name, "again", &register(name));
    }
    let identifier = [(
        "Lambda-Extension-Identifier",
        registered.header("lambda-extension-identifier"),
    )];
    if script == "init-error" {
        let error = [identifier[0], ("Lambda-Extension-Function-Error-Type", "Scripted.Init")];
        assert_eq!(
            call("POST", &format!("{EXTENSION}/init/error"), &error, b"{}").status,
            202
        );
        exit(1);
    }
    if script == "ticking" {
        std::thread::spawn(tick);
    }
    loop {
        let event = call("GET", &format!("{EXTENSION}/event/next"), &identifier, b"").json();
        say(&format!(
            "extension {name}: {} {}",
            event["eventType"], event["shutdownReason"]
        ));
        match (event["eventType"].as_str(), script.as_str()) {
            (Some("SHUTDOWN"), "ignore-shutdown") => std::thread::sleep(Duration::from_secs(3600)),
            (Some("SHUTDOWN"), _) => exit(0),
            (_, "slow-after-invoke") => std::thread::sleep(Duration::from_millis(100)),
            _ => {}
        }
    }
}

fn say_refusal(name: &str, of: &str, refused: &Answer) {
    let error_type = &refused.json()["errorType"];
    say(&format!("extension {name}: {of} {} {error_type}", refused.status));
}

/// One byte a millisecond, for as long as anything here runs.
fn tick() {
    let mut file = std::fs::File::create("/tmp/ticks").unwrap();
    loop {
        let next = Instant::now() + Duration::from_millis(1);
        file.write_all(b".").unwrap();
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

// --- what both need

fn script(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn say(line: &str) {
    println!("{line}");
}
