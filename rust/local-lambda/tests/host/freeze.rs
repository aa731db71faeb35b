//! The freeze between invocations: nothing runs, and the next request finds all as it was.

use std::time::Duration;

use serde_json::json;

use super::script::Script;

/// An extension that writes without pause tells whether anything ran meanwhile.
#[test]
fn nothing_runs_in_a_freeze_and_all_goes_on_with_the_next_request() {
    let mut run = Script::new().extension("one", "ticking").run();
    let first = run.call(&json!({ "do": "clock" })).json().as_u64().unwrap();
    run.state("frozen");
    for name in ["runtime", "extension:one"] {
        let pid = &run.process(name, "started")["pid"];
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("\nState:\tT (stopped)"), "{status}");
    }
    std::thread::sleep(Duration::from_millis(500));
    let second = run.call(&json!({ "do": "clock" })).json().as_u64().unwrap();
    // Running, it would have written some hundreds.
    assert!(second - first < 100, "{first} {second}");
    assert_eq!(run.state("thawed")["id"], 1);
    run.stop();
}

#[test]
fn a_process_that_is_killed_while_frozen_is_reported_at_once() {
    let mut run = Script::new().extension("one", "").run();
    assert_eq!(run.call(&json!({})).status, 200);
    run.state("frozen");
    run.kill_process("runtime");
    assert_eq!(run.process("runtime", "exited")["expected"], false);
    assert_eq!(run.call(&json!({})).status, 200);
    assert_eq!(run.state("stopped")["errorType"], "Runtime.ExitError");
    run.stop();
}
