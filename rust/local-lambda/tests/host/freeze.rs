//! The freeze between invocations: nothing runs, and the next request finds all as it was.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::run::Run;
use super::script::Script;

fn state_of(pid: u64) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status
        .lines()
        .find(|line| line.starts_with("State:"))
        .unwrap()
        .to_owned()
}

fn frozen(run: &mut Run) -> Vec<u64> {
    assert_eq!(run.call(&json!({})).status, 200);
    run.state("frozen");
    let names = ["runtime", "extension:one"];
    names
        .map(|name| run.process(name, "started")["pid"].as_u64().unwrap())
        .into()
}

#[test]
fn every_process_is_stopped_and_goes_on_with_the_next_request() {
    let mut run = Script::new().extension("one", "").run();
    let pids = frozen(&mut run);
    for pid in &pids {
        assert_eq!(state_of(*pid), "State:\tT (stopped)");
    }
    assert_eq!(run.call(&json!({ "n": 1 })).json(), json!({ "n": 1 }));
    run.state("thawed");
    run.stop();
}

/// An extension that writes without pause tells whether anything ran meanwhile.
#[test]
fn nothing_runs_in_a_freeze() {
    let mut run = Script::new().extension("one", "ticking").run();
    frozen(&mut run);
    let first = run.call(&json!({ "do": "clock" })).json().as_u64().unwrap();
    run.state("frozen");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let second = run.call(&json!({ "do": "clock" })).json().as_u64().unwrap();
    // Running, it would have written some hundreds.
    assert!(second - first < 100, "{first} {second}");
    assert_eq!(run.state("thawed")["id"], 1);
    run.stop();
}

#[test]
fn switched_off_nothing_is_stopped() {
    let mut run = Script::new().with("freeze", false).extension("one", "").run();
    assert_eq!(run.call(&json!({})).status, 200);
    assert_eq!(run.call(&json!({})).status, 200);
    assert!(
        run.rest()
            .iter()
            .all(|event| event["state"] != "frozen" && event["state"] != "thawed")
    );
    run.stop();
}

#[test]
fn a_process_that_is_killed_while_frozen_is_reported_at_once() {
    let mut run = Script::new().extension("one", "").run();
    let pids = frozen(&mut run);
    kill(Pid::from_raw(pids[0].try_into().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(run.process("runtime", "exited")["expected"], false);
    assert_eq!(run.call(&json!({})).status, 200);
    assert_eq!(run.state("stopped")["errorType"], "Runtime.ExitError");
    run.stop();
}

#[test]
fn many_requests_in_a_row_are_served_by_one_environment() {
    let mut run = Script::new().extension("one", "").run();
    for n in 0..100 {
        assert_eq!(run.call(&json!({ "n": n })).json(), json!({ "n": n }));
    }
    let others = run
        .rest()
        .into_iter()
        .filter(|event| event["state"] == "starting")
        .count();
    assert_eq!(others, 1);
    run.stop();
}
