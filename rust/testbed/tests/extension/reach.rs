//! What else than an IPv4 address of the tailnet can be reached: IPv6 addresses, machines behind a subnet router, UDP.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use testbed::{
    deadline::within,
    network::ADDRESS,
    scripted_handler,
    stack::TestStack,
    suite::{SuiteContext, TestResult, set},
    target,
};
use tokio::net::UdpSocket;

use crate::server::Server;

/// How soon the function must hear that a route is approved.
const NEWS_LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "reach: a target is reached by its IPv6 address in the tailnet" => ipv6,
        "reach: a machine behind a subnet router is reached while the route is approved" => subnet_route,
        "reach: a datagram and its reply pass through UDP ASSOCIATE of the SOCKS5 server" => datagrams,
    ]
}

async fn ipv6(context: Arc<SuiteContext>) -> TestResult {
    let stack = context
        .stack(|function| set(function, "TS_ALLOWED_TARGETS", "fd7a:115c:a1e0::/48"))
        .await?;
    let node = stack.backends.control.node(target::HOSTNAME).await?;
    let address = node.addresses.iter().find(|address| address.is_ipv6());
    let address = *address.ok_or("the target has no IPv6 address")?;
    for host in [address.to_string(), format!("[{address}]")] {
        let answer = stack.get(&host, target::PORT, "/get").await?;
        assert_eq!(answer.status(), 200, "{host}: {answer:?}\n{}", stack.log());
    }
    // Only IPv6 addresses are allowed: the same machine by the other address is not.
    let answer = stack
        .get(stack.backends.target.node.address(), target::PORT, "/get")
        .await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetNotAllowed", "{answer:?}");
    stack.end().await
}

async fn subnet_route(context: Arc<SuiteContext>) -> TestResult {
    // Its connections are kept: what the tailnet no longer covers is refused on those too.
    let behind = Server::saying("behind the router").await?;
    let (host, port) = (behind.address.ip(), behind.address.port());
    let backends = context.backends().await?;
    let router = backends.router("router").await?;
    router.local_api.advertise(&["192.0.2.0/24"]).await?;
    let id = backends.control.node("router").await?.id;
    let stack = backends.deploy(|_| ()).await?;

    // It is advertised, and not approved.
    let answer = stack.get(host, port, "/get").await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetNotAllowed", "{answer:?}");
    assert_eq!(behind.visitors(), [] as [IpAddr; 0]);

    let control = &stack.backends.control;
    control.set_routes(id, &["192.0.2.0/24"]).await?;
    let answer = until(&stack, behind.address, 200).await?;
    assert_eq!(answer.body(), "behind the router");
    // The router's address, not the function's own.
    assert_eq!(behind.visitors(), [IpAddr::from(ADDRESS)]);

    control.set_routes(id, &[]).await?;
    let answer = until(&stack, behind.address, 403).await?;
    assert_eq!(answer.headers()["ts-error-name"], "TargetNotAllowed", "{answer:?}");
    stack.end().await
}

/// Asks until the answer has this status: the function hears of a route a little after the control server.
async fn until(stack: &TestStack, at: SocketAddr, status: u16) -> Result<Response<Bytes>, Failed> {
    let answered = async {
        loop {
            let answer = stack.get(at.ip(), at.port(), "/get").await?;
            if answer.status() == status {
                return Ok::<_, Failed>(answer);
            }
        }
    };
    let answered = within(NEWS_LIMIT, &format!("an answer with {status}"), answered).await;
    answered.map_err(|late| format!("{late}\n{}", stack.log()))?
}

async fn datagrams(context: Arc<SuiteContext>) -> TestResult {
    // The target's machine passes on what comes in for its address to this one's loopback.
    let echo = UdpSocket::bind("127.0.0.1:0").await?;
    let port = echo.local_addr()?.port();
    tokio::spawn(async move {
        let mut datagram = [0; 1500];
        while let Ok((length, from)) = echo.recv_from(&mut datagram).await {
            let reply = [b"echo: ".as_slice(), &datagram[..length]].concat();
            if echo.send_to(&reply, from).await.is_err() {
                break;
            }
        }
    });
    let handler = scripted_handler::build(&context)?;
    let stack = context
        .stack(|function| scripted_handler::install(function, &handler))
        .await?;
    let host = stack.backends.target.node.address().to_string();
    let what = json!({"do": "datagram", "host": host, "port": port, "text": "hello"});
    let answer = scripted_handler::run(&stack, what).await?;
    assert_eq!(answer["text"], "echo: hello", "{answer}\n{}", stack.log());
    stack.end().await
}
