//! Every case straight to the target and through the function: what comes back, and what the target saw, must be equal.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use testbed::{
    caller_layer::CallerLayer,
    lambda::Function,
    raw_target::{Move, RawTarget, Seen},
    stack::TestStack,
    target,
};

use crate::{
    SuiteContext, TestResult,
    cases::{self, Case},
    exceptions::{
        Needed, all_needed, expected_answer, expected_host, expected_line, expected_request, received_answer,
    },
    exchange::{Answer, Way, headers, straight, through},
    stream,
};

/// How many cases there are: one that got lost would not be missed otherwise.
const CASES: usize = 168;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "differential: BUFFERED, every case is equal" => |context| compare(context, Way::Signed, false),
        "differential: RESPONSE_STREAM, every case is equal" => |context| compare(context, Way::Signed, true),
        "differential: by the caller's layer, every case is equal, headers that AWS renames included"
            => |context| compare(context, Way::Layer, false),
        "differential: by the caller's layer and Lambda's Invoke API, every case is equal"
            => |context| compare(context, Way::LayerInvoke, false),
    ]
}

async fn compare(context: Arc<SuiteContext>, way: Way, streamed: bool) -> TestResult {
    let adjust = |function: &mut Function| {
        if streamed {
            stream(function);
            // The caller has a streamed answer before the environment asks for the next request.
            function.settings.insert("maxEnvironments".into(), 3.into());
        }
    };
    let stack = context.stack(adjust).await?;
    let (binaries, run_dir, url) = (&context.binaries, &context.run_dir, stack.url());
    let layer = match way {
        Way::Signed => None,
        Way::Layer => Some(CallerLayer::start(binaries, run_dir, &url.address, &url.caller).await?),
        Way::LayerInvoke => Some(CallerLayer::start_by_invoke(binaries, run_dir, &stack.invoke_api(), "").await?),
    };
    compare_all(&stack, way).await?;
    drop(layer);
    stack.end().await
}

async fn compare_all(stack: &TestStack, way: Way) -> TestResult {
    let raw = RawTarget::start().await?;
    let mut needed = Needed::new();
    let mut wrong = Vec::new();
    let cases = cases::all();
    assert_eq!(cases.len(), CASES, "cases");
    for case in &cases {
        let outcome = match &case.answer {
            None => httpbin(case, stack, way, &mut needed).await,
            Some((answer, close)) => {
                let mut moves = vec![Move::Send(answer.clone())];
                moves.extend(close.then_some(Move::Close));
                raw.play(moves);
                written(case, stack, way, &raw, &mut needed).await
            }
        };
        if let Err(difference) = outcome {
            wrong.push(format!(
                "{}\n    {}",
                case.title(),
                difference.message().unwrap_or("failed")
            ));
        }
    }
    eprintln!(
        "{way:?}: {} of {} cases equal; exceptions needed: {needed:?}",
        cases.len() - wrong.len(),
        cases.len()
    );
    if wrong.is_empty() {
        return all_needed(&needed, way);
    }
    Err(format!("{} cases differ:\n{}", wrong.len(), wrong.join("\n")).into())
}

/// A case for go-httpbin, which answers with what it saw.
async fn httpbin(case: &Case, stack: &TestStack, way: Way, needed: &mut Needed) -> TestResult {
    let mut direct = straight(case, stack, target::PORT).await?;
    let mut proxied = through(case, stack, way, target::PORT).await?;
    hide_time(&mut direct, "date");
    hide_time(&mut proxied, way.date());
    equal_answers(direct, proxied, &case.method, way, needed)
}

/// Sent at another second, it may be another date; go-httpbin's answers were last modified now, and an etag may begin with
/// that in hexadecimal digits.
fn hide_time(answer: &mut Answer, date: &str) {
    let values = |name: &str| answer.headers.get(name).cloned().unwrap_or_default();
    let modified: String = values("last-modified")
        .concat()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let of_time = !modified.is_empty() && values("etag").concat().starts_with(modified.as_bytes());
    for name in [date, "last-modified"].into_iter().chain(of_time.then_some("etag")) {
        if let Some(values) = answer.headers.get_mut(name) {
            *values = vec![Bytes::from_static(b"(some time)")];
        }
    }
}

/// A case for the raw target, which answers as the case says, and tells what it saw.
async fn written(case: &Case, stack: &TestStack, way: Way, raw: &RawTarget, needed: &mut Needed) -> TestResult {
    let port = raw.address().port();
    let (direct, saw_direct) = watched(raw, straight(case, stack, port)).await?;
    let (proxied, saw_proxied) = watched(raw, through(case, stack, way, port)).await?;
    equal_answers(direct, proxied, &case.method, way, needed)?;
    let pairs = |seen: &Seen| {
        headers(
            seen.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice())),
        )
    };
    equal(
        "the request line",
        expected_line(&saw_direct.line, needed),
        saw_proxied.line.clone(),
    )?;
    let expected = expected_request(pairs(&saw_direct), &case.method, saw_direct.body.len(), needed);
    let expected = if way.by_layer() {
        let host = format!("{}:{port}", stack.backends.target.node.address());
        expected_host(expected, &host, needed)
    } else {
        expected
    };
    equal("the request's headers", expected, pairs(&saw_proxied))?;
    equal("the request's body", &saw_direct.body, &saw_proxied.body)
}

async fn watched(
    raw: &RawTarget,
    send: impl Future<Output = Result<Answer, Failed>>,
) -> Result<(Answer, Seen), Failed> {
    let since = raw.seen().len();
    let answer = send.await?;
    let seen = raw.only_since(since).ok_or_else(|| {
        let count = raw.seen().len() - since;
        format!(
            "the target saw {count} requests instead of one; the answer is {}: {}",
            answer.status,
            answer.body.escape_ascii()
        )
    })?;
    Ok((answer, seen))
}

fn equal_answers(direct: Answer, proxied: Answer, method: &str, way: Way, needed: &mut Needed) -> TestResult {
    let expected = expected_answer(direct, method, way, needed);
    let received = received_answer(proxied, &expected, method);
    equal("the status", expected.status, received.status)?;
    equal("the answer's headers", &expected.headers, &received.headers)?;
    equal("the answer's body", &expected.body, &received.body)
}

fn equal<T: PartialEq + Debug>(what: &str, expected: T, found: T) -> TestResult {
    if expected == found {
        return Ok(());
    }
    let shown = |value: T| format!("{value:?}").chars().take(2000).collect::<String>();
    Err(format!(
        "{what}: straight {}, through the function {}",
        shown(expected),
        shown(found)
    )
    .into())
}
