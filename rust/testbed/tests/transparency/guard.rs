//! No caller reaches a listener on the function's own loopback, nor a target that is not the tailnet's or not allowed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use bytes::Bytes;
use http::{Response, Uri};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use testbed::{
    control::MAGIC_DNS_DOMAIN,
    function_url::FunctionUrl,
    http_call::header,
    lambda::{Event, Function},
    network,
    stack::TestStack,
    target,
};

use crate::{SuiteContext, TestResult, set};

/// What listens on the function's loopback: tailscaled's SOCKS5 server, and, on Lambda, the Runtime API.
const LOCAL_PORTS: [u16; 3] = [1055, 9001, 80];
const NOT_ALLOWED: (u16, &str) = (403, "TargetNotAllowed");

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "guard: no spelling of an address reaches the function's own loopback" => |context| loopback(context, false),
        "guard: loopback stays refused with TS_ALLOW_UNCOVERED_TARGETS" => |context| loopback(context, true),
        "guard: uncovered targets are refused unless the owner allows them" => uncovered,
        "guard: only allowed targets are reached where there is a list" => allowed,
        "guard: each alias's callers reach the targets of their profile, and no others" => profiles,
    ]
}

/// The status of an answer, and the error's name.
fn told(answer: &Response<Bytes>) -> (u16, &str) {
    (answer.status().as_u16(), header(answer.headers(), "ts-error-name"))
}

async fn must_be_refused(stack: &TestStack, host: &str, port: u16) -> TestResult {
    let answer = stack.get(host, port, "/get").await?;
    assert_eq!(told(&answer), NOT_ALLOWED, "{host}:{port}: {answer:?}");
    Ok(())
}

/// Every way to name the function itself that is an address, or would be one to an old resolver.
async fn spellings(stack: &TestStack) -> Result<Vec<String>, Failed> {
    let own = stack.backends.control.node("lambda-proxy").await?;
    // What old resolvers take for an address, and one address written in other ways.
    let mut hosts: Vec<String> = [
        "127.1",
        "0X7F.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.000.000.001",
        "0",
        "localhost.1",
        "0:0:0:0:0:0:0:1",
        "0:0:0:0:0:ffff:127.0.0.1",
        "::127.0.0.1",
        "[fd7a:115c:a1e0:0:0:0:0:53]",
    ]
    .map(str::to_owned)
    .to_vec();
    let others = [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "0.0.0.1",
        "169.254.100.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "100.100.100.100",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "fd7a:115c:a1e0::53",
    ];
    for address in own
        .addresses
        .into_iter()
        .chain(others.map(|text| text.parse().unwrap()))
    {
        hosts.push(address.to_string());
        let in_six = match address {
            IpAddr::V6(address) => address,
            IpAddr::V4(address) => {
                hosts.extend([address.to_bits().to_string(), format!("0x{:08x}", address.to_bits())]);
                hosts.push(address.to_ipv6_mapped().to_string());
                address.to_ipv6_mapped()
            }
        };
        hosts.push(format!("[{in_six}]"));
    }
    hosts.extend(["lambda-proxy", "LAMBDA-PROXY", "lambda-proxy."].map(str::to_owned));
    hosts.push(format!("lambda-proxy.{MAGIC_DNS_DOMAIN}"));
    hosts.push(format!("Lambda-Proxy.{MAGIC_DNS_DOMAIN}."));
    Ok(hosts)
}

/// Names that the tailnet's own resolver has, and that lead home.
const NAMES: [(&str, IpAddr); 3] = [
    ("loopback", IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ("loopback6", IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ("metadata", IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))),
];

async fn loopback(context: Arc<SuiteContext>, uncovered: bool) -> TestResult {
    let adjust = |function: &mut Function| set(function, "TS_ALLOW_UNCOVERED_TARGETS", &uncovered.to_string());
    let stack = context.stack(adjust).await?;
    for (name, address) in NAMES {
        let name = format!("{name}.{MAGIC_DNS_DOMAIN}");
        stack.backends.control.add_name(&name, address).await?;
    }
    // The first request brings the function into the tailnet.
    let target = stack.backends.target.node.address().to_string();
    assert_eq!(stack.get(&target, target::PORT, "/get").await?.status(), 200);
    let mut hosts = spellings(&stack).await?;
    hosts.extend(NAMES.map(|(name, _)| name.to_owned()));
    for host in &hosts {
        for port in LOCAL_PORTS {
            must_be_refused(&stack, host, port).await?;
        }
    }
    // Names that the machine's own resolver would know, and the tailnet's does not; and what is no host at all.
    for host in [
        "localhost",
        "localhost.localdomain",
        "ip6-localhost",
        "testbed",
        "127.0.0.1:1055",
        "127.0.0.1/",
        "a@127.0.0.1",
        "[::1",
        "::1%lo",
        "fe80::1%eth0",
        "１２７.0.0.1",
    ] {
        let answer = stack.get(host, 1055, "/get").await?;
        let refused = matches!(
            told(&answer),
            (400, "InvalidRequest") | NOT_ALLOWED | (502, "TargetUnreachable")
        );
        assert!(refused, "{host} was answered with {answer:?}");
    }
    eprintln!(
        "{} spellings at {} ports each: all refused",
        hosts.len(),
        LOCAL_PORTS.len()
    );
    stack.end().await
}

async fn uncovered(context: Arc<SuiteContext>) -> TestResult {
    // The control server's host: the function's own network reaches it, the tailnet does not.
    let host = network::CONTROL_ADDRESS.to_string();
    let port = |stack: &TestStack| -> Result<u16, Failed> {
        let uri: Uri = stack.backends.control.url().parse()?;
        Ok(uri.port_u16().ok_or("no port")?)
    };
    let stack = context.stack(|_| ()).await?;
    for uncovered in [host.as_str(), "203.0.113.7", "10.0.0.1", "2001:db8::1", "100.64.99.99"] {
        must_be_refused(&stack, uncovered, port(&stack)?).await?;
    }
    stack.stop().await;
    let stack = context
        .stack(|function| set(function, "TS_ALLOW_UNCOVERED_TARGETS", "true"))
        .await?;
    let answer = stack.get(&host, port(&stack)?, "/get").await?;
    // The control server has no such page: Go's own words for it.
    let said = (answer.status().as_u16(), String::from_utf8_lossy(answer.body()));
    assert_eq!(said, (404, "404 page not found\n".into()), "{answer:?}");
    stack.end().await
}

async fn allowed(context: Arc<SuiteContext>) -> TestResult {
    let list = format!("100.64.0.0/10:{}, target, lambda-proxy, 127.0.0.0/8", target::PORT);
    let stack = context
        .stack(|function| set(function, "TS_ALLOWED_TARGETS", &list))
        .await?;
    let address = stack.backends.target.node.address().to_string();
    for host in [&address, "target", "TARGET."] {
        assert_eq!(stack.get(host, target::PORT, "/get").await?.status(), 200, "{host}");
    }
    let full = format!("target.{MAGIC_DNS_DOMAIN}");
    // Not in the list: another port, another spelling of the name; in the list, but refused by the guard all the same.
    for (host, port) in [
        (address.as_str(), 8081),
        (&full, target::PORT),
        ("fd7a:115c:a1e0::1", target::PORT),
        ("lambda-proxy", 1055),
        ("127.0.0.1", 1055),
    ] {
        must_be_refused(&stack, host, port).await?;
    }
    stack.end().await
}

/// What a GET of this URL came to: its status, and the error's name.
async fn outcome(url: &FunctionUrl, host: &str, port: u16) -> Result<(u16, String), Failed> {
    // Whoever calls one alias claims to have called another.
    let request = url
        .request_to(host, port, "GET", "/get?Qualifier=names")
        .header("ts-profile", "names")
        .header(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:a:names",
        )
        .body(Bytes::new())?;
    let answer = url.send(request).await?;
    let (status, name) = told(&answer);
    Ok((status, name.to_owned()))
}

async fn profiles(context: Arc<SuiteContext>) -> TestResult {
    let port = target::PORT;
    // Both aliases' callers, and those of the function itself, in one environment.
    let stack = context
        .stack(|function| {
            let aliases = json!(["addresses", "names", "live", "stranger"]);
            function.settings.insert("aliases".into(), aliases);
            function.settings.insert("maxEnvironments".into(), 1.into());
            set(function, "TS_ALLOWED_TARGETS", &format!("100.64.0.0/10:{port},target"));
            let profiles = format!("addresses=100.64.0.0/10;names=target:{port},lambda-proxy");
            set(function, "TS_PROFILES", &profiles);
        })
        .await?;
    let address = stack.backends.target.node.address().to_string();
    let (reached, refused) = ((200, ""), NOT_ALLOWED);
    let unknown = (403, "UnknownProfile");
    for (alias, by_address, by_name) in [
        (Some("addresses"), reached, refused),
        (Some("names"), refused, reached),
        (Some("addresses"), reached, refused),
        (Some("stranger"), unknown, unknown),
        (Some("live"), reached, reached),
        (None, reached, reached),
    ] {
        let url = match alias {
            Some(alias) => stack.alias_url(alias).ok_or("no such URL")?,
            None => stack.url(),
        };
        for (host, expected) in [(address.as_str(), by_address), ("target", by_name)] {
            let (status, name) = outcome(&url, host, port).await?;
            assert_eq!((status, name.as_str()), expected, "{alias:?}: {host}");
        }
        // What the proxy itself does not allow no profile does.
        let expected = if alias == Some("stranger") { unknown } else { refused };
        let (status, name) = outcome(&url, "lambda-proxy", port).await?;
        assert_eq!((status, name.as_str()), expected, "{alias:?}");
    }
    let starting =
        |event: &Event| matches!(event, Event::Environment { state, .. } if state == "starting").then_some(());
    assert_eq!(stack.lambda.events.all(starting).len(), 1);
    stack.end().await
}
