//! What goes to the target: the event turned back into the request that the caller sent.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use tailnet::{event_body::decode, intermediary::remove_hop_by_hop};

use crate::{
    error::ProxyError,
    event::Event,
    headers::{CALLER_ARN, forwarded_name},
    signature::without_signature,
    target::Target,
};

/// A request for a target; its body is shared, so that it can be sent a second time.
pub type Outgoing = Request<Full<Bytes>>;

/// How many headers a request may have: no server takes nearly as many, and a map of headers does not hold three times
/// as many.
const MAX_HEADERS: usize = 12_000;

/// Builds the request for `target` from `event`.
pub fn build(event: Event, target: &Target) -> Result<Outgoing, ProxyError> {
    let method = method(&event.request_context.http.method)?;
    let uri = uri(&method, &event.raw_path, &without_signature(&event.raw_query_string))?;
    let mut headers = request_headers(&event, target)?;
    let body = decode(event.body.unwrap_or_default(), event.is_base64_encoded)
        .ok_or_else(|| ProxyError::InvalidRequest("the body is not the base64 that it says".into()))?;
    set_length(&mut headers, &method, body.len());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Tells the target who asked. What a caller sent under that name has stopped here, and its `connection` header cannot
/// name this one: the hop-by-hop headers are gone by now.
pub fn set_caller(request: &mut Outgoing, arn: &str) -> Result<(), ProxyError> {
    let value = HeaderValue::from_str(arn).map_err(|_| {
        ProxyError::InvalidRequest("the caller's ARN has characters that no header can hold".to_owned())
    })?;
    request.headers_mut().insert(CALLER_ARN, value);
    Ok(())
}

fn method(name: &str) -> Result<Method, ProxyError> {
    match Method::from_bytes(name.as_bytes()) {
        Ok(Method::CONNECT) => Err(ProxyError::InvalidRequest(
            "the method CONNECT asks for a tunnel, which a request and its answer cannot be".to_owned(),
        )),
        Ok(method) => Ok(method),
        Err(_) => Err(ProxyError::InvalidRequest(format!(
            "the method is '{}': it must be a token (RFC 9110 section 9.1)",
            name.escape_default()
        ))),
    }
}

/// Origin form, or `*` for OPTIONS (RFC 9112 section 3.2).
fn uri(method: &Method, path: &str, query: &str) -> Result<Uri, ProxyError> {
    let text = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    let has_form = path.starts_with('/') || (text == "*" && *method == Method::OPTIONS);
    let legal = PathAndQuery::try_from(text.as_str())
        .ok()
        .filter(|parsed| has_form && parsed.as_str() == text);
    legal.map(Uri::from).ok_or_else(|| {
        // Neither is shown: both can hold secrets, and this goes to the log.
        ProxyError::InvalidRequest(
            "the path must begin with a slash, and path and query must be percent-encoded (RFC 3986 sections 3.3 and \
             3.4), and shorter than 65,535 bytes together"
                .to_owned(),
        )
    })
}

fn request_headers(event: &Event, target: &Target) -> Result<HeaderMap, ProxyError> {
    let count = event.headers.0.len();
    if count > MAX_HEADERS {
        return Err(ProxyError::InvalidRequest(format!(
            "the request has {count} headers: there may be {MAX_HEADERS}"
        )));
    }
    let mut headers = HeaderMap::with_capacity(count + 2);
    for (name, value) in &event.headers.0 {
        let lower = name.to_ascii_lowercase();
        if let Some(forwarded) = forwarded_name(&lower) {
            headers.append(header_name(forwarded)?, header_value(name, value)?);
        }
    }
    if !event.cookies.is_empty() && !holds_cookies(event) {
        headers.insert(header::COOKIE, header_value("cookie", &event.cookies.join("; "))?);
    }
    remove_hop_by_hop(&mut headers);
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, header_value("ts-target-ip", &target.authority())?);
    }
    Ok(headers)
}

/// Whether the header `cookie` is in the event too, and says the same: then it is as the caller wrote it. Where several
/// came in one request, only the list is sure to keep them apart.
fn holds_cookies(event: &Event) -> bool {
    let header = event.headers.get("cookie").unwrap_or_default();
    let pairs = header.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.eq(event.cookies.iter().map(String::as_str))
}

fn header_name(name: &str) -> Result<HeaderName, ProxyError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| ProxyError::InvalidRequest(format!("the header name '{}' is not a token", name.escape_default())))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, ProxyError> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        ProxyError::InvalidRequest(format!(
            "the header {} has a control character in its value",
            name.escape_default()
        ))
    })
}

/// The service has undone any chunking: the length is what arrived. A request that had none, and no body, gets none,
/// but for the methods whose meaning expects a body (RFC 9110 section 8.6).
fn set_length(headers: &mut HeaderMap, method: &Method, length: usize) {
    let expected = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    if length > 0 || expected || headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::{Engine, prelude::BASE64_STANDARD};
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    fn event(change: impl FnOnce(&mut Value)) -> Event {
        let mut event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/a", "rawQueryString": "",
            "headers": {"ts-target-ip": "db", "ts-target-port": "8080", "host": "abc.lambda-url.us-east-1.on.aws"},
            "requestContext": {"http": {"method": "GET", "path": "/a"}}, "isBase64Encoded": false,
        });
        change(&mut event);
        serde_json::from_value(event).unwrap()
    }

    fn outgoing(change: impl FnOnce(&mut Value)) -> Result<Outgoing, ProxyError> {
        let event = event(change);
        let target = Target::parse(&event.headers)?;
        build(event, &target)
    }

    #[test]
    fn path_and_query_pass_byte_for_byte() {
        for (path, query) in [
            ("/%2F/+/%C3%A9", "a=&a=%20&&b"),
            ("//x//", ""),
            ("/a/../b/.", "q=/../"),
            ("/;v=1/(x)'!*", "a[]=1&b={}|^`"),
            ("/%", "%zz"),
        ] {
            let request = outgoing(|event| {
                event["rawPath"] = path.into();
                event["rawQueryString"] = query.into();
            });
            let expected = if query.is_empty() {
                path.to_owned()
            } else {
                format!("{path}?{query}")
            };
            assert_eq!(request.unwrap().uri().to_string(), expected);
        }
    }

    #[test]
    fn a_path_that_no_request_line_can_hold_is_refused() {
        let long = format!("/{}", "a".repeat(70_000));
        for path in [
            "/a b",
            "/a#b",
            "/\"<>",
            "/\u{7f}",
            "/\n",
            "",
            "?",
            "*",
            "a",
            "http://db/",
            &long,
        ] {
            for query in ["", "token=s3cret"] {
                let error = outgoing(|event| {
                    event["rawPath"] = path.into();
                    event["rawQueryString"] = query.into();
                })
                .unwrap_err();
                assert!(matches!(error, ProxyError::InvalidRequest(_)), "{path:?} {query}");
                // It goes to the log.
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        }
    }

    #[test]
    fn options_may_ask_for_the_whole_server() {
        let request = outgoing(|event| {
            event["rawPath"] = "*".into();
            event["requestContext"]["http"]["method"] = "OPTIONS".into();
        });
        assert_eq!(request.unwrap().uri(), "*");
    }

    #[test]
    fn more_headers_than_a_map_holds_are_refused() {
        for (count, name) in [(100_000, "x-a"), (100_000, "x-amzn-a"), (MAX_HEADERS, "x-a")] {
            let mut event = event(|_| ());
            let target = Target::parse(&event.headers).unwrap();
            let headers = (0..count).map(|number| (format!("{name}{number}"), "1".into()));
            event.headers.0 = headers.collect();
            let built = build(event, &target);
            assert_eq!(built.is_ok(), count == MAX_HEADERS, "{count} {name}");
        }
    }

    #[test]
    fn unknown_methods_pass_and_connect_does_not() {
        let method = |name: &str| outgoing(|event| event["requestContext"]["http"]["method"] = name.into());
        assert_eq!(method("PROPFIND").unwrap().method(), "PROPFIND");
        assert_eq!(method("x-own").unwrap().method(), "x-own");
        assert!(matches!(method("CONNECT"), Err(ProxyError::InvalidRequest(_))));
        assert!(matches!(method("A B"), Err(ProxyError::InvalidRequest(_))));
    }

    #[test]
    fn the_host_is_the_targets_own_or_the_one_asked_for() {
        assert_eq!(outgoing(|_| ()).unwrap().headers()["host"], "db:8080");
        let renamed = outgoing(|event| event["headers"]["ts-host"] = "example.com".into()).unwrap();
        assert_eq!(renamed.headers()["host"], "example.com");
        assert_eq!(renamed.headers().get_all("host").iter().count(), 1);
    }

    #[test]
    fn cookies_come_back_together() {
        let request = outgoing(|event| event["cookies"] = json!(["a=1", "b=2"])).unwrap();
        assert_eq!(request.headers()["cookie"], "a=1; b=2");
    }

    #[test]
    fn cookies_stay_as_the_caller_wrote_them_where_the_event_has_the_header() {
        for (header, expected) in [("a=1;b=2", "a=1;b=2"), ("a=1,b=2", "a=1; b=2")] {
            let request = outgoing(|event| {
                event["cookies"] = json!(["a=1", "b=2"]);
                event["headers"]["cookie"] = header.into();
            });
            let request = request.unwrap();
            assert_eq!(
                request.headers().get_all("cookie").iter().collect::<Vec<_>>(),
                [expected]
            );
        }
    }

    #[tokio::test]
    async fn a_base64_body_arrives_as_its_bytes() {
        let request = outgoing(|event| {
            event["body"] = BASE64_STANDARD.encode([0, 255, 10]).into();
            event["isBase64Encoded"] = true.into();
            event["headers"]["transfer-encoding"] = "chunked".into();
        });
        let request = request.unwrap();
        assert_eq!(request.headers()["content-length"], "3");
        assert!(!request.headers().contains_key("transfer-encoding"));
        assert_eq!(
            request.into_body().collect().await.unwrap().to_bytes(),
            [0, 255, 10][..]
        );
    }

    #[test]
    fn only_requests_that_mean_a_body_get_a_length_of_zero() {
        assert!(!outgoing(|_| ()).unwrap().headers().contains_key("content-length"));
        let post = outgoing(|event| event["requestContext"]["http"]["method"] = "POST".into()).unwrap();
        assert_eq!(post.headers()["content-length"], "0");
    }

    #[test]
    fn who_asked_is_told_by_the_proxy_alone() {
        let forged = |event: &mut Value| {
            event["headers"]["ts-caller-arn"] = "arn:aws:iam::1:role/admin".into();
            event["headers"]["ts_caller_arn"] = "arn:aws:iam::1:role/admin".into();
            event["headers"]["connection"] = "ts-caller-arn".into();
        };
        let mut request = outgoing(forged).unwrap();
        assert!(!format!("{request:?}").contains("admin"), "{request:?}");
        set_caller(&mut request, "arn:aws:iam::1:user/shop").unwrap();
        assert_eq!(request.headers()["ts-caller-arn"], "arn:aws:iam::1:user/shop");
        assert!(set_caller(&mut request, "arn:\n").is_err());
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_and_its_value_is_not_shown() {
        let request = outgoing(|event| event["headers"]["x-secret"] = "abc\u{0}".into());
        let message = request.unwrap_err().to_string();
        assert!(message.contains("x-secret") && !message.contains("abc"), "{message}");
    }
}
