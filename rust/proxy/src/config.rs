//! What the construct set: read once from the environment, checked in full before the first request.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::allowed::{self, AllowedTargets};

/// How long opening a connection to a target may take where nothing else is set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The proxy's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// tailscaled's SOCKS5 server.
    pub socks: SocketAddr,
    /// The extension's status endpoint.
    pub status_socket: PathBuf,
    /// How long opening a connection to a target may take, the wait for the tailnet included. 5 s by default.
    pub connect_timeout: Duration,
    /// How long a target may take from the request to the end of its answer.
    /// By default as long as the invocation lasts; the invocation's end always comes first.
    pub response_timeout: Option<Duration>,
    /// How answers leave. Buffered by default.
    pub invoke_mode: InvokeMode,
    /// Certificate authorities to trust beside the public ones: PEM text.
    pub ca_certificates: Option<String>,
    /// Take any certificate of a target.
    pub skip_tls_verification: bool,
    /// The only targets that may be reached, where there is such a list.
    pub allowed_targets: Option<AllowedTargets>,
    /// Between two invocations the environment may be frozen, as on all of Lambda but its Managed Instances
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html>).
    pub may_freeze: bool,
    /// Log everything but bodies and secrets.
    pub debug: bool,
}

/// How the function's answers leave: the Function URL's invoke mode, which the two must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokeMode {
    /// Whole, up to 6 MB.
    Buffered,
    /// As they come, up to 200 MB.
    ResponseStream,
}

/// A variable that cannot be used. Who deployed the function must mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name} is '{value}', but must be {expected}")]
pub struct ConfigError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl Config {
    /// Reads the settings through `get`, which is the process's environment everywhere but in tests.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let milliseconds = |name| {
            get(name)
                .filter(|value| !value.is_empty())
                .map(|value| milliseconds(name, value))
        };
        Ok(Self {
            socks: SocketAddr::from(([127, 0, 0, 1], 1055)),
            status_socket: status::SOCKET.into(),
            connect_timeout: milliseconds("TS_CONNECT_TIMEOUT")
                .transpose()?
                .unwrap_or(CONNECT_TIMEOUT),
            response_timeout: milliseconds("TS_RESPONSE_TIMEOUT").transpose()?,
            invoke_mode: invoke_mode(get("TS_INVOKE_MODE"))?,
            ca_certificates: get("TS_CA_CERTIFICATES").filter(|value| !value.is_empty()),
            skip_tls_verification: switch(&get, "TS_SKIP_TLS_VERIFICATION")?,
            allowed_targets: allowed_targets(get("TS_ALLOWED_TARGETS"))?,
            may_freeze: get("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() != Some("lambda-managed-instances"),
            debug: switch(&get, "TS_DEBUG")?,
        })
    }
}

fn invoke_mode(value: Option<String>) -> Result<InvokeMode, ConfigError> {
    match value.as_deref() {
        None | Some("" | "BUFFERED") => Ok(InvokeMode::Buffered),
        Some("RESPONSE_STREAM") => Ok(InvokeMode::ResponseStream),
        Some(value) => {
            let expected = "BUFFERED or RESPONSE_STREAM";
            Err(ConfigError {
                name: "TS_INVOKE_MODE",
                value: value.to_owned(),
                expected,
            })
        }
    }
}

fn allowed_targets(list: Option<String>) -> Result<Option<AllowedTargets>, ConfigError> {
    let list = list.filter(|list| !list.is_empty());
    let parsed = list.map(|list| AllowedTargets::parse(&list)).transpose();
    parsed.map_err(|value| ConfigError {
        name: "TS_ALLOWED_TARGETS",
        value,
        expected: allowed::EXPECTED,
    })
}

fn switch(get: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<bool, ConfigError> {
    match get(name).as_deref() {
        None | Some("" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(value) => Err(ConfigError {
            name,
            value: value.to_owned(),
            expected: "true or false",
        }),
    }
}

fn milliseconds(name: &'static str, value: String) -> Result<Duration, ConfigError> {
    match value.parse() {
        Ok(number) if (1..=900_000).contains(&number) => Ok(Duration::from_millis(number)),
        _ => Err(ConfigError {
            name,
            value,
            expected: "a number of milliseconds from 1 to 900000",
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        cell::RefCell,
        collections::{BTreeMap, BTreeSet},
    };

    use super::*;

    fn parse(name: &str, value: &str) -> Result<Config, ConfigError> {
        Config::parse(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn the_settings_have_defaults() {
        let config = parse("", "").unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(5));
        assert_eq!(config.response_timeout, None);
        assert!(!config.debug);
    }

    #[test]
    fn time_outs_are_read_in_milliseconds() {
        assert_eq!(
            parse("TS_CONNECT_TIMEOUT", "250").unwrap().connect_timeout,
            Duration::from_millis(250)
        );
        assert_eq!(
            parse("TS_RESPONSE_TIMEOUT", "9000").unwrap().response_timeout,
            Some(Duration::from_secs(9))
        );
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_must_be() {
        for (name, value) in [
            ("TS_CONNECT_TIMEOUT", "0"),
            ("TS_RESPONSE_TIMEOUT", "5s"),
            ("TS_DEBUG", "1"),
            ("TS_INVOKE_MODE", "STREAM"),
            ("TS_SKIP_TLS_VERIFICATION", "yes"),
            ("TS_ALLOWED_TARGETS", "10.0.0.1/8"),
        ] {
            let message = parse(name, value).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains(value) && message.contains("must be"),
                "{message}"
            );
        }
    }

    /// The table that the constructs' tests read too.
    const CONTRACT: &str = include_str!("../../../test/fixtures/environment.json");

    #[test]
    fn what_the_constructs_set_is_what_is_read_and_nothing_else() {
        let contract: Vec<serde_json::Value> = serde_json::from_str(CONTRACT).unwrap();
        let ours: BTreeMap<&str, &str> = contract
            .iter()
            .filter(|variable| variable["owner"] == "proxy")
            .map(|variable| {
                (
                    variable["name"].as_str().unwrap(),
                    variable["example"].as_str().unwrap(),
                )
            })
            .collect();
        let asked = RefCell::new(BTreeSet::new());
        Config::parse(|name| {
            asked.borrow_mut().insert(name.to_owned());
            ours.get(name).map(|example| (*example).to_owned())
        })
        .unwrap();
        let read: Vec<String> = asked
            .into_inner()
            .into_iter()
            .filter(|name| name.starts_with("TS_"))
            .collect();
        assert_eq!(read, ours.keys().copied().collect::<Vec<_>>());
    }
}
