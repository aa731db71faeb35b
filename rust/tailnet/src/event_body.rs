//! A body inside the JSON of a Function URL's event or response: text, or base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;

/// The body as text where that is no longer in JSON, else in base64; and whether it is in base64. Text that nobody else
/// holds is not copied.
pub fn encode(body: Bytes) -> (String, bool) {
    let base64_length = body.len().div_ceil(3) * 4;
    if escaped_length(&body) > base64_length {
        return (BASE64_STANDARD.encode(&body), true);
    }
    match String::from_utf8(body.into()) {
        Ok(text) => (text, false),
        Err(error) => (BASE64_STANDARD.encode(error.as_bytes()), true),
    }
}

/// The bytes of a body that came as text or in base64.
pub fn decode(text: String, is_base64: bool) -> Result<Bytes, base64::DecodeError> {
    if is_base64 {
        BASE64_STANDARD.decode(text).map(Bytes::from)
    } else {
        Ok(Bytes::from(text))
    }
}

/// How long text is inside a JSON string, as serde_json writes it.
pub fn escaped_length(bytes: &[u8]) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0x00..=0x1f => 6,
        _ => 1,
    };
    bytes.iter().map(escaped).sum()
}

/// A header's value as text: UTF-8 where it is that, else each byte as the Latin-1 character that it was in RFC 2616.
pub fn header_value_text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn escaped_length_is_what_serde_json_writes() {
        for text in ["plain", "q\"b\\n\nr\rt\tb\u{8}f\u{c}", "\u{0}\u{1f}\u{7f}", "grüße €"] {
            assert_eq!(
                escaped_length(text.as_bytes()) + 2,
                serde_json::to_string(text).unwrap().len(),
                "{text:?}"
            );
        }
    }
}
