//! Which headers stop at the proxy, in both directions.

use http::HeaderName;

use crate::signature;

/// What the Function URL adds.
const ADDED_BY_AWS: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"];

/// Headers that a caller sends under another name, because SigV4 or the URL takes the real one.
const RENAMED: [&str; 5] = [
    "authorization",
    "host",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-security-token",
];

/// The request header that tells a target who asked. The proxy alone sets it.
pub const CALLER_ARN: HeaderName = HeaderName::from_static("ts-caller-arn");

/// The name under which a request header goes on to the target, if it does; `name` is in lower case.
pub fn forwarded_name(name: &str) -> Option<&str> {
    if reads_as_caller_arn(name) {
        return None;
    }
    if let Some(rest) = name.strip_prefix("ts-") {
        return RENAMED.contains(&rest).then_some(rest);
    }
    let stops = signature::HEADERS.contains(&name) || ADDED_BY_AWS.contains(&name) || name.starts_with("x-amzn-");
    (!stops).then_some(name)
}

/// Whether a server may take this header for [`CALLER_ARN`]: CGI and its successors (RFC 3875 section 4.1.18, WSGI, Rack,
/// PHP) turn what is neither a letter nor a digit into the same underscore.
fn reads_as_caller_arn(name: &str) -> bool {
    let folded = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    name.bytes().map(folded).eq(CALLER_ARN.as_str().bytes())
}

/// Whether a response header stops here.
///
/// The service answers 500 where a function sends `x-amzn-remapped-*` itself; and `ts-error-*` is the mark of the
/// proxy's own answers, which no target may forge.
pub fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-amzn-remapped-") || name.as_str().starts_with("ts-error-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_sigv4_the_url_or_our_own_goes_on() {
        for name in [
            "authorization",
            "x-amz-date",
            "x-amz-security-token",
            "x-amz-content-sha256",
            "host",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-amzn-trace-id",
            "x-amzn-tls-version",
            "ts-target-ip",
            "ts-metric-service",
            "ts-anything",
        ] {
            assert_eq!(forwarded_name(name), None, "{name}");
        }
    }

    #[test]
    fn no_caller_can_forge_who_asked() {
        for name in ["ts-caller-arn", "ts_caller_arn", "ts-caller_arn", "ts.caller.arn"] {
            assert_eq!(forwarded_name(name), None, "{name}");
        }
        assert_eq!(forwarded_name("ts_caller_arns"), Some("ts_caller_arns"));
    }

    #[test]
    fn the_prefixed_headers_take_the_place_of_the_real_ones() {
        assert_eq!(forwarded_name("ts-authorization"), Some("authorization"));
        assert_eq!(forwarded_name("ts-x-amz-security-token"), Some("x-amz-security-token"));
        assert_eq!(forwarded_name("ts-host"), Some("host"));
    }

    #[test]
    fn everything_else_passes_under_its_name() {
        for name in [
            "accept",
            "x-forwarded-host",
            "x-amz-meta-a",
            "traceparent",
            "tsx",
            "via",
        ] {
            assert_eq!(forwarded_name(name), Some(name));
        }
    }
}
