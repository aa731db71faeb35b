//! Whatever a caller sends: no panic, and what passes, passes unchanged.

use proptest::prelude::*;
use proxy::{
    event::Headers,
    headers::forwarded_name,
    request::{self, Outgoing},
    response::ResponseHead,
    target::Target,
};
use serde_json::json;

use crate::fuzzed;

/// Text of any kind, much of it of the kind that paths and headers are made of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        "[%/.?#&=+a-zA-Z0-9\u{80}-\u{ff}-]{0,40}"
    ]
}

fn build(path: &str, query: &str, header: (&str, &str)) -> Option<Outgoing> {
    let mut event = json!({
        "rawPath": path, "rawQueryString": query, "requestContext": {"http": {"method": "GET"}},
        "headers": {"ts-target-ip": "db", "ts-target-port": "80"},
    });
    event["headers"][header.0] = header.1.into();
    let event: proxy::event::Event = serde_json::from_value(event).unwrap();
    let target = Target::parse(&event.headers).ok()?;
    request::build(event, &target).ok()
}

/// Lines of text of any kind, or nothing but bytes.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        text(),
        "[0-9.]{1,15}",
        "[0-9]{1,5}",
        "\\[?[0-9a-f:]{2,12}\\]?(/[0-9]{1,3})?",
        "[*]?[a-z.-]{1,12}(:[0-9]{1,5}(-[0-9]{1,5})?)?",
        "(connection|x-a|te|set-cookie|transfer-encoding|ts-error-name):[ -~]{0,12}",
        Just("true".to_owned()),
    ];
    prop_oneof![
        prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..300),
    ]
}

/// A payload of the function's, with each of its texts of any kind.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let headers = prop::collection::vec((prop_oneof![text(), Just("connection".to_owned())], text()), 0..4);
    let fields = (text(), text(), text(), headers, prop::option::of(text()), any::<bool>());
    fields.prop_map(|(method, path, query, headers, body, is_base64)| {
        let method = if is_base64 { method } else { "GET".to_owned() };
        let mut event = json!({
            "rawPath": format!("/{path}"), "rawQueryString": query, "requestContext": {"http": {"method": method}},
            "headers": {"ts-target-ip": "db", "ts-target-port": "80"}, "body": body, "isBase64Encoded": is_base64,
        });
        for (name, value) in headers {
            event["headers"][name] = value.into();
        }
        event.to_string().into_bytes()
    })
}

proptest! {
    #[test]
    fn any_payload_becomes_the_request_that_it_tells_or_an_error(bytes in payload()) {
        fuzzed::event(&bytes);
    }

    #[test]
    fn any_lines_are_a_target_a_list_headers_or_an_error(bytes in lines()) {
        fuzzed::target(&bytes);
        fuzzed::allowlist(&bytes);
        fuzzed::headers(&bytes);
    }

    #[test]
    fn any_response_of_a_target_is_what_the_caller_gets(head in lines(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzed::response(&[&head[..], b"\n\n", &body].concat());
    }

    #[test]
    fn a_path_and_query_that_pass_are_unchanged(path in text(), query in text()) {
        let path = format!("/{path}");
        if let Some(request) = build(&path, &query, ("x-a", "1")) {
            let expected = if query.is_empty() { path } else { format!("{path}?{query}") };
            prop_assert_eq!(request.uri().to_string(), expected);
        }
    }

    #[test]
    fn percent_encoded_paths_always_pass(path in "(/[a-zA-Z0-9._~!$&'()*+,;=:@%-]{0,12}){1,5}", query in "[a-zA-Z0-9._~!$&'()*+,;=:@%/?-]{0,30}") {
        prop_assert!(build(&path, &query, ("x-a", "1")).is_some());
    }

    #[test]
    fn a_header_that_passes_is_unchanged(name in text(), value in text()) {
        let lower = name.to_ascii_lowercase();
        if let Some(request) = build("/", "", (&name, &value))
            && let Some(forwarded) = forwarded_name(&lower)
            && let Some(sent) = request.headers().get(forwarded)
            && forwarded != "content-length"
        {
            prop_assert_eq!(sent.as_bytes(), value.as_bytes());
        }
    }

    #[test]
    fn what_is_private_never_passes(rest in "[a-z-]{0,12}", value in "[ -~]{0,20}") {
        for name in [format!("ts-{rest}"), format!("x-amzn-{rest}"), "x-amz-security-token".to_owned()] {
            if let Some(request) = build("/", "", (&name, &value)) {
                prop_assert!(!request.headers().contains_key(&name), "{}", name);
            }
        }
    }

    #[test]
    fn nothing_of_a_presigned_request_passes_and_the_rest_is_unchanged(
        parameters in prop::collection::vec("[a-zA-Z0-9%=+-]{0,12}", 0..6),
        token in "[a-zA-Z0-9]{24}",
        at in any::<prop::sample::Index>(),
    ) {
        let scope = "AKID%2F20260101%2Feu-west-1%2Flambda%2Faws4_request";
        let signed = format!("X-Amz-Credential={scope}&X-Amz-Signature={token}&X-Amz-Security-Token={token}&X-Amz-Date={token}");
        let mut with: Vec<&str> = parameters.iter().map(String::as_str).collect();
        with.insert(at.index(with.len() + 1), &signed);
        if let Some(request) = build("/", &with.join("&"), ("x-a", "1")) {
            let shown = format!("{:?}", request);
            prop_assert!(!shown.contains(&token));
            prop_assert_eq!(request.uri().query().unwrap_or_default(), parameters.join("&"));
        }
    }

    #[test]
    fn any_target_is_an_address_a_name_or_an_error(ip in text(), port in text(), https in text(), host in text()) {
        let pairs = [("ts-target-ip", ip), ("ts-target-port", port), ("ts-https", https), ("ts-host", host)];
        let headers = Headers(pairs.map(|(name, value)| (name.to_owned(), value)).to_vec());
        if let Ok(target) = Target::parse(&headers) {
            prop_assert!(target.port > 0 && !target.authority().is_empty());
        }
    }

    #[test]
    fn any_answer_of_a_target_becomes_json_that_holds_it(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)) {
        let mut headers = http::HeaderMap::new();
        let legal: Vec<_> = values.iter().filter_map(|value| http::HeaderValue::from_bytes(value).ok()).collect();
        for value in &legal {
            headers.append("x-a", value.clone());
        }
        let head = serde_json::to_value(ResponseHead::from_target(http::StatusCode::OK, headers)).unwrap();
        let text = |value: &http::HeaderValue| match str::from_utf8(value.as_bytes()) {
            Ok(text) => text.to_owned(),
            Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
        };
        let expected = legal.iter().map(text).collect::<Vec<_>>().join(", ");
        prop_assert_eq!(head["headers"]["x-a"].as_str().unwrap_or_default(), expected);
    }
}
