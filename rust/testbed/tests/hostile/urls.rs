//! Hostile requests as HTTP, signed, to the Function URL: what an HTTP client can send at all.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};

use crate::{event::Draft, requests::Expected};

/// What the service puts between the values of a header that came several times.
const SEPARATOR: &str = ",";

/// A request, and the event that the service makes of it.
struct Pair {
    title: String,
    draft: Draft,
    /// As sent: bytes that are no UTF-8 included.
    headers: Vec<(String, Vec<u8>)>,
    refused: bool,
}

/// All of them: a title, the request, and what must become of it.
pub(crate) fn all(target: &str, port: u16) -> Vec<(String, Request<Bytes>, Expected)> {
    let pairs = [
        methods(target, port),
        names_and_values(target, port),
        owners(target, port),
    ];
    pairs.into_iter().flatten().map(finish).collect()
}

fn pair(title: String, draft: Draft) -> Pair {
    Pair {
        title,
        draft,
        headers: Vec::new(),
        refused: false,
    }
}

impl Pair {
    /// One more header as it is sent; the event has it as the service reads it.
    fn header(mut self, name: &str, value: &[u8]) -> Self {
        let text = match std::str::from_utf8(value) {
            Ok(text) => text.to_owned(),
            Err(_) => value.iter().copied().map(char::from).collect(),
        };
        self.headers.push((name.to_owned(), value.to_vec()));
        match self.draft.headers.iter_mut().find(|(other, _)| other == name) {
            Some((_, earlier)) => *earlier = [earlier, SEPARATOR, &text].concat(),
            None => self.draft.headers.push((name.to_owned(), text)),
        }
        self
    }

    fn refused(mut self) -> Self {
        self.refused = true;
        self
    }
}

fn finish(pair: Pair) -> (String, Request<Bytes>, Expected) {
    let Draft {
        method,
        path,
        query,
        headers,
        bytes,
        ..
    } = &pair.draft;
    let target = if query.is_empty() {
        path.clone()
    } else {
        format!("{path}?{query}")
    };
    let mut request = Request::builder().method(&**method).uri(target);
    let own = |name: &str| {
        let found = headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_bytes())
    };
    // The target's headers are the draft's where the case has none of its own.
    for name in ["host", "ts-target-ip", "ts-target-port"] {
        if !pair.headers.iter().any(|(other, _)| other == name)
            && let Some(value) = own(name)
        {
            request = request.header(name, value);
        }
    }
    let mut request = request.body(bytes.clone()).expect("a request that http takes");
    for (name, value) in &pair.headers {
        let name: HeaderName = name.parse().expect("a legal name");
        let value = HeaderValue::from_bytes(value).expect("a legal value");
        request.headers_mut().append(name, value);
    }
    let expected = if pair.refused {
        Expected::Refused
    } else {
        let mut draft = pair.draft.clone();
        if !bytes.is_empty() {
            // The client says how long it is.
            draft = draft.header("content-length", "?");
        }
        Expected::Intact(Box::new(draft.wire()))
    };
    (format!("URL: {}", pair.title), request, expected)
}

fn methods(target: &str, port: u16) -> Vec<Pair> {
    let draft = || Draft::to(target, port);
    let mut pairs: Vec<Pair> = [
        "PURGE",
        "M-SEARCH",
        "get",
        "!#$%&'*+-.^_`|~",
        "TRACE",
        "OPTIONS",
        "PROPFIND",
    ]
    .map(|method| pair(format!("method {method}"), draft().method(method)))
    .into();
    for path in [
        "/%00",
        "/%0d%0aset-cookie:a=1",
        "/..%2f..%2f",
        "/.;/x",
        "//evil.example/x",
        "/a%20b",
        "/%ff%fe",
    ] {
        pairs.push(pair(format!("path {path}"), draft().path(path)));
    }
    for query in ["%00", "a=%0d%0ax:1", "&&&===", "a[]=1&a[]=2", "?", "%%%", "a=%u1234"] {
        pairs.push(pair(format!("query {query}"), draft().query(query)));
    }
    for length in [1000, 8000] {
        pairs.push(pair(
            format!("a query of {length} bytes"),
            draft().query(&"q".repeat(length)),
        ));
    }
    pairs
}

fn names_and_values(target: &str, port: u16) -> Vec<Pair> {
    let draft = || Draft::to(target, port);
    let mut pairs = Vec::new();
    for byte in "!#$%&'*+-.^_`|~09".bytes() {
        let name = format!("x{}y", char::from(byte));
        pairs.push(pair(format!("header {name}"), draft()).header(&name, b"1"));
    }
    for byte in [0x09, 0x21, 0x7e, 0x80, 0x85, 0xa0, 0xad, 0xc3, 0xfe, 0xff] {
        let value = [b'a', byte, b'b'];
        pairs.push(pair(format!("value {}", value.escape_ascii()), draft()).header("x-a", &value));
    }
    for length in [8_000, 60_000] {
        pairs.push(pair(format!("a value of {length} bytes"), draft()).header("x-a", &vec![b'v'; length]));
    }
    let mut many = pair("80 headers".into(), draft());
    for number in 0..80 {
        many = many.header(&format!("x-{number}"), b"v");
    }
    pairs.push(many);
    let repeated = pair("a header ten times".into(), draft());
    pairs.push((0..10).fold(repeated, |pair, _| pair.header("x-a", b"1")));
    pairs
}

/// The proxy's own headers, the signature's and the service's.
fn owners(target: &str, port: u16) -> Vec<Pair> {
    let draft = || Draft::to(target, port);
    let mut pairs = Vec::new();
    for (name, value) in [
        ("ts-target-ip", "100.64.0.99"),
        ("ts-target-port", "81"),
        ("ts-host", "b.example"),
        ("ts-https", "false"),
        ("ts-response-timeout", "9000"),
    ] {
        let earlier = match name {
            "ts-target-ip" => target.to_owned(),
            "ts-target-port" => port.to_string(),
            _ => value.to_owned(),
        };
        let mut without = draft();
        without.headers.retain(|(other, _)| other != name);
        let twice = pair(format!("{name} twice"), without);
        let twice = twice.header(name, earlier.as_bytes()).header(name, value.as_bytes());
        pairs.push(twice.refused());
    }
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-amzn-trace-id",
        "x-amzn-anything",
        "ts-anything",
        "ts-error-name",
        "ts-caller-arn",
    ] {
        let value = if name == "x-amzn-trace-id" {
            "Root=1-00000000-000000000000000000000000"
        } else {
            "forged"
        };
        pairs.push(pair(format!("{name} forged"), draft()).header(name, value.as_bytes()));
    }
    for (name, value) in [
        ("ts-authorization", "Bearer caf\u{e9}"),
        ("ts-x-amz-date", "20260101T000000Z"),
        ("ts-x-amz-security-token", "the target's own"),
        ("ts-x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ] {
        pairs.push(pair(name.to_owned(), draft()).header(name, value.as_bytes()));
    }
    for body in [&b"\x00\xff\r\n0\r\n\r\n"[..], b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut draft = draft().method("POST");
        draft.bytes = Bytes::copy_from_slice(body);
        pairs.push(pair(format!("body {}", body.escape_ascii()), draft));
    }
    pairs
}
