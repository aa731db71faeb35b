//! What the construct set: read once from the environment, checked in full before anything starts.

use http::Uri;
use thiserror::Error;

use crate::netmap::Uncovered;

/// The extension's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of the Runtime and Extensions APIs.
    pub runtime_api: String,
    /// ARN or name of the secret that holds the auth key.
    pub secret_id: String,
    /// The machine's name in the tailnet.
    pub hostname: String,
    /// The tags to ask for, `tag:` included.
    pub advertise_tags: Vec<String>,
    /// A control server other than Tailscale's own.
    pub control_url: Option<String>,
    /// What becomes of targets that the tailnet does not cover. Refused by default.
    pub uncovered: Uncovered,
    /// Log everything, tailscaled's lines included.
    pub debug: bool,
}

/// A variable that is missing or cannot be used. Who deployed the function must mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
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
}

impl Config {
    /// Reads the settings through `get`, which is the process's environment everywhere but in tests.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = |name| get(name).filter(|value: &String| !value.is_empty());
        let required = |name, remedy| text(name).ok_or(ConfigError::Missing { name, remedy });
        Ok(Self {
            runtime_api: required(
                "AWS_LAMBDA_RUNTIME_API",
                "Lambda sets it: this program runs as a Lambda extension",
            )?,
            secret_id: required(
                "TS_SECRET_API_KEY",
                "set it to the ARN of the Secrets Manager secret that holds the Tailscale auth key",
            )?,
            hostname: hostname(required(
                "TS_HOSTNAME",
                "set it to the machine name that the tailnet shall show",
            )?)?,
            advertise_tags: text("TS_ADVERTISE_TAGS").map_or(Ok(Vec::new()), tags)?,
            control_url: text("TS_CONTROL_URL").map(control_url).transpose()?,
            uncovered: text("TS_ALLOW_UNCOVERED_TARGETS").map_or(Ok(Uncovered::Refuse), uncovered)?,
            debug: text("TS_DEBUG").map_or(Ok(false), |value| switch("TS_DEBUG", value))?,
        })
    }
}

/// Tailscale derives the machine's DNS label from it (RFC 1123 section 2.1: letters, digits and hyphens, 63 at most).
fn hostname(value: String) -> Result<String, ConfigError> {
    let legal = value.len() <= 63
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-');
    let expected = "1 to 63 letters, digits and hyphens, with no hyphen first or last";
    if legal {
        Ok(value)
    } else {
        Err(ConfigError::Invalid {
            name: "TS_HOSTNAME",
            value,
            expected,
        })
    }
}

fn tags(value: String) -> Result<Vec<String>, ConfigError> {
    let tags: Vec<String> = value.split(',').map(|tag| tag.trim().to_owned()).collect();
    let legal = |tag: &String| tag.strip_prefix("tag:").is_some_and(|name| !name.is_empty());
    let expected = "tags separated by commas, each beginning with 'tag:'";
    if tags.iter().all(legal) {
        Ok(tags)
    } else {
        Err(ConfigError::Invalid {
            name: "TS_ADVERTISE_TAGS",
            value,
            expected,
        })
    }
}

fn control_url(value: String) -> Result<String, ConfigError> {
    let legal = value
        .parse::<Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    let expected = "the control server's address, such as https://headscale.example.com";
    if legal {
        Ok(value)
    } else {
        Err(ConfigError::Invalid {
            name: "TS_CONTROL_URL",
            value,
            expected,
        })
    }
}

fn uncovered(value: String) -> Result<Uncovered, ConfigError> {
    let allow = switch("TS_ALLOW_UNCOVERED_TARGETS", value)?;
    Ok(if allow { Uncovered::Allow } else { Uncovered::Refuse })
}

fn switch(name: &'static str, value: String) -> Result<bool, ConfigError> {
    match value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ConfigError::Invalid {
            name,
            value,
            expected: "true or false",
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const REQUIRED: [(&str, &str); 3] = [
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("TS_SECRET_API_KEY", "arn:aws:s"),
        ("TS_HOSTNAME", "proxy"),
    ];

    fn parse(more: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let find = |name: &str, list: &[(&str, &str)]| {
            list.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::parse(|name| find(name, more).or_else(|| find(name, &REQUIRED)))
    }

    #[test]
    fn the_optional_settings_have_defaults() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.hostname, "proxy");
        assert_eq!(config.uncovered, Uncovered::Refuse);
        assert!(config.advertise_tags.is_empty() && config.control_url.is_none() && !config.debug);
    }

    #[test]
    fn tags_and_the_control_server_are_read() {
        let config = parse(&[
            ("TS_ADVERTISE_TAGS", "tag:lambda, tag:prod"),
            ("TS_CONTROL_URL", "http://192.0.2.2:8080"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.advertise_tags, ["tag:lambda", "tag:prod"]);
        assert_eq!(config.control_url.as_deref(), Some("http://192.0.2.2:8080"));
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_must_be() {
        for (name, value) in [
            ("TS_HOSTNAME", "not a name"),
            ("TS_HOSTNAME", "-x"),
            ("TS_ADVERTISE_TAGS", "lambda"),
            ("TS_ADVERTISE_TAGS", "tag:a,"),
            ("TS_CONTROL_URL", "headscale"),
            ("TS_DEBUG", "yes"),
            ("TS_ALLOW_UNCOVERED_TARGETS", "1"),
        ] {
            let message = parse(&[(name, value)]).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains(value) && message.contains("must be"),
                "{message}"
            );
        }
    }

    #[test]
    fn an_empty_variable_counts_as_missing() {
        let message = parse(&[("TS_HOSTNAME", "")]).unwrap_err().to_string();
        assert!(message.starts_with("TS_HOSTNAME is not set"), "{message}");
    }
}
