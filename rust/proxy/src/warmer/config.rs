//! What the construct set: read once from the environment, checked in full before the first invocation.

use lambda_env::aws::{Access, ProxyVariables};
use lambda_env::{SettingError, Variables};

/// The variable that makes the executable the warmer.
pub const FUNCTION: &str = "TS_WARMER_FUNCTION";
const INVOCATIONS: &str = "TS_WARMER_INVOCATIONS";

/// How many environments are kept warm where nothing else is set.
const DEFAULT: usize = 3;
/// The most: a tenth of what an account may run at once by default.
const MOST: usize = 100;

/// The warmer's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name or ARN of the proxy's function, with the alias where it has one.
    pub function: String,
    /// How many environments are kept warm: 1 to 100, 3 by default.
    pub invocations: usize,
    /// Where Lambda's API is, and as whom it is called.
    pub access: Access,
    /// Log everything.
    pub debug: bool,
}

impl Config {
    /// Reads the settings through `get`, which is the process's environment everywhere but in tests.
    ///
    /// # Errors
    /// [`SettingError`], naming the variable.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let variables = Variables::new(get);
        Ok(Self {
            function: variables.required(FUNCTION, "set it to the proxy's function, by name or ARN")?,
            invocations: variables.text(INVOCATIONS).map_or(Ok(DEFAULT), invocations)?,
            access: Access::read(&variables, "AWS_ENDPOINT_URL_LAMBDA").through(ProxyVariables::read(&variables, &[])),
            debug: variables.switch("TS_DEBUG", false)?,
        })
    }
}

fn invocations(value: String) -> Result<usize, SettingError> {
    match value.parse() {
        Ok(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err(SettingError::invalid(
            INVOCATIONS,
            value,
            "a whole number from 1 to 100",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lambda_env::contract::Contract;

    use super::*;

    fn parse(invocations: &str) -> Result<Config, SettingError> {
        Config::parse(|name| match name {
            FUNCTION => Some("proxy:live".to_owned()),
            INVOCATIONS => Some(invocations.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_number_of_environments_is_within_bounds() {
        for (value, expected) in [("", 3), ("1", 1), ("100", 100)] {
            assert_eq!(parse(value).unwrap().invocations, expected);
        }
        for value in ["0", "101", "-1", "many", "2.5"] {
            let message = parse(value).unwrap_err().to_string();
            let expected = format!("TS_WARMER_INVOCATIONS is '{value}', but must be a whole number from 1 to 100");
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn the_function_is_required() {
        let message = Config::parse(|_| None).unwrap_err().to_string();
        assert!(message.starts_with("TS_WARMER_FUNCTION is not set: "), "{message}");
    }

    #[test]
    fn what_the_constructs_set_is_what_is_read_and_nothing_else() {
        let contract = Contract::of("warmer");
        let asked = contract.asked_for(&[], |get| drop(Config::parse(get).unwrap()));
        assert_eq!(asked, contract.names());
    }
}
