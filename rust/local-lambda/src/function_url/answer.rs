//! A buffered answer: the function's JSON becomes an HTTP response.
//!
//! Doc: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use super::response_head::{Malformed, ResponseHead, unexpected};

/// Reads what the function answered. An object with a `statusCode` is a response; any other JSON is the body of a 200.
pub(crate) fn read(payload: Bytes) -> Result<(ResponseHead, Bytes), Malformed> {
    let value: Value = serde_json::from_slice(&payload)?;
    let Some(fields) = value.as_object().filter(|fields| fields.contains_key("statusCode")) else {
        return Ok((
            ResponseHead::plain(HeaderValue::from_static("application/json")),
            payload,
        ));
    };
    let head = ResponseHead::read(fields)?;
    let encoded = match fields.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(encoded)) => *encoded,
        Some(other) => return Err(unexpected("isBase64Encoded", other, "a boolean")),
    };
    let body = match fields.get("body") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(other) => return Err(unexpected("body", other, "a string")),
    };
    let body = if encoded {
        STANDARD.decode(body)?.into()
    } else {
        Bytes::copy_from_slice(body.as_bytes())
    };
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(payload: &'static str) -> Result<(ResponseHead, Bytes), Malformed> {
        super::read(Bytes::from_static(payload.as_bytes()))
    }

    #[test]
    fn the_documents_string_and_json_examples_are_bodies_of_a_200() {
        for payload in [r#""Hello, world!""#, r#"{ "message": "Hello, world!" }"#, "null", "[1]"] {
            let (head, body) = read(payload).unwrap();
            assert_eq!((head.status.as_u16(), &body[..]), (200, payload.as_bytes()));
            assert_eq!(head.headers["content-type"], "application/json");
        }
    }

    #[test]
    fn the_documents_cookie_example_sets_two_cookies() {
        let (head, body) = read(
            r#"{"statusCode": 201, "headers": {"Content-Type": "application/json", "My-Custom-Header": "Custom Value"},
                "body": "{ \"message\": \"Hello, world!\" }",
                "cookies": ["Cookie_1=Value1; Expires=21 Oct 2021 07:48 GMT", "Cookie_2=Value2; Max-Age=78000"],
                "isBase64Encoded": false}"#,
        )
        .unwrap();
        assert_eq!(head.status, 201);
        assert_eq!(head.headers["my-custom-header"], "Custom Value");
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(
            cookies,
            [
                "Cookie_1=Value1; Expires=21 Oct 2021 07:48 GMT",
                "Cookie_2=Value2; Max-Age=78000"
            ]
        );
        assert_eq!(body, r#"{ "message": "Hello, world!" }"#);
    }

    #[test]
    fn base64_is_decoded() {
        let (_, body) = read(r#"{"statusCode": 200, "body": "AP8=", "isBase64Encoded": true}"#).unwrap();
        assert_eq!(&body[..], b"\x00\xff");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert!(matches!(read("not json"), Err(Malformed::NotJson(_))));
        assert!(matches!(
            read(r#"{"statusCode": 200, "body": {}}"#),
            Err(Malformed::Field { field: "body", .. })
        ));
        assert!(matches!(
            read(r#"{"statusCode": 200, "isBase64Encoded": "yes"}"#),
            Err(Malformed::Field {
                field: "isBase64Encoded",
                ..
            })
        ));
        let bad = r#"{"statusCode": 200, "body": "?", "isBase64Encoded": true}"#;
        assert!(matches!(read(bad), Err(Malformed::Base64(_))));
    }
}
