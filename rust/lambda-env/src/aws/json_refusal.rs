//! How services with the JSON protocol write why they refuse.
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>

use serde::Deserialize;

/// A service's error.
#[derive(Debug, Deserialize)]
pub struct JsonRefusal {
    #[serde(rename = "__type")]
    r#type: String,
    #[serde(default)]
    message: String,
    /// Some refusals write it so, and some in both ways.
    #[serde(rename = "Message", default)]
    capital_message: String,
}

impl JsonRefusal {
    /// Reads the body of a response. `None`: it is none.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The error's code, without the namespace that may come before it and the address that may follow.
    pub fn code(&self) -> &str {
        let name = self.r#type.rsplit('#').next().unwrap_or_default();
        name.split(':').next().unwrap_or_default()
    }

    /// What the service says about it, if it says something.
    pub fn message(&self) -> Option<&str> {
        let messages = [&self.message, &self.capital_message];
        messages
            .into_iter()
            .find(|message| !message.is_empty())
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_message_are_found_in_each_form() {
        for (body, code, message) in [
            (r#"{"__type":"A","message":"no"}"#, "A", Some("no")),
            (r#"{"__type":"com.amazonaws.ssm#A","Message":"no"}"#, "A", Some("no")),
            (
                r#"{"__type":"A:http://a.example/","message":"no","Message":"no"}"#,
                "A",
                Some("no"),
            ),
            (r#"{"__type":"A"}"#, "A", None),
        ] {
            let refusal = JsonRefusal::read(body.as_bytes()).expect(body);
            assert_eq!((refusal.code(), refusal.message()), (code, message), "{body}");
        }
        assert!(JsonRefusal::read(b"Bad gateway").is_none());
    }
}
