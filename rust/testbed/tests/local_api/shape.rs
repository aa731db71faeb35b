//! Which fields JSON has, and of what type.

use libtest_mimic::Failed;
use serde_json::Value;

/// A type of JSON's, as the extension reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Boolean,
    /// Not negative.
    Whole,
    /// With something in it.
    List,
    /// With something in it.
    Map,
}

impl Type {
    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Whole => value.is_u64(),
            Self::List => value.as_array().is_some_and(|items| !items.is_empty()),
            Self::Map => value.as_object().is_some_and(|fields| !fields.is_empty()),
        }
    }
}

/// Fails unless `value` has all `fields`, each by its path and of its type; names each one that is not as it should be, and
/// the `call` that brought it. In a path `*` stands for each item of a list or map, of which there must be one.
pub(crate) fn has(call: &str, value: &Value, fields: &[(&str, Type)]) -> Result<(), Failed> {
    let mut wrong = String::new();
    for (path, kind) in fields {
        let found = at(value, path);
        if found.is_empty() {
            wrong += &format!("\n  {path}: want {kind:?}, got nothing");
        }
        for value in found.iter().filter(|value| !kind.is_of(value)) {
            wrong += &format!("\n  {path}: want {kind:?}, got {value}");
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{call}: the extension reads fields that are not as they were:{wrong}\nin {value}").into())
}

/// What is at `path`. Of a field that is missing, `null`.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    path.split('.').fold(vec![value], |values, step| {
        let below = |value: &'a Value| match (step, value) {
            ("*", Value::Array(items)) => items.iter().collect(),
            ("*", Value::Object(fields)) => fields.values().collect(),
            ("*", _) => Vec::new(),
            _ => vec![&value[step]],
        };
        values.into_iter().flat_map(below).collect()
    })
}

/// Whether there is anything at `path`.
pub(crate) fn tells(value: &Value, path: &str) -> bool {
    at(value, path).iter().any(|value| !value.is_null())
}
