//! SHUTDOWN: in the documented order, within the documented time.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use super::run::Run;
use super::script::Script;

fn ready(script: Script) -> Run {
    let mut run = script.run();
    assert_eq!(run.call(&json!({})).status, 200);
    run.state("frozen");
    run
}

#[test]
fn the_runtime_gets_sigterm_then_the_extensions_get_shutdown_and_who_ignores_it_is_killed_in_time() {
    let with = |runtime, extension| Script::new().runtime(runtime).extension("one", extension);
    for (what, script, seconds, expected) in [
        (
            "both exit by themselves",
            with("", ""),
            0.0..1.5,
            "runtime exitCode 0, extension:one exitCode 0",
        ),
        (
            "a runtime is killed after 300 ms",
            with("ignore-sigterm", ""),
            0.3..1.5,
            "runtime signal 9, extension:one exitCode 0",
        ),
        (
            "an extension is killed after two seconds in all",
            with("ignore-sigterm", "ignore-shutdown"),
            2.0..4.0,
            "runtime signal 9, extension:one signal 9",
        ),
        (
            "an extension that is not registered for SHUTDOWN is killed",
            with("", "quiet"),
            0.0..1.5,
            "runtime exitCode 0, extension:one signal 9",
        ),
        (
            "without extensions, the runtime is killed at once",
            Script::new(),
            0.0..1.5,
            "runtime signal 9",
        ),
    ] {
        let run = ready(script);
        let log = run.log.clone();
        let begun = Instant::now();
        let events = run.stop();
        let took = begun.elapsed().as_secs_f64();
        assert!(seconds.contains(&took), "{what}: {took} s");
        let exits = events.iter().filter(|event| event["state"] == "exited").map(|exit| {
            assert_eq!(exit["expected"], true, "{what}: {exit}");
            let kind = if exit["signal"].is_null() { "exitCode" } else { "signal" };
            format!("{} {kind} {}", exit["name"].as_str().unwrap(), exit[kind])
        });
        assert_eq!(exits.collect::<Vec<_>>().join(", "), expected, "{what}");
        let log = log.lock().unwrap().join("\n");
        let (asked, told) = ("runtime: SIGTERM", "extension one: \"SHUTDOWN\" \"spindown\"");
        assert_eq!(
            log.contains(asked),
            expected.starts_with("runtime exitCode"),
            "{what}: {log}"
        );
        assert!(
            !expected.ends_with("one exitCode 0") || log.contains(told),
            "{what}: {log}"
        );
    }
}

#[test]
fn an_idle_environment_spins_down_on_demand_and_a_busy_one_when_it_is_idle() {
    let mut run = ready(Script::new().extension("one", ""));
    run.signal(Signal::SIGUSR1);
    let told = run.event(|event| event["event"] == "spindown");
    assert_eq!(told["environments"], json!([1]));
    let stopped = run.state("stopped");
    assert_eq!((&stopped["id"], &stopped["reason"]), (&json!(1), &json!("spindown")));

    run.state("invoking");
    let request = run.begin(&json!({ "do": "sleep", "ms": 300 }));
    assert_eq!(run.state("invoking")["id"], 2);
    run.signal(Signal::SIGUSR1);
    assert_eq!(request.finish().json(), json!(300));
    let stopped = run.state("stopped");
    assert_eq!((&stopped["id"], &stopped["reason"]), (&json!(2), &json!("spindown")));
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
