//! Invocations that end well, and those that do not: the caller is told at once, and who died is named.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::script::Script;

#[test]
fn each_request_has_an_environment_to_itself_up_to_the_limit() {
    let mut run = Script::new().with("maxEnvironments", 3).run();
    let requests: Vec<_> = (0..3)
        .map(|_| run.begin(&json!({ "do": "sleep", "ms": 1500 })))
        .collect();
    for _ in 0..3 {
        run.state("invoking");
    }
    assert_eq!(run.call(&json!({})).status, 429);
    for request in requests {
        assert_eq!(request.finish().json(), json!(1500));
    }
    let used: HashSet<_> = (0..3).map(|_| run.invocation()["environment"].to_string()).collect();
    assert_eq!(used.len(), 3);
    run.stop();
}

#[test]
fn a_process_that_ends_is_answered_for_at_once_and_the_next_request_gets_a_fresh_environment() {
    let killed = "Runtime exited with error: signal: killed";
    let exited = "Runtime exited with error: exit status 7";
    let crashed = "extension:one exited with error: signal: killed";
    for (what, victim, error_type, message) in [
        ("hang", Some("runtime"), "Runtime.ExitError", killed),
        ("hang", Some("extension:one"), "Extension.Crash", crashed),
        ("exit", None, "Runtime.ExitError", exited),
    ] {
        let mut run = Script::new().extension("one", "").run();
        let request = run.begin(&json!({ "do": what }));
        run.state("invoking");
        if let Some(name) = victim {
            run.kill_process(name);
        }
        let begun = Instant::now();
        let answer = request.finish();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (502, b"Internal Server Error".as_slice())
        );
        let invocation = run.invocation();
        assert_eq!(
            (&invocation["outcome"], &invocation["errorType"]),
            (&json!("error"), &json!(error_type))
        );
        assert_eq!(run.call(&json!({ "n": 2 })).json(), json!({ "n": 2 }));
        let stopped = run.state("stopped");
        assert_eq!(
            (&stopped["errorType"], &stopped["message"]),
            (&json!(error_type), &json!(message))
        );
        assert_eq!(run.invocation()["environment"], 2);
        if error_type == "Runtime.ExitError" {
            run.logged("extension one: \"SHUTDOWN\" \"failure\"");
        }
        run.stop();
    }
}

#[test]
fn an_invocation_that_takes_too_long_ends_with_its_environment() {
    let mut run = Script::new().with("timeoutSeconds", 1).extension("one", "").run();
    let begun = Instant::now();
    let answer = run.call(&json!({ "do": "hang" }));
    let took = begun.elapsed();
    assert_eq!(answer.status, 502);
    assert!((1.0..3.0).contains(&took.as_secs_f64()), "{took:?}");
    assert_eq!(run.invocation()["errorType"], "Sandbox.Timedout");
    assert_eq!(run.call(&json!({ "n": 2 })).json(), json!({ "n": 2 }));
    assert_eq!(run.state("stopped")["reason"], "timeout");
    run.logged("extension one: \"SHUTDOWN\" \"timeout\"");
    run.stop();
}

#[test]
fn a_stream_that_breaks_off_never_looks_complete() {
    for (end, outcome) in [
        ("trailers", "error"),
        ("abort", "error"),
        ("exit", "error"),
        ("hang", "timeout"),
    ] {
        let script = Script::new()
            .with("invokeMode", "RESPONSE_STREAM")
            .with("timeoutSeconds", 1);
        let mut run = script.run();
        let answer = run.call(&json!({ "do": "stream", "end": end }));
        assert!(!answer.body.ends_with(b"0\r\n\r\n"), "{end}: {answer:?}");
        assert_eq!(run.invocation()["outcome"], outcome, "{end}");
        run.stop();
    }
}

#[test]
fn a_function_that_fails_and_an_answer_over_the_limit_leave_the_environment_alive() {
    let mut run = Script::new().run();
    for (what, error_type) in [
        ("error", "Scripted.Error"),
        ("too-large", "Function.ResponseSizeTooLarge"),
    ] {
        assert_eq!(run.call(&json!({ "do": what })).status, 502);
        let invocation = run.invocation();
        assert_eq!(
            (&invocation["outcome"], &invocation["errorType"]),
            (&json!("error"), &json!(error_type))
        );
    }
    run.logged("runtime: too large 413");
    assert_eq!(run.call(&json!({})).status, 200);
    assert_eq!(run.invocation()["environment"], 1);
    run.stop();
}

#[test]
fn an_answer_to_another_invocation_is_refused_and_so_is_a_second_one() {
    let run = Script::new().run();
    let refusal = run.call(&json!({ "do": "wrong-id" })).json();
    let body = json!({ "errorMessage": "Invalid request ID", "errorType": "InvalidRequestID" });
    assert_eq!(refusal, json!({ "status": 400, "body": body, "late": 400 }));
    assert_eq!(run.call(&json!({ "do": "respond-twice" })).json(), json!("first"));
    run.logged("runtime: second answer 403 \"InvalidStateTransition\"");
    run.stop();
}

#[test]
fn a_process_that_ends_after_the_answer_costs_only_its_environment() {
    let mut run = Script::new().run();
    let answer = run.call(&json!({ "do": "respond-and-exit" })).json();
    assert_eq!(answer, json!("a last answer"));
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
