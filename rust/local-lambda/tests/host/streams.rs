//! Streamed answers.

use serde_json::json;

use super::run::Run;
use super::script::Script;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn streaming() -> Run {
    Script::new().with("invokeMode", "RESPONSE_STREAM").run()
}

#[test]
fn a_stream_passes_and_ends() {
    let mut run = streaming();
    let answer = run.call(&json!({ "do": "stream" }));
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with(LAST_CHUNK), "{answer:?}");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(
        ["one ", "two ", "three"].iter().all(|piece| text.contains(piece)),
        "{text}"
    );
    assert_eq!(run.event(|event| event["event"] == "invocation")["outcome"], "success");
    run.logged("runtime: stream answered 202");
    assert_eq!(
        run.call(&json!({ "do": "stream" })).status,
        200,
        "the environment is free at once"
    );
    run.stop();
}

#[test]
fn a_stream_that_breaks_off_never_looks_complete() {
    for end in ["trailers", "abort", "exit"] {
        let mut run = streaming();
        let answer = run.call(&json!({ "do": "stream", "end": end }));
        assert!(!answer.body.ends_with(LAST_CHUNK), "{end}: {answer:?}");
        assert_eq!(
            run.event(|event| event["event"] == "invocation")["outcome"],
            "error",
            "{end}"
        );
        run.stop();
    }
}

#[test]
fn a_stream_that_stands_still_ends_with_the_functions_time() {
    let mut run = Script::new()
        .with("invokeMode", "RESPONSE_STREAM")
        .with("timeoutSeconds", 1)
        .run();
    let answer = run.call(&json!({ "do": "stream", "end": "hang" }));
    assert_eq!(answer.status, 200);
    assert!(!answer.body.ends_with(LAST_CHUNK), "{answer:?}");
    assert_eq!(run.event(|event| event["event"] == "invocation")["outcome"], "timeout");
    run.stop();
}

#[test]
fn a_buffered_url_collects_what_is_streamed() {
    let run = Script::new().run();
    let answer = run.call(&json!({ "do": "stream" }));
    assert_eq!(String::from_utf8(answer.body).unwrap(), "one two three");
    run.stop();
}
