//! The settings: read once from the environment, and checked in full before anything starts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::Uri;
use lambda_env::aws::ProxyVariables;
use lambda_env::extensions_api::Events;
use lambda_env::metrics::proxy_name;
use lambda_env::{SettingError, Variables};

use crate::{
    auth::config::Credential,
    doors::{
        config::{DoorsConfig, OutboundConfig, ServerConfig},
        forwards,
    },
    policy::Uncovered,
    supervisor::{exit_node::ExitNode, state::Join},
    tailscaled::process::Share,
};

/// What a ping of the exit node may take, and how many there are, unless the settings say otherwise.
const PING_TIMEOUT: Duration = Duration::from_millis(500);
const PINGS: u32 = 4;
/// A function of this size in MB has one vCPU, and a smaller one a part of it
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const ONE_CORE: u64 = 1769;
/// Where the function's processes find SOCKS5 and the HTTP proxy.
const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1055);
/// Where tailscaled's own server listens behind ours. Peers that are let in reach 127.0.0.1, and not this address.
const BEHIND_OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 1056);

/// The extension's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of the Runtime and Extensions APIs.
    pub runtime_api: String,
    /// What the function logs in with.
    pub credential: Credential,
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
    /// When the environment joins the tailnet.
    pub join: Join,
    /// Which events the environment has.
    pub events: Events,
    /// Whether targets that the tailnet does not cover may be dialled. Refused by default.
    pub uncovered: Uncovered,
    /// Hosts that requests are likely to be for: the single ones among the targets that the proxy allows.
    pub likely_targets: Vec<String>,
    /// Where tailscaled's own SOCKS5 server listens.
    pub socks: SocketAddr,
    /// What tailscaled may take of the environment, if its size is known.
    pub tailscaled_share: Option<Share>,
    /// What listens in front of it: SOCKS5 and an HTTP proxy by default, and not for the Lambda proxy, which asks the status
    /// socket before it dials; and the local ports that lead to one target each.
    pub doors: DoorsConfig,
    /// The name under which the environment's time in the tailnet is counted, if it is.
    pub metrics_name: Option<String>,
    /// Log everything, tailscaled's lines included.
    pub debug: bool,
}

impl Config {
    /// Reads the settings through `get`, which is the process's environment everywhere but in tests.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let variables = Variables::new(get);
        refuse_snapshots(&variables)?;
        let advertise_tags = variables.text("TS_ADVERTISE_TAGS").map_or(Ok(Vec::new()), tags)?;
        let exit_node = exit_node(&variables)?;
        let uncovered = variables.switch("TS_ALLOW_UNCOVERED_TARGETS", false)?;
        // Where all else must leave by the exit node, what that does not cover, because it is gone, must not leave.
        let one_way_out = exit_node.as_ref().is_some_and(|node| node.required);
        let direct = variables.switch("TS_DIRECT_SOCKS", false)?;
        let server = (!direct).then_some(ServerConfig { listen: SOCKS });
        let socks = if direct { SOCKS } else { BEHIND_OURS };
        let doors = DoorsConfig {
            server,
            forwards: forwards::config::read(&variables, &[SOCKS.port(), BEHIND_OURS.port()])?,
            outbound: OutboundConfig {
                daemon: socks,
                uncovered: if one_way_out {
                    Uncovered::Refuse
                } else {
                    Uncovered::Allow
                },
            },
        };
        let own_ports = own_ports(&doors, socks);
        Ok(Self {
            runtime_api: variables.required(
                "AWS_LAMBDA_RUNTIME_API",
                "Lambda sets it: this program runs as a Lambda extension",
            )?,
            credential: Credential::parse(
                &variables,
                &advertise_tags,
                &ProxyVariables::read(&variables, &own_ports),
            )?,
            hostname: hostname(
                variables.required("TS_HOSTNAME", "set it to the machine name that the tailnet shall show")?,
            )?,
            advertise_tags,
            control_url: variables.text("TS_CONTROL_URL").map(control_url).transpose()?,
            uncovered: if uncovered && !one_way_out {
                Uncovered::Allow
            } else {
                Uncovered::Refuse
            },
            exit_node,
            shields_up: variables.switch("TS_SHIELDS_UP", true)?,
            require_tailnet: variables.switch("TS_REQUIRE_TAILNET", false)?,
            join: join(&variables)?,
            likely_targets: variables
                .text("TS_ALLOWED_TARGETS")
                .map(single_hosts)
                .unwrap_or_default(),
            socks,
            tailscaled_share: variables
                .text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
                .and_then(|size| size.parse().ok())
                .map(|size| tailscaled_share(size, direct)),
            // The proxy tells of its invocations itself. Flows through local ports are reset by INVOKE.
            events: if variables.managed_instance() || (direct && doors.forwards.is_empty()) {
                Events::ShutdownOnly
            } else {
                Events::All
            },
            doors,
            metrics_name: metrics_name(&variables, direct)?,
            debug: variables.switch("TS_DEBUG", false)?,
        })
    }
}

impl Config {
    /// The ports of this environment that lead into the tailnet.
    pub fn own_ports(&self) -> Vec<u16> {
        own_ports(&self.doors, self.socks)
    }
}

/// The proxy's, and that of another function only if it was given one: a metric of CloudWatch costs its owner money.
fn metrics_name(
    variables: &Variables<impl Fn(&str) -> Option<String>>,
    is_proxy: bool,
) -> Result<Option<String>, SettingError> {
    let name = proxy_name(variables)?;
    let given = variables.text("TS_METRICS_PROXY_NAME").is_some();
    Ok(name.filter(|_| is_proxy || given))
}

fn own_ports(doors: &DoorsConfig, socks: SocketAddr) -> Vec<u16> {
    let server = doors.server.map(|server| server.listen.port());
    let forwards = doors.forwards.iter().map(|forward| forward.local_port);
    server.into_iter().chain([socks.port()]).chain(forwards).collect()
}

/// What of a function of `size` MB tailscaled may take: half, which leaves as much to a handler that is not ours. The proxy
/// takes less: all but 64 MB, which it and the extension stay well below, with what of tailscaled Go does not count. Near its
/// limit Go collects garbage all the time: 200 MB through 256 MB cost 4.4 s of the processor's time with half, 2.5 s with this.
fn tailscaled_share(size: u64, is_proxy: bool) -> Share {
    let half = size / 2;
    Share {
        memory: if is_proxy {
            half.max(size.saturating_sub(64))
        } else {
            half
        },
        one_core: size <= ONE_CORE,
    }
}

/// Who must not be here at all.
fn refuse_snapshots(variables: &Variables<impl Fn(&str) -> Option<String>>) -> Result<(), SettingError> {
    const NAME: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";
    match variables.text(NAME) {
        Some(kind) if kind == "snap-start" => Err(SettingError::invalid(
            NAME,
            kind,
            "another: environments restored from one snapshot would share one machine of the tailnet, with its keys; \
             fix: switch SnapStart off, or have the function call a TailscaleLambdaProxy",
        )),
        _ => Ok(()),
    }
}

fn join(variables: &Variables<impl Fn(&str) -> Option<String>>) -> Result<Join, SettingError> {
    const NAME: &str = "TS_JOIN";
    let join = match variables.text(NAME).as_deref() {
        None | Some("init") => Join::Init,
        Some("background") => Join::Background,
        Some("lazy") => Join::Lazy,
        Some(value) => return Err(SettingError::invalid(NAME, value, "init, background or lazy")),
    };
    if join != Join::Init && variables.switch("TS_REQUIRE_TAILNET", false)? {
        let reason = "TS_REQUIRE_TAILNET is true, so INIT must wait for the tailnet".to_owned();
        let expected = "init, or TS_REQUIRE_TAILNET false";
        return Err(SettingError::Unusable {
            name: NAME,
            reason,
            expected,
        });
    }
    Ok(join)
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
            ("TS_FORWARDS", "5432"),
            ("TS_JOIN", "later"),
            ("TS_METRICS_PROXY_COUNTS", "no"),
            ("TS_METRICS_PROXY_NAME", "the office"),
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
        assert_eq!(required.doors.outbound.uncovered, Uncovered::Refuse);
    }

    #[test]
    fn a_handler_that_asks_before_it_dials_has_tailscaleds_own_server() {
        let others = parse(&[]).unwrap();
        let (server, outbound) = (others.doors.server.unwrap(), others.doors.outbound);
        assert_eq!((server.listen.port(), outbound.daemon.port()), (1055, 1056));
        assert_eq!((others.socks, outbound.uncovered), (outbound.daemon, Uncovered::Allow));
        assert_eq!(others.own_ports(), [1055, 1056]);
        let proxy = parse(&[("TS_DIRECT_SOCKS", "true")]).unwrap();
        assert_eq!((proxy.socks.port(), proxy.doors.server), (1055, None));
        assert_eq!(proxy.own_ports(), [1055]);
    }

    #[test]
    fn tailscaled_may_take_half_of_the_memory_and_beside_the_proxy_all_but_64_mb() {
        let memory = |size: &str, more: &[(&str, &str)]| {
            let size = ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", size);
            let share = parse(&[&[size], more].concat()).unwrap().tailscaled_share;
            share.map(|share| share.memory)
        };
        let proxy = [("TS_DIRECT_SOCKS", "true")];
        assert_eq!((memory("256", &[]), memory("256", &proxy)), (Some(128), Some(192)));
        assert_eq!((memory("128", &[]), memory("128", &proxy)), (Some(64), Some(64)));
        assert_eq!((memory("10240", &proxy), memory("much", &proxy)), (Some(10176), None));
        assert_eq!(parse(&proxy).unwrap().tailscaled_share, None);
    }

    #[test]
    fn a_function_has_one_core_at_most_up_to_1769_mb() {
        for (size, one_core) in [(128, true), (1769, true), (1770, false)] {
            assert_eq!(tailscaled_share(size, true).one_core, one_core);
        }
    }

    #[test]
    fn the_time_of_a_proxy_is_counted_and_that_of_others_if_they_have_a_name() {
        let name = |more: &[(&str, &str)]| {
            let function = ("AWS_LAMBDA_FUNCTION_NAME", "stack-proxy-1A");
            parse(&[&[function], more].concat()).unwrap().metrics_name
        };
        let (proxy, named) = (("TS_DIRECT_SOCKS", "true"), ("TS_METRICS_PROXY_NAME", "office"));
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[proxy]).as_deref(), Some("stack-proxy-1A"));
        assert_eq!(name(&[named]).as_deref(), Some("office"));
        assert_eq!(name(&[proxy, named, ("TS_METRICS_PROXY_COUNTS", "false")]), None);
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
    fn a_snapshot_is_refused_with_the_reason() {
        let message = parse(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("snap-start") && message.contains("one machine of the tailnet"),
            "{message}"
        );
    }

    #[test]
    fn a_function_that_needs_the_tailnet_waits_for_it_in_init() {
        let required = ("TS_REQUIRE_TAILNET", "true");
        for (value, expected) in [
            ("init", Join::Init),
            ("background", Join::Background),
            ("lazy", Join::Lazy),
        ] {
            assert_eq!(parse(&[("TS_JOIN", value)]).unwrap().join, expected);
            assert_eq!(
                parse(&[("TS_JOIN", value), required]).is_ok(),
                expected == Join::Init,
                "{value}"
            );
        }
    }

    #[test]
    fn the_local_ports_of_forwards_lead_into_the_tailnet_too() {
        let proxy = ("HTTPS_PROXY", "http://localhost:3128");
        let forward = ("TS_FORWARDS", "3128=proxy.example.ts.net:3128");
        let on_the_way = |variables: &[(&str, &str)]| match parse(variables).unwrap().credential {
            Credential::Stored(stored) => stored.access.proxy,
            other => panic!("{other:?}"),
        };
        assert_eq!(on_the_way(&[proxy, forward]), ProxyVariables::default());
        assert_ne!(on_the_way(&[proxy]), ProxyVariables::default());
        assert_eq!(parse(&[forward]).unwrap().own_ports(), [1055, 1056, 3128]);
    }

    #[test]
    fn managed_instances_have_no_invoke() {
        assert_eq!(parse(&[]).unwrap().events, Events::All);
        let managed = parse(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")]);
        assert_eq!(managed.unwrap().events, Events::ShutdownOnly);
    }

    #[test]
    fn the_proxy_tells_of_invocations_itself() {
        let (proxy, forward) = (
            ("TS_DIRECT_SOCKS", "true"),
            ("TS_FORWARDS", "5432=db.example.ts.net:5432"),
        );
        assert_eq!(parse(&[proxy]).unwrap().events, Events::ShutdownOnly);
        assert_eq!(parse(&[proxy, forward]).unwrap().events, Events::All);
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
            // Only one of these can be set.
            const SECRET: &str = "TS_SECRET_API_KEY";
            const PARAMETER: &str = "TS_AUTH_KEY_PARAMETER";
            const CLIENT_ID: &str = "TS_WORKLOAD_IDENTITY_CLIENT_ID";
            for credential in [SECRET, PARAMETER, CLIENT_ID] {
                let is_other = |name: &str| matches!(name, SECRET | PARAMETER | CLIENT_ID) && name != credential;
                Config::parse(|name| get(name).filter(|_| !is_other(name))).unwrap();
            }
        });
        assert_eq!(read, names);
    }
}
