//! The event that a Function URL makes of a request (payload format 2.0), taken as it is:
//! nothing decoded, normalised or looked up in a list.
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// One request, as the service hands it over.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The path, percent-encoded as the caller sent it.
    pub raw_path: String,
    /// The query without its question mark, percent-encoded as the caller sent it; empty where there is none.
    #[serde(default)]
    pub raw_query_string: String,
    /// The headers but `cookie`, names in lower case, repeated ones joined with commas.
    #[serde(default)]
    pub headers: Headers,
    /// The cookies, one a pair.
    #[serde(default)]
    pub cookies: Vec<String>,
    /// What the service knows of the request.
    pub request_context: RequestContext,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// Whether the body is in base64.
    #[serde(default)]
    pub is_base64_encoded: bool,
}

/// Path, query, cookies and body can hold secrets: none of them is shown.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("headers", &self.headers)
            .field("request_context", &self.request_context)
            .finish_non_exhaustive()
    }
}

/// What the service knows of the request, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct RequestContext {
    /// The request line.
    pub http: HttpContext,
    /// Who asked.
    #[serde(default)]
    pub authorizer: Option<Authorizer>,
}

impl RequestContext {
    /// The ARN of the caller, where the URL has IAM check it.
    pub fn caller(&self) -> Option<&str> {
        self.authorizer.as_ref()?.iam.as_ref()?.user_arn.as_deref()
    }
}

/// Who asked, by the way it was checked.
#[derive(Debug, Clone, Deserialize)]
pub struct Authorizer {
    /// What IAM knows of the caller.
    #[serde(default)]
    pub iam: Option<Iam>,
}

/// What IAM knows of the caller, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Iam {
    /// The ARN.
    #[serde(default)]
    pub user_arn: Option<String>,
}

/// The request line.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpContext {
    /// The method.
    pub method: String,
}

/// Names and values in the order of the event.
#[derive(Clone, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of the header with this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Values can be secrets: only the names are shown.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(16));
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Headers(pairs))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_can_hold_a_secret_is_never_shown() {
        let event: Event = serde_json::from_value(serde_json::json!({
            "rawPath": "/s3cret", "rawQueryString": "a=s3cret", "headers": {"x-a": "s3cret"}, "cookies": ["a=s3cret"],
            "requestContext": {"http": {"method": "GET"}}, "body": "s3cret",
        }))
        .unwrap();
        let shown = format!("{event:?}");
        assert!(
            shown.contains("x-a") && shown.contains("GET") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
