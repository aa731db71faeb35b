//! What must hold for any bytes at all: no panic, and what passes, passes unchanged. The fuzz targets include this file.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proxy::{
    allowlist::Allowlist,
    event::Headers,
    headers::forwarded_name,
    payload::Payload,
    request,
    response::{BUFFERED_LIMIT, Response},
    signature::without_signature,
    target::Target,
};
use serde_json::Value;
use tailnet::{host::Host, intermediary::remove_hop_by_hop};

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A payload of the function's: if it is a request that can be built, it is the event's.
pub(crate) fn event(bytes: &[u8]) {
    let Ok(Payload::Request(event)) = serde_json::from_slice::<Payload>(bytes) else {
        return;
    };
    let Ok(target) = Target::parse(&event.headers) else {
        return;
    };
    let query = without_signature(&event.raw_query_string).into_owned();
    let (path, method) = (event.raw_path.clone(), event.request_context.http.method.clone());
    let Ok(built) = request::build(*event, &target) else {
        return;
    };
    let expected = if query.is_empty() {
        path
    } else {
        format!("{path}?{query}")
    };
    assert_eq!(built.uri().to_string(), expected);
    assert_eq!(built.method().as_str(), method);
    assert_eq!(built.headers().get_all("host").iter().count(), 1);
    assert!(built.headers().get_all("content-length").iter().count() <= 1);
    for name in built.headers().keys() {
        let name = name.as_str();
        let stops = HOP_BY_HOP.contains(&name) || name.starts_with("ts-") || name.starts_with("x-amzn-");
        assert!(!stops, "{name}");
    }
}

/// Values of the headers that name a target, a line each.
pub(crate) fn target(bytes: &[u8]) {
    let Some(target) = parse_target(bytes) else { return };
    assert!(target.port > 0);
    let authority = target.authority();
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"@/?#,\\".contains(&byte);
    assert!(authority.bytes().all(legal), "{authority}");
    // What is shown of it leads to the same again.
    let headers = [
        ("ts-target-ip", target.host.to_string()),
        ("ts-target-port", target.port.to_string()),
        // A name that no certificate can be for is a target of plain HTTP alone.
        ("ts-https", "false".to_owned()),
    ];
    let again = Target::parse(&Headers(headers.map(|(name, value)| (name.to_owned(), value)).to_vec()));
    assert_eq!(
        again.map(|again| (again.host, again.port)),
        Ok((target.host, target.port))
    );
}

/// A list of allowed targets, and a target after it.
pub(crate) fn allowlist(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (list, rest) = (text(parts.next()), parts.next().unwrap_or_default());
    let list = Allowlist::parse(&list);
    let Some(target) = parse_target(rest) else { return };
    // An address that is written in another way is the same.
    if let (Ok(list), Host::Address(IpAddr::V4(address))) = (&list, &target.host) {
        let mapped = Target {
            host: Host::Address(address.to_ipv6_mapped().into()),
            ..target.clone()
        };
        assert_eq!(list.check(&target).is_ok(), list.check(&mapped).is_ok());
    }
    // A target allows itself, and at its port alone.
    let own = Allowlist::parse(&target.to_string()).expect("a target is an entry");
    assert!(own.check(&target).is_ok(), "{target}");
    let port = if target.port == 1 { 2 } else { target.port - 1 };
    let other = Target { port, ..target };
    assert!(own.check(&other).is_err(), "{other}");
}

/// Headers, a line each.
pub(crate) fn headers(bytes: &[u8]) {
    let mut headers = header_map(bytes);
    for name in headers.keys() {
        if let Some(forwarded) = forwarded_name(name.as_str()) {
            let stops = forwarded.starts_with("ts-") || forwarded.starts_with("x-amzn-");
            assert!(!stops, "{name}");
        }
    }
    let connection: Vec<&[u8]> = headers
        .get_all("connection")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let connection = connection.join(&b',');
    remove_hop_by_hop(&mut headers);
    for name in headers.keys() {
        assert!(!HOP_BY_HOP.contains(&name.as_str()), "{name}");
        let mut named = connection.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        assert!(
            !named.any(|named| named.eq_ignore_ascii_case(name.as_str().as_bytes())),
            "{name}"
        );
    }
}

/// A target's response: headers, a line each, and a body after an empty line.
pub(crate) fn response(bytes: &[u8]) {
    let end = bytes.windows(2).position(|window| window == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let headers = header_map(head);
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::IM_A_TEAPOT;
    parts.headers = headers.clone();
    let Ok(response) = Response::from_target(parts, body) else {
        assert!(bytes.len() > BUFFERED_LIMIT / 8);
        return;
    };
    let json = response.into_json();
    assert!(json.len() <= BUFFERED_LIMIT);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let text = json["body"].as_str().expect("a body");
    let decoded = match json["isBase64Encoded"] {
        Value::Bool(true) => BASE64_STANDARD.decode(text).expect("base64"),
        _ => text.as_bytes().to_vec(),
    };
    assert!(decoded == body, "the body is another");
    let sent: BTreeMap<String, Value> = serde_json::from_value(json["headers"].clone()).expect("headers");
    for name in sent.keys() {
        let stops = HOP_BY_HOP.contains(&&**name) || name.starts_with("ts-error-") || name == "set-cookie";
        assert!(!stops && headers.contains_key(name), "{name}");
    }
    let cookies = json["cookies"].as_array().map_or(0, Vec::len);
    assert!(cookies <= headers.get_all("set-cookie").iter().count());
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn parse_target(bytes: &[u8]) -> Option<Target> {
    let names = ["ts-target-ip", "ts-target-port", "ts-host", "ts-https"];
    let values = bytes.split(|byte| *byte == b'\n').map(|value| text(Some(value)));
    let pairs = names.map(str::to_owned).into_iter().zip(values);
    Target::parse(&Headers(pairs.collect())).ok()
}

/// The lines that are headers.
fn header_map(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(1000) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
