//! Golden events: what the function sees of a request.

use std::fs;
use std::path::Path;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::Value;

use super::client::{Signer, request, send};
use super::url::{Url, role, user};

/// One file of `tests/events`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    /// Where the form of the event comes from: documents, recordings or reports.
    source: Vec<String>,
    /// What this file is to show.
    shows: String,
    caller: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// The event; `{requestId}` and `{traceId}` stand for what changes, `{contentSha256}` is not written out.
    event: Value,
}

#[tokio::test]
async fn requests_become_the_documented_events() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 7, "{files:?}");
    for file in files {
        let golden: Golden = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert!(
            golden.source.iter().all(|source| source.starts_with("https://")),
            "{}",
            file.display()
        );
        check(&file, golden).await;
    }
}

async fn check(file: &Path, golden: Golden) {
    let url = Url::answering("{}").await;
    let method = Method::from_bytes(golden.method.as_bytes()).unwrap();
    let mut request = request(method, &golden.target, url.address, golden.body.clone());
    for (name, value) in &golden.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    let caller = if golden.caller == "role" { role() } else { user() };
    let signed = Signer {
        caller,
        ..Signer::default()
    }
    .sign(request)
    .await;
    let digest = signed.headers()["x-amz-content-sha256"].to_str().unwrap().to_owned();
    let received = send(signed).await;
    assert_eq!(received.status, 200, "{}: {}", file.display(), received.text());

    let request_id = received.headers["x-amzn-requestid"].to_str().unwrap();
    let trace = received.headers["x-amzn-trace-id"].to_str().unwrap();
    let trace_id = trace.strip_suffix(";sampled=0").unwrap().replace("root=", "Root=");
    let expected = golden.event.to_string();
    let expected = expected
        .replace("{requestId}", request_id)
        .replace("{traceId}", &trace_id);
    let expected: Value = serde_json::from_str(&expected.replace("{contentSha256}", &digest)).unwrap();
    assert_eq!(url.event(), expected, "{} ({})", file.display(), golden.shows);
    assert_eq!(url.seen.lock().unwrap()[0].request_id, request_id);
}
