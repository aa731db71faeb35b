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
fn an_extensions_init_error_ends_the_environment_and_the_next_request_gets_a_fresh_one() {
    let mut run = Script::new().extension("one", "init-error").run();
    for id in [1, 2] {
        assert_eq!(run.call(&json!({})).status, 502);
        let exited = run.process("extension:one", "exited");
        assert_eq!((&exited["expected"], &exited["exitCode"]), (&json!(false), &json!(1)));
        let stopped = run.state("stopped");
        assert_eq!((&stopped["id"], &stopped["reason"]), (&json!(id), &json!("failure")));
        assert_eq!(stopped["errorType"], "Extension.InitError");
        assert_eq!(stopped["message"], "extension one reported Scripted.Init to init/error");
        // The suppressed init's.
        run.process("extension:one", "exited");
    }
    run.stop();
}

#[test]
fn an_extension_that_exits_in_init_is_named() {
    let mut run = Script::new().extension("one", "exit").run();
    assert_eq!(run.call(&json!({})).status, 502);
    let stopped = run.state("stopped");
    assert_eq!(stopped["errorType"], "Extension.Crash");
    assert_eq!(stopped["message"], "extension:one exited with error: exit status 8");
    run.stop();
}

#[test]
fn a_runtime_that_exits_in_init_is_tried_once_more_with_the_invocation() {
    let mut run = Script::new().extension("one", "").runtime("exit").run();
    assert_eq!(run.call(&json!({})).status, 502);
    for _ in 0..2 {
        let exited = run.process("runtime", "exited");
        assert_eq!((&exited["expected"], &exited["exitCode"]), (&json!(false), &json!(3)));
    }
    let stopped = run.state("stopped");
    assert_eq!(stopped["errorType"], "Runtime.ExitError");
    assert_eq!(stopped["message"], "Runtime exited with error: exit status 3");
    run.logged(r#"extension one: "SHUTDOWN" "failure""#);
    run.stop();
}

#[test]
fn an_init_that_succeeds_the_second_time_serves_the_request_with_tmp_kept() {
    let mut run = Script::new().extension("one", "").runtime("fail-once").run();
    assert_eq!(run.call(&json!({ "n": 1 })).json(), json!({ "n": 1 }));
    assert_eq!(run.event(|event| event["event"] == "invocation")["outcome"], "success");
    assert_eq!(run.state("initialized")["id"], 1);
    run.stop();
}

#[test]
fn what_the_runtime_reports_to_init_error_names_the_failure() {
    let mut run = Script::new().runtime("init-error").run();
    assert_eq!(run.call(&json!({})).status, 502);
    let stopped = run.state("stopped");
    assert_eq!(stopped["errorType"], "Runtime.Scripted");
    assert_eq!(stopped["message"], "as the script says");
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
    let invocation = run.event(|event| event["event"] == "invocation");
    assert_eq!(
        (&invocation["outcome"], &invocation["errorType"]),
        (&json!("timeout"), &json!("Sandbox.Timedout"))
    );
    run.stop();
}

#[test]
fn an_extension_may_not_register_under_another_name() {
    let run = Script::new().extension("one", "wrong-name").run();
    assert_eq!(run.call(&json!({})).status, 200);
    run.logged("extension one: wrong name 403 \"Extension.RegistrationClosed\"");
    run.stop();
}

#[test]
fn an_unknown_extension_identifier_is_refused() {
    let run = Script::new().extension("one", "unknown").run();
    assert_eq!(run.call(&json!({})).status, 200);
    run.logged("extension one: unknown 403 \"Extension.UnknownExtensionIdentifier\"");
    run.stop();
}

#[test]
fn registering_after_init_is_refused() {
    let run = Script::new().run();
    let answer = run.call(&json!({ "do": "late-registration" })).json();
    assert_eq!(
        (&answer["status"], &answer["body"]["errorType"]),
        (&json!(403), &json!("Extension.RegistrationClosed"))
    );
    run.stop();
}

#[test]
fn a_zip_without_a_usable_bootstrap_is_an_invalid_entrypoint() {
    let cases = [
        (
            "something-else",
            0o755,
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        ),
        (
            "bootstrap",
            0o644,
            "runtime could not be started: Permission denied (os error 13)",
        ),
    ];
    for (name, mode, message) in cases {
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
