//! The settings: read once from the environment, and checked in full before anything starts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::Uri;
use lambda_env::aws::Access;
use lambda_env::extensions_api::Events;
use lambda_env::{SettingError, Variables};

use crate::{policy::Uncovered, socks::config::SocksConfig, supervisor::exit_node::ExitNode};

/// What a ping of the exit node may take, and how many there are, unless the settings say otherwise.
const PING_TIMEOUT: Duration = Duration::from_millis(500);
const PINGS: u32 = 4;
/// Where the function's processes find SOCKS5.
const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1055);
/// Where tailscaled's own server listens behind ours. Peers that are let in reach 127.0.0.1, and not this address.
const BEHIND_OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 1056);

/// The extension's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of the Runtime and Extensions APIs.
    pub runtime_api: String,
    /// ARN or name of the secret that holds the auth key.
    pub secret_id: String,
    /// Where Secrets Manager is, and as whom it is asked.
    pub secrets: Access,
    /// The field of the secret that holds the key, where the secret is a JSON object.
    pub secret_field: Option<String>,
    /// The machine's name in the tailnet.
    pub hostname: String,
    /// The tags to ask for, `tag:` included.
    pub advertise_tags: Vec<String>,
    /// A control server other than Tailscale's own.
    pub control_url: Option<String>,
    /// Through which machine all else leaves.
    pub exit_node: Option<ExitNode>,
    /// Let no peer in: a connection to the machine would reach the function's loopback. So by default.
    pub shields_up: bool,
    /// The function must not start without the tailnet. By default it starts, and requests are told why there is none.
    pub require_tailnet: bool,
    /// Which events the environment has.
    pub events: Events,
    /// Whether targets that the tailnet does not cover may be dialled. Refused by default.
    pub uncovered: Uncovered,
    /// Hosts that requests are likely to be for: the single ones among the targets that the proxy allows.
    pub likely_targets: Vec<String>,
    /// Where tailscaled's own SOCKS5 server listens.
    pub socks: SocketAddr,
    /// The SOCKS5 server in front of it: there by default, and not for the proxy, which asks the status socket before it
    /// dials.
    pub socks_server: Option<SocksConfig>,
    /// Log everything, tailscaled's lines included.
    pub debug: bool,
}

impl Config {
    /// Reads the settings through `get`, which is the process's environment everywhere but in tests.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let variables = Variables::new(get);
        let exit_node = exit_node(&variables)?;
        let uncovered = variables.switch("TS_ALLOW_UNCOVERED_TARGETS", false)?;
        // Where all else must leave by the exit node, what that does not cover, because it is gone, must not leave.
        let one_way_out = exit_node.as_ref().is_some_and(|node| node.required);
        let socks_server = (!variables.switch("TS_DIRECT_SOCKS", false)?).then_some(SocksConfig {
            listen: SOCKS,
            daemon: BEHIND_OURS,
            uncovered: if one_way_out {
                Uncovered::Refuse
            } else {
                Uncovered::Allow
            },
        });
        Ok(Self {
            runtime_api: variables.required(
                "AWS_LAMBDA_RUNTIME_API",
                "Lambda sets it: this program runs as a Lambda extension",
            )?,
            secret_id: variables.required(
                "TS_SECRET_API_KEY",
                "set it to the ARN of the Secrets Manager secret that holds the Tailscale auth key",
            )?,
            secrets: Access::read(&variables, "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            hostname: hostname(
                variables.required("TS_HOSTNAME", "set it to the machine name that the tailnet shall show")?,
            )?,
            advertise_tags: variables.text("TS_ADVERTISE_TAGS").map_or(Ok(Vec::new()), tags)?,
            control_url: variables.text("TS_CONTROL_URL").map(control_url).transpose()?,
            secret_field: variables.text("TS_SECRET_FIELD"),
            uncovered: if uncovered && !one_way_out {
                Uncovered::Allow
            } else {
                Uncovered::Refuse
            },
            exit_node,
            shields_up: variables.switch("TS_SHIELDS_UP", true)?,
            require_tailnet: variables.switch("TS_REQUIRE_TAILNET", false)?,
            likely_targets: variables
                .text("TS_ALLOWED_TARGETS")
                .map(single_hosts)
                .unwrap_or_default(),
            socks: socks_server.map_or(SOCKS, |server| server.daemon),
            socks_server,
            events: if variables.managed_instance() {
                Events::ShutdownOnly
            } else {
                Events::All
            },
            debug: variables.switch("TS_DEBUG", false)?,
        })
    }
}

impl Config {
    /// The ports of this environment that lead into the tailnet.
    pub fn own_ports(&self) -> Vec<u16> {
        let ours = self.socks_server.map(|server| server.listen.port());
        ours.into_iter().chain([self.socks.port()]).collect()
    }
}

/// The addresses and names in the proxy's list of allowed targets, without ports, networks and wildcards. The proxy itself
/// checks the list.
fn single_hosts(list: String) -> Vec<String> {
    let host = |entry: &str| {
        let entry = entry.trim();
        let host = match entry.strip_prefix('[') {
            Some(bracketed) => bracketed.split(']').next()?,
            None if entry.matches(':').count() == 1 => entry.split(':').next()?,
            None => entry,
        };
        (!host.contains(['*', '/'])).then(|| host.to_owned())
    };
    list.split(',').filter_map(host).collect()
}

/// Tailscale derives the machine's DNS label from it (RFC 1123 section 2.1: letters, digits and hyphens, 63 at most).
fn hostname(value: String) -> Result<String, SettingError> {
    let legal = value.len() <= 63
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-');
    let expected = "1 to 63 letters, digits and hyphens, with no hyphen first or last";
    if legal {
        Ok(value)
    } else {
        Err(SettingError::invalid("TS_HOSTNAME", value, expected))
    }
}

fn tags(value: String) -> Result<Vec<String>, SettingError> {
    let tags: Vec<String> = value.split(',').map(|tag| tag.trim().to_owned()).collect();
    let legal = |tag: &String| tag.strip_prefix("tag:").is_some_and(|name| !name.is_empty());
    let expected = "tags separated by commas, each beginning with 'tag:'";
    if tags.iter().all(legal) {
        Ok(tags)
    } else {
        Err(SettingError::invalid("TS_ADVERTISE_TAGS", value, expected))
    }
}

fn control_url(value: String) -> Result<String, SettingError> {
    let legal = value
        .parse::<Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    let expected = "the control server's address, such as https://headscale.example.com";
    if legal {
        Ok(value)
    } else {
        Err(SettingError::invalid("TS_CONTROL_URL", value, expected))
    }
}

fn exit_node(variables: &Variables<impl Fn(&str) -> Option<String>>) -> Result<Option<ExitNode>, SettingError> {
    let required = variables.switch("TS_EXIT_NODE_REQUIRED", false)?;
    let ping_timeout = variables
        .milliseconds("TS_EXIT_NODE_PING_TIMEOUT")?
        .unwrap_or(PING_TIMEOUT);
    let pings = variables.positive("TS_EXIT_NODE_PING_RETRIES", PINGS)?;
    match variables.text("TS_EXIT_NODE") {
        Some(node) => Ok(Some(ExitNode {
            node,
            required,
            ping_timeout,
            pings,
        })),
        None if required => Err(SettingError::Missing {
            name: "TS_EXIT_NODE",
            remedy: "TS_EXIT_NODE_REQUIRED is true: set it to the exit node's address or name",
        }),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lambda_env::contract::Contract;

    use super::*;

    const REQUIRED: [(&str, &str); 3] = [
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("TS_SECRET_API_KEY", "arn:aws:s"),
        ("TS_HOSTNAME", "proxy"),
    ];

    fn parse(more: &[(&str, &str)]) -> Result<Config, SettingError> {
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
            ("TS_SHIELDS_UP", "down"),
            ("TS_REQUIRE_TAILNET", "1"),
            ("TS_EXIT_NODE_REQUIRED", "on"),
            ("TS_EXIT_NODE_PING_TIMEOUT", "0"),
            ("TS_EXIT_NODE_PING_RETRIES", "-1"),
            ("TS_ALLOW_UNCOVERED_TARGETS", "1"),
            ("TS_DIRECT_SOCKS", "yes"),
        ] {
            let message = parse(&[(name, value)]).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains(value) && message.contains("must be"),
                "{message}"
            );
        }
    }

    #[test]
    fn an_exit_node_has_defaults_and_is_named_where_it_is_required() {
        let exit_node = parse(&[("TS_EXIT_NODE", "exit"), ("TS_EXIT_NODE_PING_TIMEOUT", "100")]);
        let expected = ExitNode {
            node: "exit".into(),
            required: false,
            ping_timeout: Duration::from_millis(100),
            pings: PINGS,
        };
        assert_eq!(exit_node.unwrap().exit_node, Some(expected));
        let message = parse(&[("TS_EXIT_NODE_REQUIRED", "true")]).unwrap_err().to_string();
        assert!(message.starts_with("TS_EXIT_NODE is not set"), "{message}");
    }

    #[test]
    fn a_required_exit_node_leaves_no_other_way_out() {
        let allowed = ("TS_ALLOW_UNCOVERED_TARGETS", "true");
        let exit = ("TS_EXIT_NODE", "exit");
        assert_eq!(parse(&[allowed, exit]).unwrap().uncovered, Uncovered::Allow);
        let required = parse(&[allowed, exit, ("TS_EXIT_NODE_REQUIRED", "true")]).unwrap();
        assert_eq!(required.uncovered, Uncovered::Refuse);
        assert_eq!(required.socks_server.unwrap().uncovered, Uncovered::Refuse);
    }

    #[test]
    fn a_handler_that_asks_before_it_dials_has_tailscaleds_own_server() {
        let others = parse(&[]).unwrap();
        let server = others.socks_server.unwrap();
        assert_eq!((server.listen.port(), server.daemon.port()), (1055, 1056));
        assert_eq!((others.socks, server.uncovered), (server.daemon, Uncovered::Allow));
        assert_eq!(others.own_ports(), [1055, 1056]);
        let proxy = parse(&[("TS_DIRECT_SOCKS", "true")]).unwrap();
        assert_eq!((proxy.socks.port(), proxy.socks_server), (1055, None));
        assert_eq!(proxy.own_ports(), [1055]);
    }

    #[test]
    fn single_hosts_among_the_allowed_targets_are_likely_targets() {
        let list = "10.1.0.0/16, 100.64.0.7:443,db.tail.net:5432-5433,*.tail.net,fd7a::1,[fd7a::2]:80,web";
        let config = parse(&[("TS_ALLOWED_TARGETS", list)]).unwrap();
        assert_eq!(
            config.likely_targets,
            ["100.64.0.7", "db.tail.net", "fd7a::1", "fd7a::2", "web"]
        );
    }

    #[test]
    fn managed_instances_have_no_invoke() {
        assert_eq!(parse(&[]).unwrap().events, Events::All);
        let managed = parse(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")]);
        assert_eq!(managed.unwrap().events, Events::ShutdownOnly);
    }

    #[test]
    fn an_empty_variable_counts_as_missing() {
        let message = parse(&[("TS_HOSTNAME", "")]).unwrap_err().to_string();
        assert!(message.starts_with("TS_HOSTNAME is not set"), "{message}");
    }

    #[test]
    fn the_variables_that_the_constructs_set_are_read_and_no_others() {
        let contract = Contract::of("extension");
        let mut names = contract.names();
        // The proxy's own, which names likely targets.
        names.insert("TS_ALLOWED_TARGETS".to_owned());
        let read = contract.asked_for(&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")], |get| {
            Config::parse(get).unwrap();
        });
        assert_eq!(read, names);
    }
}
