//! What the function is invoked with: a Function URL's request, a warm-up, or a diagnosis.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    diagnose,
    event::{Event, Headers},
    warm_up::{FIELD, WarmUp},
};

/// What one invocation brings.
#[derive(Debug, Clone)]
pub enum Payload {
    /// A request to a target.
    Request(Box<Event>),
    /// The warmer's.
    WarmUp(WarmUp),
    /// The doctor's: the headers that a request would name its target by.
    Diagnose(Headers),
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByFirstField).map_err(|error| {
            D::Error::custom(format!(
                "the payload must be a Function URL's request, {{\"{FIELD}\":{{\"until\":milliseconds since the Unix \
                 epoch}}}}, or {{\"{}\":{{\"ts-target-ip\":…,\"ts-target-port\":…}}}}: {error}",
                diagnose::FIELD
            ))
        })
    }
}

/// Tells the two apart by the first field, so that a request of megabytes is read once and never copied.
struct ByFirstField;

impl<'de> Visitor<'de> for ByFirstField {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
        let first: Option<String> = map.next_key()?;
        if first.as_deref() == Some(FIELD) {
            let warm_up = map.next_value()?;
            return alone(FIELD, map).map(|()| Payload::WarmUp(warm_up));
        }
        if first.as_deref() == Some(diagnose::FIELD) {
            let headers = map.next_value()?;
            return alone(diagnose::FIELD, map).map(|()| Payload::Diagnose(headers));
        }
        let event = Event::deserialize(MapAccessDeserializer::new(Rest { first, map }))?;
        Ok(Payload::Request(Box::new(event)))
    }
}

/// That nothing follows the field.
fn alone<'de, A: MapAccess<'de>>(field: &str, mut map: A) -> Result<(), A::Error> {
    match map.next_key::<String>()? {
        None => Ok(()),
        Some(other) => Err(A::Error::custom(format!("{field} goes alone, without {other}"))),
    }
}

/// An object whose first name has been read already.
struct Rest<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(name) => seed
                .deserialize(serde::de::value::StringDeserializer::new(name))
                .map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.map
            .size_hint()
            .map(|rest| rest + usize::from(self.first.is_some()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(payload: &str) -> Result<Payload, String> {
        serde_json::from_str(payload).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_taken_whatever_its_first_field_is() {
        for payload in [
            r#"{"rawPath":"/a","headers":{"a":"1","warmUp":"x"},"requestContext":{"http":{"method":"GET"}}}"#,
            r#"{"version":"2.0","requestContext":{"http":{"method":"GET"}},"rawPath":"/a","body":"{\"warmUp\":{}}"}"#,
        ] {
            let Ok(Payload::Request(event)) = read(payload) else {
                panic!("{payload}")
            };
            assert_eq!(
                (event.raw_path.as_str(), event.request_context.http.method.as_str()),
                ("/a", "GET")
            );
        }
    }

    #[test]
    fn a_warm_up_is_told_from_a_request() {
        let Ok(Payload::WarmUp(warm_up)) = read(r#"{"warmUp":{"until":1767225600000}}"#) else {
            panic!("no warm-up")
        };
        assert_eq!(warm_up.until, 1_767_225_600_000);
    }

    #[test]
    fn a_diagnosis_is_told_from_a_request() {
        let Ok(Payload::Diagnose(headers)) = read(r#"{"diagnose":{"ts-target-ip":"db","ts-target-port":"80"}}"#) else {
            panic!("no diagnosis")
        };
        assert_eq!(headers.get("ts-target-ip"), Some("db"));
    }

    #[test]
    fn anything_else_is_refused_with_what_it_must_be() {
        for (payload, why) in [
            ("{}", "missing field `rawPath`"),
            ("[1]", "invalid type"),
            (r#"{"warmUp":{}}"#, "missing field `until`"),
            (r#"{"warmUp":{"until":"soon"}}"#, "invalid type: string \"soon\""),
            (r#"{"warmUp":{"until":1,"for":2}}"#, "unknown field `for`"),
            (r#"{"warmUp":{"until":1},"rawPath":"/"}"#, "goes alone, without rawPath"),
            (r#"{"diagnose":{},"rawPath":"/"}"#, "goes alone, without rawPath"),
            (r#"{"warmer":true}"#, "missing field `rawPath`"),
        ] {
            let message = read(payload).unwrap_err();
            assert!(
                message.contains("must be a Function URL's request") && message.contains(why),
                "{message}"
            );
        }
    }
}
