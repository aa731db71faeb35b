//! What is different though the proxy is transparent: each difference by its name, and why it cannot be otherwise.
//!
//! Two things that RFC 9110 asks of gateways stay away on purpose, since a target is to see what its caller sent: a `via`
//! of the proxy's own (section 7.6.3), and a lower `max-forwards` for OPTIONS and TRACE (section 7.6.2).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use testbed::http_call::HOP_BY_HOP;

use crate::{
    TestResult,
    exchange::{Answer, Headers, Way},
};

/// A difference that the contract or the service makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exception {
    /// RFC 9110 section 7.6.1: they belong to one connection, and the proxy has another.
    HopByHop,
    /// The event and the answer are JSON objects: one value a name. RFC 9110 section 5.3 says that it means the same.
    Joined,
    /// A JSON string holds characters, not bytes: what is no UTF-8 is taken for Latin-1, and comes out as UTF-8.
    Latin1,
    /// The service has a `date` of its own, and sends a target's as `x-amzn-remapped-date`.
    Date,
    /// The service sends these as `x-amzn-remapped-…`.
    Remapped,
    /// The service frames bodies anew: a chunked one gets a length, and the other way round.
    Framing,
    /// RFC 9110 section 8.6 asks for the length of an empty body where a method means one, and servers insist on it (411):
    /// a caller that left it out, or spoke HTTP/2, does not know better.
    EmptyBody,
    /// The service takes an answer without a type for JSON.
    DefaultType,
    /// `x-amzn-remapped-*` of a target's own makes the service answer 500; `ts-error-*` is the proxy's own mark.
    Reserved,
    /// The service writes these over a caller's own, so they say nothing of the caller, and stay behind.
    Overwritten,
    /// By the caller's layer: a URL in absolute form names the host, and a `host` header beside it is ignored (RFC 9112
    /// section 3.2.2). A caller that wants another one sends `ts-host`.
    HostOfUrl,
    /// By the caller's layer: a 304 need not say how long the body would be (RFC 9110 section 8.6), and hyper's server never does.
    LengthOfNotModified,
    /// `rawQueryString` is empty both for no query and for an empty one: the lone `?` is lost.
    EmptyQuery,
}

/// How often each was needed.
pub(crate) type Needed = BTreeMap<Exception, usize>;

/// Each exception, and the ways on which the cases need it.
const NEEDED: [(Exception, &[Way]); 13] = [
    (Exception::HopByHop, &EVERY_WAY),
    (Exception::Joined, &EVERY_WAY),
    (Exception::Latin1, &EVERY_WAY),
    (Exception::Date, &[Way::Signed]),
    (Exception::Remapped, &[Way::Signed]),
    (Exception::Framing, &EVERY_WAY),
    (Exception::EmptyBody, &EVERY_WAY),
    (Exception::DefaultType, &[Way::Signed, Way::Layer]),
    (Exception::Reserved, &EVERY_WAY),
    (Exception::Overwritten, &EVERY_WAY),
    (Exception::HostOfUrl, &[Way::Layer, Way::LayerInvoke]),
    (Exception::LengthOfNotModified, &[Way::Layer, Way::LayerInvoke]),
    (Exception::EmptyQuery, &EVERY_WAY),
];
const EVERY_WAY: [Way; 3] = [Way::Signed, Way::Layer, Way::LayerInvoke];

/// Fails for an exception that no case needed, so that it is removed above, and for one that this way should not need.
pub(crate) fn all_needed(needed: &Needed, way: Way) -> TestResult {
    let listed = NEEDED.iter().filter(|(_, ways)| ways.contains(&way));
    let expected: BTreeSet<Exception> = listed.map(|(exception, _)| *exception).collect();
    let used = needed.iter().filter(|(_, times)| **times > 0);
    let found: BTreeSet<Exception> = used.map(|(exception, _)| *exception).collect();
    if expected == found {
        return Ok(());
    }
    let unused: Vec<_> = expected.difference(&found).collect();
    let unexpected: Vec<_> = found.difference(&expected).collect();
    Err(format!("exceptions that no case needs: {unused:?}; that this way should not need: {unexpected:?}").into())
}

/// What the service adds to every answer.
const ADDED: [&str; 3] = ["x-amzn-requestid", "x-amzn-trace-id", "date"];
const REMAPPED: [&str; 2] = ["www-authenticate", "proxy-authenticate"];
const OVERWRITTEN: [&str; 4] = [
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-amzn-trace-id",
];

/// What the caller gets of this answer of the target's, if the proxy is transparent.
pub(crate) fn expected_answer(mut answer: Answer, method: &str, way: Way, needed: &mut Needed) -> Answer {
    let headers = &mut answer.headers;
    let mut need = |exception, needs: bool| *needed.entry(exception).or_default() += usize::from(needs);
    need(Exception::HopByHop, remove_hop_by_hop(headers));
    let reserved = |name: &str| name.starts_with("x-amzn-remapped-") || name.starts_with("ts-error-");
    need(Exception::Reserved, remove(headers, reserved));
    need(Exception::Latin1, to_utf8(headers));
    need(
        Exception::Joined,
        join(headers, |name| (name != "set-cookie").then_some(", ")),
    );
    // The caller's layer gives both their own names again.
    if !way.by_layer() {
        need(Exception::Date, rename(headers, "date"));
        for name in REMAPPED {
            need(Exception::Remapped, rename(headers, name));
        }
    }
    if !claims_length(method, answer.status) {
        need(Exception::Framing, headers.remove("content-length").is_none());
    }
    if way.by_layer() && answer.status == 304 {
        need(
            Exception::LengthOfNotModified,
            headers.remove("content-length").is_some(),
        );
    }
    if way.by_url() && !headers.contains_key("content-type") {
        need(Exception::DefaultType, true);
        headers.insert("content-type".into(), vec![Bytes::from_static(b"application/json")]);
    }
    answer
}

/// What the caller got, without what the service adds.
pub(crate) fn received_answer(mut answer: Answer, expected: &Answer, method: &str) -> Answer {
    remove(&mut answer.headers, |name| {
        (ADDED.contains(&name) && !expected.headers.contains_key(name)) || name == "transfer-encoding"
    });
    if !claims_length(method, answer.status) {
        answer.headers.remove("content-length");
    }
    answer
}

/// The headers that the target sees of this request, if the proxy is transparent.
pub(crate) fn expected_request(mut headers: Headers, method: &str, body: usize, needed: &mut Needed) -> Headers {
    let mut need = |exception, needs: bool| *needed.entry(exception).or_default() += usize::from(needs);
    if ["POST", "PUT", "PATCH"].contains(&method) && body == 0 && !headers.contains_key("content-length") {
        need(Exception::EmptyBody, true);
        headers.insert("content-length".into(), vec!["0".into()]);
    }
    if headers.contains_key("transfer-encoding") {
        need(Exception::Framing, true);
        headers.insert("content-length".into(), vec![body.to_string().into()]);
    }
    need(Exception::HopByHop, remove_hop_by_hop(&mut headers));
    need(
        Exception::Overwritten,
        remove(&mut headers, |name| OVERWRITTEN.contains(&name)),
    );
    need(Exception::Latin1, to_utf8(&mut headers));
    let separator = |name: &str| Some(if name == "cookie" { "; " } else { "," });
    need(Exception::Joined, join(&mut headers, separator));
    headers
}

/// The same by the caller's layer, for a request to `host`.
pub(crate) fn expected_host(mut headers: Headers, host: &str, needed: &mut Needed) -> Headers {
    let own = headers.insert("host".into(), vec![Bytes::copy_from_slice(host.as_bytes())]);
    let differs = own.is_some_and(|own| own != [host.as_bytes()]);
    *needed.entry(Exception::HostOfUrl).or_default() += usize::from(differs);
    headers
}

/// The request line that the target sees.
pub(crate) fn expected_line(line: &str, needed: &mut Needed) -> String {
    let (target, version) = line.rsplit_once(' ').unwrap_or((line, ""));
    match target.strip_suffix('?') {
        Some(path) => {
            *needed.entry(Exception::EmptyQuery).or_default() += 1;
            format!("{path} {version}")
        }
        None => line.to_owned(),
    }
}

/// Where there is no body, its length is what the target says of it (RFC 9110 section 8.6).
fn claims_length(method: &str, status: u16) -> bool {
    method == "HEAD" || status == 304
}

fn remove(headers: &mut Headers, which: impl Fn(&str) -> bool) -> bool {
    let before = headers.len();
    headers.retain(|name, _| !which(name));
    headers.len() < before
}

fn remove_hop_by_hop(headers: &mut Headers) -> bool {
    let named = headers.get("connection").cloned().unwrap_or_default().join(&b',');
    let named = String::from_utf8_lossy(&named).to_ascii_lowercase();
    let named: Vec<&str> = named.split(',').map(str::trim).collect();
    remove(headers, |name| HOP_BY_HOP.contains(&name) || named.contains(&name))
}

fn to_utf8(headers: &mut Headers) -> bool {
    let mut changed = false;
    for value in headers.values_mut().flatten() {
        if std::str::from_utf8(value).is_err() {
            *value = value.iter().copied().map(char::from).collect::<String>().into();
            changed = true;
        }
    }
    changed
}

fn join(headers: &mut Headers, separator: impl Fn(&str) -> Option<&'static str>) -> bool {
    let mut changed = false;
    for (name, values) in headers {
        if let Some(separator) = separator(name).filter(|_| values.len() > 1) {
            *values = vec![values.join(separator.as_bytes()).into()];
            changed = true;
        }
    }
    changed
}

fn rename(headers: &mut Headers, name: &str) -> bool {
    let values = headers.remove(name);
    let there = values.is_some();
    if let Some(values) = values {
        headers.insert(format!("x-amzn-remapped-{name}"), values);
    }
    there
}
