//! INIT: who starts when, and what happens when it fails.

use serde_json::json;

use super::script::Script;

#[test]
fn the_runtime_starts_only_after_all_extensions_have_registered() {
    let mut run = Script::new()
        .extension("one", "slow-registration")
        .extension("two", "slow-registration")
        .run();
    assert_eq!(run.call(&json!({})).status, 200);
    run.state("initialized");
    for name in ["one", "two"] {
        run.logged(&format!("extension {name}: registered"));
    }
    run.logged("runtime: started");
    let log = run.log_text();
    let place = |text: &str| log.find(text).unwrap();
    let runtime = place("runtime: started");
    assert!(place("extension one: registers") < runtime && place("extension two: registers") < runtime);
    assert!(log.contains("{\"functionName\":\"scripted\",\"functionVersion\":\"$LATEST\",\"handler\":\"bootstrap\"}"));
    run.stop();
}

#[test]
fn an_init_that_fails_twice_ends_the_environment_and_the_next_request_gets_a_fresh_one() {
    let with = |extension, runtime| Script::new().extension("one", extension).runtime(runtime);
    let gave_up = "extension one reported Scripted.Init to init/error";
    for (script, process, exit_code, error_type, message) in [
        (
            with("init-error", ""),
            "extension:one",
            1,
            "Extension.InitError",
            gave_up,
        ),
        (
            with("exit", ""),
            "extension:one",
            8,
            "Extension.Crash",
            "extension:one exited with error: exit status 8",
        ),
        (
            with("", "exit"),
            "runtime",
            3,
            "Runtime.ExitError",
            "Runtime exited with error: exit status 3",
        ),
    ] {
        let mut run = script.run();
        for id in [1, 2] {
            assert_eq!(run.call(&json!({})).status, 502);
            for _ in 0..2 {
                let exited = run.process(process, "exited");
                assert_eq!(
                    (&exited["expected"], &exited["exitCode"]),
                    (&json!(false), &json!(exit_code))
                );
            }
            let stopped = run.state("stopped");
            let failure = json!({
                "event": "environment", "state": "stopped", "id": id, "reason": "failure", "errorType": error_type,
                "message": message,
            });
            assert_eq!(stopped, failure);
        }
        run.stop();
    }
}

#[test]
fn an_init_that_succeeds_the_second_time_serves_the_request_with_tmp_kept() {
    let mut run = Script::new().extension("one", "").runtime("fail-once").run();
    assert_eq!(run.call(&json!({ "n": 1 })).json(), json!({ "n": 1 }));
    assert_eq!(run.invocation()["outcome"], "success");
    assert_eq!(run.state("initialized")["id"], 1);
    run.stop();
}

#[test]
fn an_init_without_an_end_is_cut_after_ten_seconds_and_then_after_the_functions_own_time() {
    let mut run = Script::new().with("timeoutSeconds", 1).runtime("hang").run();
    let begun = std::time::Instant::now();
    assert_eq!(run.call(&json!({})).status, 502);
    let took = begun.elapsed().as_secs_f64();
    assert!((11.0..15.0).contains(&took), "{took} s");
    assert_eq!(run.state("stopped")["reason"], "timeout");
    let invocation = run.invocation();
    assert_eq!(
        (&invocation["outcome"], &invocation["errorType"]),
        (&json!("timeout"), &json!("Sandbox.Timedout"))
    );
    run.stop();
}

#[test]
fn only_registered_extensions_get_events_and_only_known_ones_register_in_time() {
    let run = Script::new().extension("one", "lawless").run();
    let answer = run.call(&json!({ "do": "late-registration" })).json();
    assert_eq!(
        (&answer["status"], &answer["body"]["errorType"]),
        (&json!(403), &json!("Extension.RegistrationClosed"))
    );
    run.logged("extension one: unknown 403 \"Extension.UnknownExtensionIdentifier\"");
    run.logged("extension one: wrong name 403 \"Extension.RegistrationClosed\"");
    run.logged("extension one: again 403 \"Extension.InvalidExtensionState\"");
    run.stop();
}

#[test]
fn a_zip_without_a_usable_bootstrap_is_an_invalid_entrypoint() {
    let missing = "runtime could not be started: No such file or directory (os error 2)";
    let denied = "runtime could not be started: Permission denied (os error 13)";
    for (name, mode, message) in [("something-else", 0o755, missing), ("bootstrap", 0o644, denied)] {
        let mut run = Script::new().handler(name, mode).run();
        assert_eq!(run.call(&json!({})).status, 502);
        let stopped = run.state("stopped");
        assert_eq!(
            (&stopped["errorType"], &stopped["message"]),
            (&json!("Runtime.InvalidEntrypoint"), &json!(message))
        );
        run.stop();
    }
}
