//! The freeze between invocations: nothing runs, and the next request finds all as it was.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::run::{Run, control_groups, not_run};
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

/// An extension that writes without pause tells whether anything ran meanwhile.
fn ticks_only_while_thawed(mut run: Run) {
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
fn by_signals_every_process_is_stopped_and_goes_on_with_the_next_request() {
    let mut run = Script::new().with("freeze", "signals").extension("one", "").run();
    let pids = frozen(&mut run);
    for pid in &pids {
        assert_eq!(state_of(*pid), "State:\tT (stopped)");
    }
    assert_eq!(run.call(&json!({ "n": 1 })).json(), json!({ "n": 1 }));
    run.state("thawed");
    run.stop();
    ticks_only_while_thawed(
        Script::new()
            .with("freeze", "signals")
            .extension("one", "ticking")
            .run(),
    );
}

#[test]
fn by_cgroup_every_process_is_frozen_and_goes_on_with_the_next_request() {
    let script = || Script::new().with("freeze", "cgroup");
    let mut run = match script().extension("one", "").try_run() {
        Ok(run) => run,
        Err(log) => return not_run("the cgroup freezer", "`freeze` is cgroup, but", &log),
    };
    for pid in frozen(&mut run) {
        let groups = control_groups(pid);
        let states: Vec<_> = groups
            .iter()
            .filter_map(|group| std::fs::read_to_string(group.join("cgroup.events")).ok())
            .collect();
        assert!(
            states.iter().any(|state| state.contains("frozen 1")),
            "{groups:?} {states:?}"
        );
    }
    assert_eq!(run.call(&json!({ "n": 1 })).json(), json!({ "n": 1 }));
    run.state("thawed");
    run.stop();
    ticks_only_while_thawed(script().extension("one", "ticking").run());
}

#[test]
fn switched_off_nothing_is_stopped() {
    let mut run = Script::new().with("freeze", "off").extension("one", "").run();
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
    for freeze in ["auto", "signals"] {
        let mut run = Script::new().with("freeze", freeze).extension("one", "").run();
        let pids = frozen(&mut run);
        kill(Pid::from_raw(pids[0].try_into().unwrap()), Signal::SIGKILL).unwrap();
        assert_eq!(run.process("runtime", "exited")["expected"], false);
        assert_eq!(run.call(&json!({})).status, 200);
        assert_eq!(run.state("stopped")["errorType"], "Runtime.ExitError", "{freeze}");
        run.stop();
    }
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
