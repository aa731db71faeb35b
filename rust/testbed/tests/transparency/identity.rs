//! Who asked, as the target hears it: from the proxy, and from nobody else.

use std::sync::Arc;

use bytes::Bytes;
use libtest_mimic::Trial;
use testbed::raw_target::{Move, RawTarget};

use crate::{SuiteContext, TestResult, set};

const CALLER: &str = "arn:aws:iam::123456789012:user/local-caller";
/// What a caller would like to be taken for.
const FORGED: &str = "arn:aws:iam::123456789012:role/admin";

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "identity: the target receives the caller's ARN if the owner enables it, and no caller can forge it" => heard,
    ]
}

async fn heard(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| set(function, "TS_FORWARD_CALLER_ARN", "true"))
        .await?;
    let target = RawTarget::start().await?;
    target.play([Move::Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into())]);
    let address = stack.backends.target.node.address().to_string();
    // CGI reads an underscore as it reads a hyphen; `connection` would take the header away as one of a single hop.
    for (name, value) in [
        ("ts-caller-arn", FORGED),
        ("ts_caller_arn", FORGED),
        ("connection", "ts-caller-arn"),
        ("x-own", "1"),
    ] {
        let since = target.seen().len();
        let request = stack.url().request_to(&address, target.address().port(), "GET", "/");
        let request = request.header(name, value).body(Bytes::new())?;
        let answer = stack.url().send(request).await?;
        assert_eq!(answer.status(), 200, "{name}: {answer:?}");
        let seen = target
            .only_since(since)
            .ok_or("the target saw no request, or several")?;
        let arns: Vec<&[u8]> = seen
            .headers
            .iter()
            .filter(|(name, _)| name.replace('_', "-") == "ts-caller-arn")
            .map(|(_, value)| value.as_slice())
            .collect();
        assert_eq!(arns, [CALLER.as_bytes()], "{name}: {seen:?}");
    }
    stack.end().await
}
