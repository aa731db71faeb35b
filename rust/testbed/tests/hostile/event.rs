//! An event written by hand, so that it can hold what no service would send; and what the target is to see of it.

use std::{collections::BTreeMap, fmt::Debug};

use bytes::Bytes;
use testbed::{http_call::HOP_BY_HOP, raw_target::Seen};

/// What is not for a target: the signature's, the service's.
const STOPS: [&str; 8] = [
    "authorization",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-security-token",
    "host",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
];
/// What a caller sends with `ts-` before it.
const RENAMED: [&str; 5] = [
    "authorization",
    "host",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-security-token",
];

/// A request as the event tells it.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    method: String,
    path: String,
    query: String,
    /// Any name may come twice.
    pub(crate) headers: Vec<(String, String)>,
    cookies: Vec<String>,
    /// As it stands in the event.
    body: Option<String>,
    is_base64: bool,
    /// What the body stands for.
    bytes: Bytes,
}

/// A request as the target sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wire {
    line: String,
    headers: BTreeMap<String, Vec<String>>,
    body: Bytes,
}

impl Draft {
    /// A GET for the target.
    pub(crate) fn to(target: &str, port: u16) -> Self {
        Self {
            method: "GET".into(),
            path: "/hostile".into(),
            query: String::new(),
            headers: vec![
                ("host".into(), "abc.lambda-url.eu-central-1.on.aws".into()),
                ("ts-target-ip".into(), target.into()),
                ("ts-target-port".into(), port.to_string()),
            ],
            cookies: Vec::new(),
            body: None,
            is_base64: false,
            bytes: Bytes::new(),
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn query(mut self, query: &str) -> Self {
        self.query = query.into();
        self
    }

    /// One more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Another value for a header that is there.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.header(name, value)
    }

    pub(crate) fn cookies(mut self, cookies: &[&str]) -> Self {
        self.cookies = cookies.iter().map(|cookie| (*cookie).into()).collect();
        self
    }

    /// A body as text.
    pub(crate) fn text(mut self, body: &str) -> Self {
        self.body = Some(body.into());
        self.bytes = Bytes::copy_from_slice(body.as_bytes());
        self
    }

    /// A body in base64 that stands for `bytes`, if it is right.
    pub(crate) fn base64(mut self, body: &str, bytes: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self.is_base64 = true;
        self.bytes = bytes.into();
        self
    }

    /// The event's JSON. Names may be in it twice.
    pub(crate) fn json(&self) -> String {
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)))
            .collect();
        let cookies: Vec<String> = self.cookies.iter().map(|cookie| quoted(cookie)).collect();
        format!(
            r#"{{"version":"2.0","rawPath":{},"rawQueryString":{},"cookies":[{}],"headers":{{{}}},"requestContext":{{"http":{{"method":{}}}}},"body":{},"isBase64Encoded":{}}}"#,
            quoted(&self.path),
            quoted(&self.query),
            cookies.join(","),
            headers.join(","),
            quoted(&self.method),
            self.body.as_deref().map_or("null".into(), quoted),
            self.is_base64
        )
    }

    /// What the target is to see, with this query.
    pub(crate) fn wire_with(&self, query: &str) -> Wire {
        let mark = if query.is_empty() { "" } else { "?" };
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &self.headers {
            let name = name.to_ascii_lowercase();
            let name = match name.strip_prefix("ts-") {
                Some(rest) if RENAMED.contains(&rest) => rest,
                Some(_) => continue,
                None if STOPS.contains(&&*name) || name.starts_with("x-amzn-") => continue,
                None => &name,
            };
            headers.entry(name.into()).or_default().push(trimmed(value));
        }
        if !self.cookies.is_empty() {
            headers.insert("cookie".into(), vec![trimmed(&self.cookies.join("; "))]);
        }
        let named = headers.get("connection").cloned().unwrap_or_default().join(",");
        let named: Vec<String> = named
            .split(',')
            .map(|name| trimmed(name).to_ascii_lowercase())
            .collect();
        headers.retain(|name, _| !HOP_BY_HOP.contains(&&**name) && !named.contains(name));
        if !headers.contains_key("host") {
            headers.insert("host".into(), vec![self.authority()]);
        }
        let means_a_body = ["POST", "PUT", "PATCH"].contains(&&*self.method);
        if !self.bytes.is_empty() || means_a_body || headers.contains_key("content-length") {
            headers.insert("content-length".into(), vec![self.bytes.len().to_string()]);
        }
        Wire {
            line: format!("{} {}{mark}{query} HTTP/1.1", self.method, self.path),
            headers,
            body: self.bytes.clone(),
        }
    }

    /// What the target is to see.
    pub(crate) fn wire(&self) -> Wire {
        self.wire_with(&self.query)
    }

    fn authority(&self) -> String {
        let value = |name: &str| {
            let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.map(|(_, value)| trimmed(value)).unwrap_or_default()
        };
        let (host, port) = (value("ts-target-ip"), value("ts-target-port"));
        if port == "80" { host } else { format!("{host}:{port}") }
    }
}

impl From<&Seen> for Wire {
    fn from(seen: &Seen) -> Self {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &seen.headers {
            let value = String::from_utf8_lossy(value).into_owned();
            headers.entry(name.clone()).or_default().push(value);
        }
        Self {
            line: seen.line.clone(),
            headers,
            body: seen.body.clone(),
        }
    }
}

impl Wire {
    /// Where the two differ, in words.
    pub(crate) fn difference(&self, seen: &Self) -> Option<String> {
        let shown = |part: &dyn Debug| format!("{part:?}").chars().take(300).collect::<String>();
        let differ = |what: &str, ours: &dyn Debug, theirs: &dyn Debug| {
            Some(format!("{what} is {} instead of {}", shown(theirs), shown(ours)))
        };
        if self.line != seen.line {
            return differ("the line", &self.line, &seen.line);
        }
        if self.body != seen.body {
            return differ("the body", &self.body, &seen.body);
        }
        let mut names = self.headers.keys().chain(seen.headers.keys());
        let name = names.find(|name| self.headers.get(*name) != seen.headers.get(*name))?;
        differ(&shown(name), &self.headers.get(name), &seen.headers.get(name))
    }
}

/// White space around a value is no part of it (RFC 9110 section 5.5).
fn trimmed(value: &str) -> String {
    value.trim_matches([' ', '\t']).into()
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
