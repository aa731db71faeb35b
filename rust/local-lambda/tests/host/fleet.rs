//! Several environments side by side.

use std::collections::HashSet;

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
    let refused = run.call(&json!({}));
    assert_eq!(refused.status, 429);
    for request in requests {
        assert_eq!(request.finish().json(), json!(1500));
    }
    let used: HashSet<_> = (0..3)
        .map(|_| run.event(|event| event["event"] == "invocation")["environment"].to_string())
        .collect();
    assert_eq!(used.len(), 3);
    run.stop();
}

#[test]
fn environments_do_not_see_each_other() {
    let mut run = Script::new().with("maxEnvironments", 2).run();
    let other = run.begin(&json!({ "do": "sleep", "ms": 500 }));
    run.state("invoking");
    let who = run.call(&json!({ "do": "who" })).json();
    assert_eq!(who["processes"], 2);
    assert_eq!(who["addresses"], json!(["lo 127.0.0.1", "vinternal_1 169.254.100.6"]));
    assert_eq!(other.finish().status, 200);
    run.stop();
}
