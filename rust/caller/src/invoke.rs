//! The other way to the tailnet's proxy, by Lambda's Invoke API: a request becomes the event that a Function URL would make
//! of it, and the function's answer the response that a Function URL would make of that.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, response::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tailnet::{
    event_body::{decode, header_value_text, with_body},
    intermediary::remove_hop_by_hop,
};

use crate::{
    body::{Body, whole},
    error::{CallError, Sent},
    request::{BODY_LIMIT, too_large},
    response::{Call, admitted, error_type, has_body, is_throttled, mark_throttled, words},
};

/// The most that is read of an answer: twice of what Lambda lets a function give, so that Lambda's limit counts.
const ANSWER_LIMIT: usize = 12 * 1024 * 1024;
/// The header that says that the function failed.
const FUNCTION_ERROR: &str = "x-amz-function-error";
/// What is between head and body where the proxy streams.
const HEAD_END: [u8; 8] = [0; 8];

/// What the proxy's function answers; with a body of its own where the proxy does not stream.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Turns a request for the proxy into an invocation of `function`, an ARN, that is still to be signed.
pub(crate) fn request(request: Request<Bytes>, function: &str) -> Result<Request<Bytes>, CallError> {
    let (head, body) = request.into_parts();
    let event = json!({
        "version": "2.0",
        "rawPath": head.uri.path(),
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers(&head.headers),
        "cookies": cookies(&head.headers),
        "requestContext": {"http": {"method": head.method.as_str(), "path": head.uri.path()}},
    });
    let payload = with_body(event.to_string(), &body);
    if payload.len() > BODY_LIMIT {
        return Err(too_large());
    }
    let name = function.replace(':', "%3A").replace('$', "%24");
    let mut invocation = Request::post(format!("/2015-03-31/functions/{name}/invocations"));
    if let Some(host) = head.headers.get(header::HOST) {
        invocation = invocation.header(header::HOST, host);
    }
    invocation
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(payload))
        .map_err(|error| CallError::InvalidRequest(format!("the request cannot be sent on: {error}")))
}

/// The headers but `host`, which is the endpoint's; repeated ones joined. The cookies are among them too, as the client
/// wrote them.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let names = headers.keys().filter(|name| **name != header::HOST);
    let joined = names.map(|name| {
        let separator = if *name == header::COOKIE { "; " } else { "," };
        (name.as_str().to_owned(), texts(headers, name).join(separator).into())
    });
    joined.collect()
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = texts(headers, &header::COOKIE).join(";");
    let pairs = all.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(str::to_owned).collect()
}

fn texts(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| header_value_text(value.as_bytes())).collect()
}

/// Turns the answer to an invocation into the target's response; or says why there is none.
pub(crate) async fn response(
    response: Response<Incoming>,
    method: &Method,
    call: &Call<'_>,
) -> Result<Response<Body>, CallError> {
    let (mut head, body) = admitted(response, call).await?.into_parts();
    if is_throttled(&head) {
        remove_hop_by_hop(&mut head.headers);
        mark_throttled(&mut head);
        return Ok(Response::from_parts(head, body.boxed_unsync()));
    }
    if !head.status.is_success() {
        return Err(not_invoked(&head, &words(body).await, call));
    }
    if head.headers.contains_key(FUNCTION_ERROR) {
        let words = words(body).await;
        return Err(CallError::ProxyFailed(format!(
            "the tailnet's proxy {} failed: {words}",
            call.called
        )));
    }
    let answer = Limited::new(body, ANSWER_LIMIT).collect().await;
    let answer = answer.map_err(|error| CallError::Unreachable {
        message: format!(
            "the answer of the tailnet's proxy {} ended too early: {error}",
            call.called
        ),
        sent: Sent::Unknown,
    })?;
    read(&answer.to_bytes(), method).map_err(|why| {
        CallError::ProxyFailed(format!(
            "the answer of {} is not that of a tailnet's proxy ({why}): check TS_PROXY_FUNCTION",
            call.called
        ))
    })
}

fn not_invoked(head: &Parts, words: &str, call: &Call<'_>) -> CallError {
    let error_type = error_type(head).unwrap_or_else(|| head.status.to_string());
    CallError::Unreachable {
        message: format!("AWS did not invoke {}: {error_type}: {words}", call.called),
        sent: if head.status.is_client_error() {
            Sent::No
        } else {
            Sent::Unknown
        },
    }
}

/// The error says what is wrong with the answer.
fn read(bytes: &Bytes, method: &Method) -> Result<Response<Body>, String> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Answer>();
    let answer = values.next().ok_or("it is empty")?.map_err(|error| error.to_string())?;
    let rest = bytes.slice(values.byte_offset()..);
    let body = if rest.starts_with(&HEAD_END) {
        rest.slice(HEAD_END.len()..)
    } else {
        decode(answer.body, answer.is_base64_encoded).ok_or("its body is not the base64 that it says")?
    };
    let status = StatusCode::from_u16(answer.status_code).map_err(|error| error.to_string())?;
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let pairs = answer
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let cookies = answer.cookies.iter().map(|cookie| ("set-cookie", cookie.as_str()));
    for (name, value) in pairs.chain(cookies) {
        let illegal = || format!("its header {} is not one that HTTP allows", name.escape_default());
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| illegal())?;
        headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| illegal())?, value);
    }
    remove_hop_by_hop(headers);
    if has_body(method, status) {
        // It is of the body that is here.
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:111122223333:function:proxy:live";

    fn event(request: Request<Bytes>) -> Value {
        serde_json::from_slice(super::request(request, ARN).unwrap().body()).unwrap()
    }

    #[test]
    fn a_request_becomes_the_event_that_a_function_url_makes_of_it() {
        let request = Request::put("/a%20b?q=%C3%A9&q=2")
            .header("host", "lambda.eu-west-1.amazonaws.com")
            .header("x-a", "1")
            .header("x-a", "2")
            .header("cookie", "a=1; b=2")
            .header("cookie", "c=3")
            .body(Bytes::from_static(b"\xff\0"))
            .unwrap();
        let expected = json!({
            "version": "2.0", "rawPath": "/a%20b", "rawQueryString": "q=%C3%A9&q=2",
            "headers": {"x-a": "1,2", "cookie": "a=1; b=2; c=3"}, "cookies": ["a=1", "b=2", "c=3"],
            "requestContext": {"http": {"method": "PUT", "path": "/a%20b"}},
            "body": "/wA=", "isBase64Encoded": true,
        });
        assert_eq!(event(request), expected);
    }

    #[test]
    fn the_function_is_named_by_its_arn_in_the_path_alone() {
        let request = Request::get("/").header("host", "h").body(Bytes::new()).unwrap();
        let invocation = super::request(request, ARN).unwrap();
        assert_eq!(
            invocation.uri(),
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A111122223333%3Afunction%3Aproxy%3Alive/invocations"
        );
        assert_eq!(
            (invocation.method(), &invocation.headers()["host"]),
            (&Method::POST, &HeaderValue::from_static("h"))
        );
    }

    #[test]
    fn what_lambda_would_not_take_is_refused_by_its_size_as_json() {
        let sized =
            |byte, length| super::request(Request::post("/").body(Bytes::from(vec![byte; length])).unwrap(), ARN);
        assert!(sized(b'a', BODY_LIMIT - 1024).is_ok());
        assert!(matches!(sized(b'a', BODY_LIMIT), Err(CallError::RequestTooLarge(_))));
        assert!(sized(0xff, BODY_LIMIT / 4 * 3 - 1024).is_ok());
        assert!(matches!(
            sized(0xff, BODY_LIMIT / 4 * 3),
            Err(CallError::RequestTooLarge(_))
        ));
    }

    async fn answered(bytes: &[u8], method: Method) -> (Parts, Bytes) {
        let (head, body) = read(&Bytes::copy_from_slice(bytes), &method).unwrap().into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn an_answer_becomes_the_response_that_a_function_url_makes_of_it() {
        let answer = json!({
            "statusCode": 207, "headers": {"date": "then", "content-length": "99"}, "cookies": ["a=1", "b=2"],
            "body": "/wA=", "isBase64Encoded": true,
        });
        let (head, body) = answered(answer.to_string().as_bytes(), Method::GET).await;
        assert_eq!((head.status.as_u16(), &body[..]), (207, &b"\xff\0"[..]));
        assert_eq!(texts(&head.headers, &header::SET_COOKIE), ["a=1", "b=2"]);
        assert_eq!(
            (&head.headers["date"], head.headers.get("content-length")),
            (&HeaderValue::from_static("then"), None)
        );
        let (head, _) = answered(answer.to_string().as_bytes(), Method::HEAD).await;
        assert_eq!(
            head.headers["content-length"], "99",
            "of the body that HEAD does not get"
        );
    }

    #[tokio::test]
    async fn a_streamed_answer_has_its_body_after_its_head() {
        let (head, body) = answered(
            b"{\"statusCode\":201,\"headers\":{\"x-a\":\"1\"}}\0\0\0\0\0\0\0\0a\0b",
            Method::GET,
        )
        .await;
        assert_eq!(
            (head.status.as_u16(), &head.headers["x-a"]),
            (201, &HeaderValue::from_static("1"))
        );
        assert_eq!(body, "a\0b");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (bytes, why) in [
            ("", "empty"),
            ("null", "invalid type"),
            ("{}", "statusCode"),
            (r#"{"statusCode":99}"#, "status code"),
            (r#"{"statusCode":200,"headers":{"a b":"1"}}"#, "header a b"),
            (r#"{"statusCode":200,"body":"?","isBase64Encoded":true}"#, "base64"),
        ] {
            let message = read(&Bytes::from(bytes), &Method::GET).unwrap_err();
            assert!(message.contains(why), "{bytes}: {message}");
        }
    }
}
