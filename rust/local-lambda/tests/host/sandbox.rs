//! Where the function runs.

use serde_json::json;

use super::run::Script;

#[test]
fn smoke() {
    let mut run = Script::new().extension("one", "").run();
    let answer = run.call(&json!({ "do": "who" }));
    eprintln!("{answer:?}\n{:#?}", answer.json());
    run.state("frozen");
    eprintln!("{}", run.log_text());
    let events = run.stop();
    eprintln!("{events:#?}");
}
