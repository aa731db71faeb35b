//! Which headers are renamed, and which stop here.

use http::{HeaderMap, HeaderName, header};
use tailnet::intermediary::is_hop_by_hop;

/// The headers that SigV4 takes, and the names under which the tailnet's proxy takes the target's own.
const TAKEN_BY_SIGNATURE: [(HeaderName, HeaderName); 4] = [
    (header::AUTHORIZATION, HeaderName::from_static("ts-authorization")),
    (
        HeaderName::from_static("x-amz-date"),
        HeaderName::from_static("ts-x-amz-date"),
    ),
    (
        HeaderName::from_static("x-amz-content-sha256"),
        HeaderName::from_static("ts-x-amz-content-sha256"),
    ),
    (
        HeaderName::from_static("x-amz-security-token"),
        HeaderName::from_static("ts-x-amz-security-token"),
    ),
];

/// What the service puts before the names of headers that it does not let through.
const REMAPPED: &str = "x-amzn-remapped-";

/// Gives the headers that the signature takes the names under which they reach the target.
pub(crate) fn make_room_for_signature(headers: &mut HeaderMap) {
    for (name, prefixed) in TAKEN_BY_SIGNATURE {
        rename(headers, &name, prefixed);
    }
}

/// Gives the headers that the service renamed their own names again. Those of one hop, and the length of a body that the
/// service may have decoded, are gone for good.
pub(crate) fn restore_remapped(headers: &mut HeaderMap, has_body: bool) {
    let remapped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(REMAPPED))
        .cloned()
        .collect();
    for name in remapped {
        let own = name.as_str().trim_start_matches(REMAPPED).parse::<HeaderName>();
        match own {
            Ok(own) if !(is_hop_by_hop(&own) || own == header::CONTENT_LENGTH && has_body) => {
                headers.remove(&own);
                rename(headers, &name, own);
            }
            _ => drop(headers.remove(&name)),
        }
    }
}

fn rename(headers: &mut HeaderMap, name: &HeaderName, new: HeaderName) {
    let values: Vec<_> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    for value in values {
        headers.append(new.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_the_signature_takes_goes_on_under_another_name() {
        let mut headers = map(&[
            ("authorization", "Basic dTpw"),
            ("x-amz-date", "then"),
            ("x-amz-meta", "kept"),
        ]);
        make_room_for_signature(&mut headers);
        assert_eq!(
            headers,
            map(&[
                ("ts-authorization", "Basic dTpw"),
                ("ts-x-amz-date", "then"),
                ("x-amz-meta", "kept")
            ])
        );
    }

    #[test]
    fn what_the_service_renamed_has_its_own_name_again() {
        let mut headers = map(&[
            ("date", "the service's"),
            ("x-amzn-remapped-date", "the target's"),
            ("x-amzn-remapped-www-authenticate", "Basic"),
            ("x-amzn-remapped-connection", "close"),
            ("x-amzn-remapped-content-length", "9"),
            ("x-kept", "1"),
        ]);
        restore_remapped(&mut headers, true);
        assert_eq!(
            headers,
            map(&[("date", "the target's"), ("www-authenticate", "Basic"), ("x-kept", "1")])
        );
        let mut headers = map(&[("x-amzn-remapped-content-length", "9")]);
        restore_remapped(&mut headers, false);
        assert_eq!(headers, map(&[("content-length", "9")]));
    }
}
