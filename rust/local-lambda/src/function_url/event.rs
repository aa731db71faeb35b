//! An HTTP request as the function sees it: an event of payload format 2.0.
//!
//! Doc: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>. Where it leaves things open, what counts are
//! the events that `aws-lambda-go` recorded from real Function URLs with `AWS_IAM`
//! (<https://github.com/aws/aws-lambda-go/tree/main/lambdaurl/testdata>). In these:
//! fields without a value are absent (`authentication`, `cookies`, `queryStringParameters`, `body`, `pathParameters`),
//! `cookie` stays among the headers although `cookies` is there, `content-length` stays, `authorization` is gone, and
//! the other headers of the signing process stay, the session token among them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::caller::Identity;
use super::{Settings, URL_ID};

/// As the events' `time`: `18/Apr/2023:16:17:17 +0000`.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
const PLACEHOLDER: &str = "$default";

/// What the service knows of a request besides the request itself.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) identity: Identity,
    pub(crate) request_id: &'a str,
    /// `Root=1-…`, for `x-amzn-trace-id`.
    pub(crate) trace_id: &'a str,
    pub(crate) source: IpAddr,
    pub(crate) time: SystemTime,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    authorizer: Authorizer<'a>,
    domain_name: String,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: u64,
}

#[derive(Serialize)]
struct Authorizer<'a> {
    iam: &'a Identity,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    // Guess: as received, like `rawPath`. The document gives both the same words and the same example.
    path: &'a str,
    protocol: String,
    source_ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

/// The event's JSON.
pub(crate) fn render(parts: &Parts, body: &[u8], context: &Context<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let settings = context.settings;
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let since_epoch = context.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (body, is_base64_encoded) = render_body(&parts.headers, body);
    let event = Event {
        version: "2.0",
        route_key: PLACEHOLDER,
        raw_path: path,
        raw_query_string: query,
        cookies: cookies(&parts.headers),
        headers: headers(parts, context),
        query_string_parameters: query_parameters(query),
        request_context: RequestContext {
            account_id: &settings.function.account_id,
            api_id: URL_ID,
            authorizer: Authorizer { iam: &context.identity },
            domain_name: settings.domain_name(),
            domain_prefix: URL_ID,
            http: Http {
                method: parts.method.as_str(),
                path,
                protocol: format!("{:?}", parts.version),
                source_ip: context.source.to_string(),
                user_agent: parts.headers.get(USER_AGENT).map(text),
            },
            request_id: context.request_id,
            route_key: PLACEHOLDER,
            stage: PLACEHOLDER,
            time: OffsetDateTime::from(context.time).format(TIME).unwrap_or_default(),
            time_epoch: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        },
        body,
        is_base64_encoded,
    };
    serde_json::to_vec(&event)
}

/// The caller's headers, and the service's own over them: a caller cannot forge those (guess, for `x-forwarded-for`: a
/// report says that it holds the connection's address, none says what becomes of one that was sent).
fn headers(parts: &Parts, context: &Context<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for name in parts.headers.keys().filter(|name| **name != AUTHORIZATION) {
        // Doc: several values of one header are joined by a comma. Cookies are one list anyway (RFC 9113 section 8.2.3).
        let separator = if *name == COOKIE { "; " } else { "," };
        let values: Vec<String> = parts.headers.get_all(name).iter().map(text).collect();
        headers.insert(name.as_str().to_owned(), values.join(separator));
    }
    let added = [
        ("host", context.settings.domain_name()),
        ("x-amzn-tls-cipher-suite", "TLS_AES_128_GCM_SHA256".to_owned()),
        ("x-amzn-tls-version", "TLSv1.3".to_owned()),
        ("x-amzn-trace-id", context.trace_id.to_owned()),
        ("x-forwarded-for", context.source.to_string()),
        ("x-forwarded-port", "443".to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
    ];
    headers.extend(added.map(|(name, value)| (name.to_owned(), value)));
    headers
}

/// A header's value. Guess: what is no UTF-8 is taken for ISO-8859-1, as HTTP has it by tradition.
fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(COOKIE);
    let split = all.iter().flat_map(|value| {
        text(value)
            .split(';')
            .map(|pair| pair.trim().to_owned())
            .collect::<Vec<_>>()
    });
    split.filter(|pair| !pair.is_empty()).collect()
}

/// Doc: decoded; several values of one parameter are joined by a comma.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name.into_owned())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    parameters
}

fn render_body(headers: &HeaderMap, body: &[u8]) -> (Option<String>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    // Guess: text that is no UTF-8 (another charset, or compressed) goes as base64, so that no byte is lost.
    let as_text = if is_text(headers.get(CONTENT_TYPE)) {
        std::str::from_utf8(body).ok()
    } else {
        None
    };
    match as_text {
        Some(text) => (Some(text.to_owned()), false),
        None => (Some(STANDARD.encode(body)), true),
    }
}

/// Doc: "If the content type of the request is binary, the body is base64-encoded", but not which ones are. Report, for
/// the same format on API Gateway, tried against the service (<https://github.com/ministackorg/ministack/pull/766>):
/// text is `text/*` and these three; all else is binary, a missing content type and
/// `application/x-www-form-urlencoded` among them. AWS's own slides say the same of Function URLs for `text/*` and JSON.
fn is_text(content_type: Option<&HeaderValue>) -> bool {
    let value = content_type.map(text).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || matches!(
            media_type.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_types_travel_as_text_and_everything_else_as_base64() {
        let rendered = |content_type, body| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            render_body(&headers, body)
        };
        for content_type in [
            "text/plain",
            "TEXT/HTML; charset=utf-8",
            "application/json",
            "application/xml;a=b",
        ] {
            let as_text = rendered(content_type, "é".as_bytes());
            assert_eq!(as_text, (Some("é".into()), false), "{content_type}");
        }
        for content_type in [
            "image/png",
            "application/x-www-form-urlencoded",
            "application/vnd.api+json",
            "",
        ] {
            let encoded = rendered(content_type, b"a=b");
            assert_eq!(encoded, (Some("YT1i".into()), true), "{content_type}");
        }
        let no_utf8 = rendered("text/plain; charset=iso-8859-1", b"\xe9");
        assert_eq!(no_utf8, (Some("6Q==".into()), true));
    }
}
