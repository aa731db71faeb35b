//! A body inside the JSON of a Function URL's event or response: text, or base64.

use base64_simd::STANDARD;
use bytes::Bytes;

/// The JSON of an object that has a field already, with `body` as two more: `body` and `isBase64Encoded`. It is text where
/// that is no longer in JSON, else in base64.
pub fn with_body(mut object: String, body: &[u8]) -> String {
    let base64_length = body.len().div_ceil(3) * 4;
    object.pop();
    // At once as large as it will be: growing copies it several times.
    object.reserve(base64_length + r#","body":"","isBase64Encoded":false}"#.len());
    object.push_str(r#","body":""#);
    let start = object.len();
    let is_text = str::from_utf8(body).is_ok_and(|text| escape(text, base64_length, &mut object));
    if !is_text {
        object.truncate(start);
        STANDARD.encode_append(body, &mut object);
    }
    object.push_str(if is_text {
        r#"","isBase64Encoded":false}"#
    } else {
        r#"","isBase64Encoded":true}"#
    });
    object
}

/// Appends what stands for `text` between the quotes of a JSON string, if that is no more than `limit` bytes.
fn escape(text: &str, limit: usize, json: &mut String) -> bool {
    let end = json.len() + limit;
    let mut rest = text;
    loop {
        let plain = plain_length(rest.as_bytes());
        let Some(&byte) = rest.as_bytes().get(plain) else {
            let fits = json.len() + rest.len() <= end;
            if fits {
                json.push_str(rest);
            }
            return fits;
        };
        let numbered;
        let escaped = match byte {
            b'"' => r#"\""#,
            b'\\' => r"\\",
            b'\n' => r"\n",
            b'\r' => r"\r",
            b'\t' => r"\t",
            0x08 => r"\b",
            0x0c => r"\f",
            _ => {
                numbered = format!(r"\u{byte:04x}");
                &numbered
            }
        };
        if json.len() + plain + escaped.len() > end {
            return false;
        }
        json.push_str(&rest[..plain]);
        json.push_str(escaped);
        rest = &rest[plain + 1..];
    }
}

/// How many bytes come before the first that JSON has escaped: quotes, backslashes and control characters. Eight are looked at at
/// a time, because megabytes are, with what finds a byte in a word that is less than another, or zero
/// (<https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>): what it finds above the first may be wrong.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word & HIGHS;
    let is = |word: u64, byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = less(word, 0x20) | is(word, b'"') | is(word, b'\\');
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest
        .iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
    words.len() * 8 + in_rest.unwrap_or(rest.len())
}

/// The bytes of a body that came as text or in base64, unless it is no base64. They are where the text was: nothing is copied.
pub fn decode(text: String, is_base64: bool) -> Option<Bytes> {
    let mut bytes = text.into_bytes();
    if is_base64 {
        let length = STANDARD.decode_inplace(&mut bytes).ok()?.len();
        bytes.truncate(length);
    }
    Some(bytes.into())
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
    fn a_body_is_what_serde_json_makes_of_the_text_or_base64_where_that_is_shorter() {
        let all: String = (0..0x80).map(char::from).collect();
        let long = "plain text, and a \"quote\"\n".repeat(9);
        let texts = [
            "",
            "plain",
            "12345678",
            "1234567\"",
            "q\"b\\ and \u{8} more",
            "grüße €\n and more than enough",
            &long,
        ];
        for text in texts {
            let expected = serde_json::to_string(text).unwrap();
            let made = with_body(r#"{"a":1}"#.into(), text.as_bytes());
            assert_eq!(made, format!(r#"{{"a":1,"body":{expected},"isBase64Encoded":false}}"#));
        }
        for body in [
            all.as_bytes(),
            &[0xff, b'a'],
            "\"\"\"\"\"".as_bytes(),
            b"plain, and \xff",
        ] {
            let made: serde_json::Value = serde_json::from_str(&with_body(r#"{"a":1}"#.into(), body)).unwrap();
            assert_eq!(made["isBase64Encoded"], true, "{made}");
            assert_eq!(decode(made["body"].as_str().unwrap().into(), true).unwrap(), body);
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["no base64", "YQ", "YQ==YQ==", "YR==", "Y===", "YQ=\n", "grüße"] {
            assert_eq!(decode(text.into(), true), None, "{text}");
        }
        assert_eq!(decode("YWI=".into(), true).unwrap(), "ab");
        assert_eq!(decode(String::new(), true).unwrap(), "");
    }

    #[test]
    fn each_byte_that_json_escapes_is_found_wherever_it_is() {
        for byte in 0..0x80 {
            for place in 0..20 {
                for filling in ['a', '\u{7f}', '!', 'é'] {
                    let mut text = filling.to_string().repeat(20);
                    text.insert(
                        (0..=place).rev().find(|place| text.is_char_boundary(*place)).unwrap(),
                        char::from(byte),
                    );
                    text.push_str("and as much again, so that base64 is longer than all of it: xxxxxxxxxxxx");
                    let expected = serde_json::to_string(&text).unwrap();
                    let made = with_body(r#"{"a":1}"#.into(), text.as_bytes());
                    assert!(made.contains(&expected), "{made}");
                }
            }
        }
    }
}
