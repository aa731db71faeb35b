//! Which headers stop at the proxy, in both directions.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

/// Hop-by-hop headers (RFC 9110 section 7.6.1), and those that earlier HTTP versions treated as such.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes out the hop-by-hop headers, those that `connection` names included, and adds `via` (RFC 9110 section 7.6.3) for a
/// message that came by `version`.
pub(crate) fn forward(headers: &mut HeaderMap, version: Version) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // Where a length stands beside a transfer coding, an intermediary must remove it (RFC 9112 section 6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
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
