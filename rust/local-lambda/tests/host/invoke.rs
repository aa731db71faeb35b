//! Invocations that end well, and those that do not: the caller is told at once, and who died is named.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::run::Run;
use super::script::Script;

fn kill_process(started: &Value) {
    let pid = started["pid"].as_u64().unwrap();
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

/// A request must have failed, quickly, and the one after it must find a fresh environment.
fn fails_at_once(run: &mut Run, request: super::url::Pending, error_type: &str, message: &str) {
    let begun = Instant::now();
    let answer = request.finish();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (502, b"Internal Server Error".as_slice())
    );
    let invocation = run.event(|event| event["event"] == "invocation");
    assert_eq!(
        (&invocation["outcome"], &invocation["errorType"]),
        (&json!("error"), &json!(error_type))
    );
    assert_eq!(run.call(&json!({ "n": 2 })).json(), json!({ "n": 2 }));
    let stopped = run.state("stopped");
    assert_eq!(stopped["errorType"], error_type);
    assert_eq!(stopped["message"], message);
    assert_eq!(run.event(|event| event["event"] == "invocation")["environment"], 2);
}

#[test]
fn a_killed_runtime_is_answered_for_at_once() {
    let mut run = Script::new().extension("one", "").run();
    let request = run.begin(&json!({ "do": "hang" }));
    run.state("invoking");
    kill_process(&run.process("runtime", "started"));
    let message = "Runtime exited with error: signal: killed";
    fails_at_once(&mut run, request, "Runtime.ExitError", message);
    let exited = run.process("runtime", "exited");
    assert_eq!((&exited["signal"], &exited["expected"]), (&json!(9), &json!(false)));
    run.stop();
}

#[test]
fn a_killed_extension_is_answered_for_at_once() {
    let mut run = Script::new().extension("one", "").run();
    let request = run.begin(&json!({ "do": "hang" }));
    run.state("invoking");
    kill_process(&run.process("extension:one", "started"));
    let message = "extension:one exited with error: signal: killed";
    fails_at_once(&mut run, request, "Extension.Crash", message);
    run.stop();
}

#[test]
fn a_runtime_that_exits_is_answered_for_at_once() {
    let mut run = Script::new().run();
    let request = run.begin(&json!({ "do": "exit" }));
    fails_at_once(
        &mut run,
        request,
        "Runtime.ExitError",
        "Runtime exited with error: exit status 7",
    );
    run.stop();
}

#[test]
fn an_invocation_that_takes_too_long_ends_with_its_environment() {
    let mut run = Script::new().with("timeoutSeconds", 1).extension("one", "").run();
    let begun = Instant::now();
    let answer = run.call(&json!({ "do": "hang" }));
    let took = begun.elapsed();
    assert_eq!(answer.status, 502);
    assert!((1.0..3.0).contains(&took.as_secs_f64()), "{took:?}");
    assert_eq!(
        run.event(|event| event["event"] == "invocation")["errorType"],
        "Sandbox.Timedout"
    );
    assert_eq!(run.call(&json!({ "n": 2 })).json(), json!({ "n": 2 }));
    assert_eq!(run.state("stopped")["reason"], "timeout");
    run.logged("extension one: \"SHUTDOWN\" \"timeout\"");
    run.stop();
}

#[test]
fn an_error_of_the_function_leaves_the_environment_alive() {
    let mut run = Script::new().run();
    assert_eq!(run.call(&json!({ "do": "error" })).status, 502);
    let invocation = run.event(|event| event["event"] == "invocation");
    assert_eq!(
        (&invocation["outcome"], &invocation["errorType"]),
        (&json!("error"), &json!("Scripted.Error"))
    );
    assert_eq!(run.call(&json!({})).status, 200);
    assert_eq!(run.event(|event| event["event"] == "invocation")["environment"], 1);
    run.stop();
}

#[test]
fn an_answer_over_the_limit_is_a_413_to_the_runtime_and_a_502_to_the_caller() {
    let run = Script::new().run();
    assert_eq!(run.call(&json!({ "do": "too-large" })).status, 502);
    run.logged("runtime: too large 413");
    assert_eq!(run.call(&json!({})).status, 200);
    run.stop();
}

#[test]
fn an_answer_to_another_invocation_is_refused() {
    let run = Script::new().run();
    let refusal = run.call(&json!({ "do": "wrong-id" })).json();
    let body = json!({ "errorMessage": "Invalid request ID", "errorType": "InvalidRequestID" });
    assert_eq!(refusal, json!({ "status": 400, "body": body, "late": 400 }));
    run.stop();
}

#[test]
fn a_second_answer_is_refused() {
    let run = Script::new().run();
    assert_eq!(run.call(&json!({ "do": "respond-twice" })).json(), json!("first"));
    run.logged("runtime: second answer 403 \"InvalidStateTransition\"");
    run.stop();
}

#[test]
fn a_runtime_that_exits_after_its_answer_costs_only_its_environment() {
    let mut run = Script::new().run();
    assert_eq!(
        run.call(&json!({ "do": "respond-and-exit" })).json(),
        json!("a last answer")
    );
    assert_eq!(run.state("stopped")["errorType"], "Runtime.ExitError");
    assert_eq!(run.call(&json!({})).status, 200);
    run.stop();
}

#[test]
fn the_environment_is_busy_until_its_extensions_are_done_too() {
    let mut run = Script::new().extension("one", "slow-after-invoke").run();
    assert_eq!(run.call(&json!({})).status, 200);
    assert!(
        run.rest().iter().all(|event| event["state"] != "frozen"),
        "the extension still works"
    );
    run.state("frozen");
    run.stop();
}

#[test]
fn an_extension_that_crashes_after_the_answer_costs_only_its_environment() {
    let mut run = Script::new().extension("one", "crash-after-invoke").run();
    let request = run.begin(&json!({ "do": "sleep", "ms": 0 }));
    // Whichever comes first, the answer or the crash: the caller is told at once.
    let status = request.finish().status;
    assert!(status == 200 || status == 502, "{status}");
    assert_eq!(run.state("stopped")["errorType"], "Extension.Crash");
    run.stop();
}
