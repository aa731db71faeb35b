//! What all HTTP intermediaries here owe alike: the proxy, the extension's HTTP proxy, and the caller's.

use http::{HeaderMap, HeaderName, Method, header};

/// Hop-by-hop headers (RFC 9110 section 7.6.1), and those that earlier HTTP versions treated as such.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// The longest message in a header: every client takes one of this length.
const MAX_MESSAGE: usize = 1024;

/// Whether a header is one of those that are hop-by-hop without being named by `connection`.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Takes out the hop-by-hop headers, those that `connection` names included.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Byte by byte: what is no name in one place of the list takes nothing from the names in the others.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Whether a request may be sent again on its own (RFC 9110 section 9.2.2). Unlike [`Method::is_idempotent`], it leaves out
/// `QUERY`.
pub fn is_idempotent(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::PUT,
        Method::DELETE,
    ]
    .contains(method)
}

/// A message as a header's value: one line of visible ASCII, cut after 1,024 characters.
pub fn header_text(message: &str) -> String {
    let visible = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    message.chars().take(MAX_MESSAGE).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_that_connection_names_are_hop_by_hop_too() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("x-kept", "2"),
            ("upgrade", "h2c"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn what_is_no_name_in_connection_hides_none() {
        for value in ["caf\u{e9}, x-own", "a b,x-own", ",,X-Own\t,", "\u{80}\u{ff},x-own"] {
            let mut headers = HeaderMap::new();
            headers.insert("x-own", HeaderValue::from_static("1"));
            headers.insert("connection", HeaderValue::from_bytes(value.as_bytes()).expect(value));
            remove_hop_by_hop(&mut headers);
            assert!(headers.is_empty(), "{value}: {headers:?}");
        }
    }
}
