//! Which headers stop at the proxy, in both directions.

use http::{HeaderMap, HeaderValue, Version, header};
use tailnet::intermediary::remove_hop_by_hop;

/// Takes out the hop-by-hop headers, those that `connection` names included, and adds `via` (RFC 9110 section 7.6.3) for a
/// message that came by `version`.
pub(crate) fn forward(headers: &mut HeaderMap, version: Version) {
    // Where a length stands beside a transfer coding, an intermediary must remove it (RFC 9112 section 6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
    // It is this proxy's to send (RFC 9110 section 11.7.1).
    headers.remove(header::PROXY_AUTHENTICATE);
    let via = if version == Version::HTTP_10 {
        "1.0 tailscale-extension"
    } else {
        "1.1 tailscale-extension"
    };
    headers.append(header::VIA, HeaderValue::from_static(via));
}

/// Takes out the marks of the proxy's own responses, which no target may forge.
pub(crate) fn remove_reserved(headers: &mut HeaderMap) {
    for name in ["ts-error-name", "ts-error-message"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderName;

    use super::*;

    #[test]
    fn hop_by_hop_headers_stop_and_the_others_go_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("proxy-connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic dTpw"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("upgrade", "websocket"),
            ("authorization", "Bearer x"),
            ("via", "1.1 other"),
        ] {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        forward(&mut headers, Version::HTTP_11);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(headers["authorization"], "Bearer x");
        let via: Vec<_> = headers.get_all("via").iter().collect();
        assert_eq!(via, ["1.1 other", "1.1 tailscale-extension"]);
    }
}
