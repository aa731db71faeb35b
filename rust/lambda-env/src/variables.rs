//! Variables by type. An empty one counts as unset: `process.env.TAGS ?? ''` is a common way to pass a property.

use std::time::Duration;

use thiserror::Error;

/// A variable that is missing or cannot be used. Who deployed the function must mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// The variable is required.
    #[error("{name} is not set: {remedy}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The variable's value cannot be used.
    #[error("{name} is '{value}', but must be {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The variable's value cannot be used, and is too long to be shown.
    #[error("{name} cannot be used: {reason}; it must be {expected}")]
    Unusable {
        /// The variable.
        name: &'static str,
        /// Why.
        reason: String,
        /// What it must be.
        expected: &'static str,
    },
}

impl SettingError {
    /// The error of a variable whose value cannot be used. Not for a secret's: the message shows it.
    pub fn invalid(name: &'static str, value: impl Into<String>, expected: &'static str) -> Self {
        let value = value.into();
        Self::Invalid { name, value, expected }
    }
}

/// The variables that a program reads its settings from.
pub struct Variables<G> {
    get: G,
}

impl<G: Fn(&str) -> Option<String>> Variables<G> {
    /// The variables that `get` finds, which is the process's environment everywhere but in tests.
    pub fn new(get: G) -> Self {
        Self { get }
    }

    /// The variable's text.
    pub fn text(&self, name: &'static str) -> Option<String> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    /// The text of a variable that must be set; `remedy` says to whom it may concern what to set it to.
    pub fn required(&self, name: &'static str, remedy: &'static str) -> Result<String, SettingError> {
        self.text(name).ok_or(SettingError::Missing { name, remedy })
    }

    /// `true` or `false`; `default` where the variable is unset.
    pub fn switch(&self, name: &'static str, default: bool) -> Result<bool, SettingError> {
        match self.text(name).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(value) => Err(SettingError::invalid(name, value, "true or false")),
        }
    }

    /// A time from 1 ms to 15 minutes, which is as long as an invocation can last.
    pub fn milliseconds(&self, name: &'static str) -> Result<Option<Duration>, SettingError> {
        self.time(name, 1, "a number of milliseconds from 1 to 900000")
    }

    /// As [`milliseconds`](Self::milliseconds), or 0.
    pub fn milliseconds_or_none(&self, name: &'static str) -> Result<Option<Duration>, SettingError> {
        self.time(name, 0, "a number of milliseconds from 0 to 900000")
    }

    fn time(&self, name: &'static str, least: u64, expected: &'static str) -> Result<Option<Duration>, SettingError> {
        let parse = |value: String| match value.parse() {
            Ok(number) if (least..=900_000).contains(&number) => Ok(Duration::from_millis(number)),
            _ => Err(SettingError::invalid(name, value, expected)),
        };
        self.text(name).map(parse).transpose()
    }

    /// A number of 1 or more; `default` where the variable is unset.
    pub fn positive(&self, name: &'static str, default: u32) -> Result<u32, SettingError> {
        let parse = |value: String| match value.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(SettingError::invalid(name, value, "a whole number above 0")),
        };
        self.text(name).map_or(Ok(default), parse)
    }

    /// Whether this is one of Lambda's Managed Instances, which never freeze and know no INVOKE event
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html>).
    pub fn managed_instance(&self) -> bool {
        self.text("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() == Some("lambda-managed-instances")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(value: &str) -> Variables<impl Fn(&str) -> Option<String>> {
        Variables::new(move |name| (name == "TS_X").then(|| value.to_owned()))
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(one("").text("TS_X"), None);
        assert_eq!(one("").switch("TS_X", true), Ok(true));
        assert_eq!(one("").milliseconds("TS_X"), Ok(None));
        assert_eq!(one("").positive("TS_X", 4), Ok(4));
        assert_eq!(
            one("").required("TS_X", "set it to x").unwrap_err().to_string(),
            "TS_X is not set: set it to x"
        );
    }

    #[test]
    fn a_value_of_its_type_is_taken() {
        assert_eq!(one("a b").text("TS_X").as_deref(), Some("a b"));
        assert_eq!(one("false").switch("TS_X", true), Ok(false));
        assert_eq!(
            one("900000").milliseconds("TS_X"),
            Ok(Some(Duration::from_secs(15 * 60)))
        );
        assert_eq!(one("0").milliseconds_or_none("TS_X"), Ok(Some(Duration::ZERO)));
        assert_eq!(one("1").positive("TS_X", 4), Ok(1));
    }

    #[test]
    fn any_other_value_is_shown_with_what_it_must_be() {
        let shown = |error: SettingError| error.to_string();
        assert_eq!(
            shown(one("1").switch("TS_X", false).unwrap_err()),
            "TS_X is '1', but must be true or false"
        );
        for value in ["0", "900001", "5s", "-1"] {
            assert_eq!(
                shown(one(value).milliseconds("TS_X").unwrap_err()),
                format!("TS_X is '{value}', but must be a number of milliseconds from 1 to 900000")
            );
        }
        for value in ["0", "-1", "1.5", "4294967296"] {
            assert_eq!(
                shown(one(value).positive("TS_X", 4).unwrap_err()),
                format!("TS_X is '{value}', but must be a whole number above 0")
            );
        }
    }
}
