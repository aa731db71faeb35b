//! SHUTDOWN: in the documented order, within the documented time.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::run::Run;
use super::script::Script;

/// Ends the run, and gives how long that took, and how processes exited, in order.
fn shut_down(run: Run) -> (f64, Vec<Value>) {
    let begun = Instant::now();
    let events = run.stop();
    let exits = events.into_iter().filter(|event| event["state"] == "exited");
    (begun.elapsed().as_secs_f64(), exits.collect())
}

fn ready(script: Script) -> Run {
    let mut run = script.run();
    assert_eq!(run.call(&json!({})).status, 200);
    run.state("frozen");
    run
}

#[test]
fn the_runtime_gets_sigterm_and_then_the_extensions_get_shutdown() {
    let run = ready(Script::new().extension("one", "").extension("two", ""));
    let log = run.log.clone();
    let (took, exits) = shut_down(run);
    assert!(took < 1.5, "{took} s");
    let names: Vec<_> = exits.iter().map(|exit| exit["name"].as_str().unwrap()).collect();
    assert_eq!(names[0], "runtime");
    assert_eq!(names.len(), 3);
    assert!(
        exits
            .iter()
            .all(|exit| exit["exitCode"] == 0 && exit["expected"] == true),
        "{exits:?}"
    );
    let log = log.lock().unwrap().join("\n");
    for line in [
        "runtime: SIGTERM",
        "extension one: \"SHUTDOWN\" \"spindown\"",
        "extension two: \"SHUTDOWN\" \"spindown\"",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
}

#[test]
fn a_runtime_that_ignores_sigterm_is_killed_after_300_ms() {
    let run = ready(Script::new().runtime("ignore-sigterm").extension("one", ""));
    let (took, exits) = shut_down(run);
    assert!((0.3..1.5).contains(&took), "{took} s");
    assert_eq!((&exits[0]["name"], &exits[0]["signal"]), (&json!("runtime"), &json!(9)));
    assert_eq!(
        (&exits[1]["name"], &exits[1]["exitCode"]),
        (&json!("extension:one"), &json!(0))
    );
}

#[test]
fn an_extension_that_ignores_shutdown_is_killed_after_two_seconds_in_all() {
    let run = ready(
        Script::new()
            .runtime("ignore-sigterm")
            .extension("one", "ignore-shutdown"),
    );
    let (took, exits) = shut_down(run);
    assert!((2.0..4.0).contains(&took), "{took} s");
    assert_eq!(
        (&exits[1]["name"], &exits[1]["signal"]),
        (&json!("extension:one"), &json!(9))
    );
}

#[test]
fn an_extension_that_is_not_registered_for_shutdown_is_killed() {
    let run = ready(Script::new().extension("one", "quiet"));
    let (took, exits) = shut_down(run);
    assert!(took < 1.5, "{took} s");
    assert_eq!(
        (&exits[1]["name"], &exits[1]["signal"]),
        (&json!("extension:one"), &json!(9))
    );
}

#[test]
fn without_extensions_the_runtime_is_killed_at_once() {
    let run = ready(Script::new());
    let (took, exits) = shut_down(run);
    assert!(took < 1.5, "{took} s");
    assert_eq!((&exits[0]["name"], &exits[0]["signal"]), (&json!("runtime"), &json!(9)));
}

#[test]
fn an_idle_environment_spins_down_on_demand() {
    let mut run = ready(Script::new().extension("one", ""));
    run.signal(Signal::SIGUSR1);
    let told = run.event(|event| event["event"] == "spindown");
    assert_eq!(told["environments"], json!([1]));
    let stopped = run.state("stopped");
    assert_eq!((&stopped["id"], &stopped["reason"]), (&json!(1), &json!("spindown")));
    run.logged("extension one: \"SHUTDOWN\" \"spindown\"");
    assert_eq!(run.call(&json!({})).status, 200);
    assert_eq!(run.state("frozen")["id"], 2);
    run.stop();
}

#[test]
fn a_busy_environment_spins_down_when_it_is_idle() {
    let mut run = Script::new().run();
    let request = run.begin(&json!({ "do": "sleep", "ms": 300 }));
    run.state("invoking");
    run.signal(Signal::SIGUSR1);
    assert_eq!(request.finish().json(), json!(300));
    assert_eq!(run.state("stopped")["reason"], "spindown");
    run.stop();
}

#[test]
fn requests_in_flight_are_answered_when_local_lambda_ends() {
    let mut run = Script::new().extension("one", "").run();
    let request = run.begin(&json!({ "do": "hang" }));
    run.state("invoking");
    let begun = Instant::now();
    run.stop();
    assert_eq!(request.finish().status, 502);
    assert!(begun.elapsed().as_secs_f64() < 3.0);
}
