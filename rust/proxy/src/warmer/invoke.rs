//! One warm-up: an invocation of the proxy through Lambda's API.

use std::time::Duration;

use crate::warm_up::{Payload, Warm, WarmUp};
use bytes::Bytes;
use http::Response;
use lambda_env::aws::{Access, Call, CallError, Wire};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::config::Config;

/// How long one warm-up may take. A new environment has 10 s for its start, and waits 5 s more for its tailnet.
const LIMIT: Duration = Duration::from_secs(40);

/// All but what RFC 3986 section 2.3 calls unreserved: a function may be named by its ARN.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Invokes one function.
#[derive(Debug, Clone)]
pub struct Invoker {
    access: Access,
    wire: Wire,
    /// The resource that it is invoked by: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
    path: String,
}

/// What a failed invocation says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    error_message: String,
}

/// What Lambda says of an invocation that it refuses.
#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(alias = "message", rename = "Message")]
    message: Option<String>,
}

impl Invoker {
    /// One for the function that `config` names.
    pub fn new(config: &Config) -> Self {
        let function = utf8_percent_encode(&config.function, RESERVED);
        Self {
            access: config.access.clone(),
            wire: config.access.wire(),
            path: format!("2015-03-31/functions/{function}/invocations"),
        }
    }

    /// Invokes it once; the error says what went wrong, and where to mend it. A warm-up that comes later than the others may
    /// meet an environment that one of them has warmed: the next round makes up for one that was lost.
    pub(crate) async fn invoke(&self, warm_up: WarmUp) -> Result<Warm, String> {
        let body = serde_json::to_string(&Payload { warm_up }).map_err(|error| error.to_string())?;
        let call = Call {
            service: "lambda",
            path: &self.path,
            content_type: "application/json",
            target: None,
            body: &body,
        };
        let response = match call.attempt(&self.access, &self.wire, LIMIT).await {
            Ok(response) => response,
            Err(CallError::Refused(response)) => return Err(refused(&response)),
            Err(CallError::NoResponse(reason)) => return Err(reason),
        };
        let text = response.body();
        match header(&response, "x-amz-function-error") {
            None => serde_json::from_slice(text).map_err(|error| {
                let text: String = String::from_utf8_lossy(text).chars().take(200).collect();
                format!("the answer is not the proxy's ({error}): {text}")
            }),
            Some(kind) => {
                let words = serde_json::from_slice::<FunctionError>(text).map(|error| error.error_message);
                Err(format!(
                    "{kind}: {}",
                    words.unwrap_or_else(|_| "the function failed without words".to_owned())
                ))
            }
        }
    }
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The code is in a header, with more behind a colon
/// (<https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization>).
fn refused(response: &Response<Bytes>) -> String {
    let Some(code) = header(response, "x-amzn-errortype").and_then(|kind| kind.split(':').next()) else {
        return format!("status {}", response.status());
    };
    let refusal: Refusal = serde_json::from_slice(response.body()).unwrap_or_default();
    let message = refusal.message.as_deref().unwrap_or("no more words");
    format!("{code}: {message}; {}", remedy(code))
}

/// Where to mend it, by the codes of <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
fn remedy(code: &str) -> &'static str {
    match code {
        "AccessDeniedException" => "let the warmer's role do lambda:InvokeFunction on the proxy's function",
        "TooManyRequestsException" => {
            "the proxy's reserved concurrency, or the account's, is below the number of environments to keep warm"
        }
        "ResourceNotFoundException" => "check TS_WARMER_FUNCTION, alias included",
        _ => "the next round tries again",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refusal(kind: Option<&str>, body: &'static str) -> String {
        let mut response = Response::builder().status(429);
        if let Some(kind) = kind {
            response = response.header("x-amzn-errortype", kind);
        }
        refused(&response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn a_function_is_invoked_by_name_or_arn() {
        for (function, path) in [
            ("proxy", "2015-03-31/functions/proxy/invocations"),
            (
                "arn:aws:lambda:eu-west-1:111122223333:function:a_b:live",
                "2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A111122223333%3Afunction%3Aa_b%3Alive/invocations",
            ),
        ] {
            let config = Config {
                function: function.into(),
                invocations: 1,
                access: Access::default(),
                debug: false,
            };
            assert_eq!(Invoker::new(&config).path, path);
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_remedy() {
        let told = refusal(
            Some("TooManyRequestsException:http://internal"),
            r#"{"Type":"User","message":"Rate"}"#,
        );
        assert!(
            told.starts_with("TooManyRequestsException: Rate; the proxy's reserved concurrency"),
            "{told}"
        );
        let told = refusal(Some("AccessDeniedException"), r#"{"Message":"not authorized"}"#);
        assert!(
            told.starts_with("AccessDeniedException: not authorized; let the warmer's role"),
            "{told}"
        );
        assert_eq!(
            refusal(Some("Unknown"), "<html>"),
            "Unknown: no more words; the next round tries again"
        );
        assert_eq!(refusal(None, ""), "status 429 Too Many Requests");
    }
}
