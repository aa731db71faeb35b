//! What of a caller's SigV4 signature stops at the proxy: it signs for Lambda, and is no target's business.
//!
//! Whoever sees a presigned URL's parameters can replay the call until they expire, and with other `ts-` headers, if
//! those were not signed.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The headers of a signed request: a caller's session token must not reach a target.
pub(crate) const HEADERS: [&str; 4] = [
    "authorization",
    "x-amz-date",
    "x-amz-content-sha256",
    "x-amz-security-token",
];

/// The parameters of a presigned request.
const PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

/// How the credential scope ends that a Function URL accepts. A scope of another service belongs to a presigned URL of
/// the target's own (S3's, for instance), which passes as it is.
const SCOPE: &str = "/lambda/aws4_request";

/// `query` without the parameters of a presigned request to Lambda, everything else byte for byte.
pub fn without_signature(query: &str) -> Cow<'_, str> {
    let is_ours = query.split('&').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        is(name, "X-Amz-Credential") && percent_decode_str(value).decode_utf8_lossy().ends_with(SCOPE)
    });
    if !is_ours {
        return Cow::Borrowed(query);
    }
    let stays = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        !PARAMETERS.iter().any(|ours| is(name, ours))
    };
    Cow::Owned(query.split('&').filter(stays).collect::<Vec<_>>().join("&"))
}

/// Whether `name` is `expected` as the service reads it: percent-decoded, and in any case.
fn is(name: &str, expected: &str) -> bool {
    percent_decode_str(name)
        .decode_utf8_lossy()
        .eq_ignore_ascii_case(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAMBDAS: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101%2Feu-west-1%2Flambda%2Faws4_request\
        &X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t0ken&X-Amz-Signature=abc";

    #[test]
    fn a_presigned_requests_signature_stops_here_and_the_rest_passes_byte_for_byte() {
        for rest in ["", "a=1", "a=&a=%20&&b", "x-amz-meta=1&X-Amz-Datex=2", "%zz=%", "="] {
            assert_eq!(without_signature(&format!("{LAMBDAS}&{rest}")), rest);
            assert_eq!(without_signature(&format!("{rest}&{LAMBDAS}")), rest);
        }
        let (first, last) = LAMBDAS.split_at(LAMBDAS.find("&X-Amz-Date").unwrap_or_default());
        assert_eq!(without_signature(&format!("{first}&b=2&c{last}")), "b=2&c");
    }

    #[test]
    fn another_spelling_of_a_parameter_stops_here_too() {
        let encoded = LAMBDAS.replace("X-Amz-S", "X%2DAmz%2dS").replace("X-Amz-C", "x-amz-c");
        assert_eq!(without_signature(&encoded), "");
        let plain = LAMBDAS.replace("%2F", "/");
        assert_eq!(without_signature(&plain), "");
    }

    #[test]
    fn a_presigned_url_of_the_targets_own_passes_as_it_is() {
        let s3 = LAMBDAS.replace("lambda", "s3");
        for query in [
            &s3[..],
            "X-Amz-Signature=abc&X-Amz-Date=1",
            "a=/lambda/aws4_request",
            "",
        ] {
            assert_eq!(without_signature(query), query);
        }
    }
}
