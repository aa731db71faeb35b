//! HTTP clients, which find the proxy by their variables alone.

use std::{net::Ipv4Addr, sync::Arc};

use libtest_mimic::{Failed, Trial};
use testbed::{
    expect::logged,
    network::STS,
    scripted_handler,
    suite::{SuiteContext, TestResult, without_freeze},
    target,
};

use crate::{
    clients::{deploy, packed, proxy_environment, run},
    javascript::{self, NODE},
    python,
};

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "proxy: unmodified HTTP clients reach a machine of the tailnet by their variables alone" => clients_reach,
        "proxy: tunnels, absolute-form requests and refusals, as curl receives them" => curl_sees,
        "proxy: the AWS SDK goes to AWS without it, by the exceptions that are set" => sdk,
    ]
}

async fn clients_reach(context: Arc<SuiteContext>) -> TestResult {
    let (handler, clients) = packed(&context).await?;
    // The extension's own calls do not go to its own port, nor do tailscaled's: it joins.
    let stack = deploy(context.backends().await?, &handler, proxy_environment).await?;
    // Without the proxy nobody gets there: the function's own network knows no such address.
    let address = stack.backends.target.node.address();
    for client in &clients {
        for host in [&address.to_string(), target::HOSTNAME] {
            let url = format!("http://{host}:{}/get?client=1", target::PORT);
            let output = run(&stack, &[&client.command[..], &[&url]].concat()).await?;
            let said = output["stdout"].as_str().unwrap_or_default();
            assert!(
                said.contains("200") && said.contains("client=1"),
                "{} for {url}: {output}\n{}",
                client.name,
                stack.log()
            );
            eprintln!("    {} reached {host} in {} ms", client.name, output["ms"]);
        }
    }
    stack.end().await
}

async fn curl_sees(context: Arc<SuiteContext>) -> TestResult {
    let handler = scripted_handler::build(&context)?;
    let stack = deploy(context.backends().await?, &handler, |function| {
        proxy_environment(function);
        without_freeze(function);
    })
    .await?;
    let curl = async |more: &[&str]| {
        let got = run(&stack, &[&["/usr/bin/curl", "-sS", "-i", "-m", "15"], more].concat()).await?;
        let said = got["stdout"].as_str().unwrap_or_default();
        Ok::<_, Failed>(format!("{said}{}", got["stderr"]))
    };
    let address = stack.backends.target.node.address();
    let url = |path: &str| format!("http://{address}:{}{path}", target::PORT);
    let said = curl(&["--proxytunnel", &url("/get")]).await?;
    assert!(
        said.starts_with("HTTP/1.1 200") && !said.contains("tailscale-extension"),
        "{said}"
    );
    // Two requests over one connection to the proxy, with a body each.
    let said = curl(&["-d", "a=1", &url("/post"), &url("/post")]).await?;
    assert_eq!(said.matches("\"a\"").count(), 2, "{said}");
    // SOCKS5 is on the same port.
    let said = curl(&["-x", "socks5h://localhost:1055", &url("/get")]).await?;
    assert!(said.contains("HTTP/1.1 200"), "{said}");
    let closed = format!("http://{address}:{}/", target::CLOSED_PORT);
    for (target, status, name) in [
        ("http://127.0.0.1:9001/", "403", "TargetNotAllowed"),
        ("http://localhost:9001/", "403", "TargetNotAllowed"),
        (&closed, "502", "TargetUnreachable"),
    ] {
        let said = curl(&["--noproxy", "none.invalid", target]).await?;
        assert!(
            said.contains(&format!("HTTP/1.1 {status}")) && said.contains(&format!("ts-error-name: {name}")),
            "{target}: {said}"
        );
        logged(&stack, 0, name).await;
    }
    stack.end().await
}

/// To the tailnet's resolver the name is the function itself, to the function's own it is moto: who asked can be told.
async fn sdk(context: Arc<SuiteContext>) -> TestResult {
    let javascript = javascript::files(&context, &["sts"]).await?;
    let handler = python::handler(&context, "sts.py", &python::BOTO3, &javascript)?;
    let backends = context.backends().await?;
    backends.control.add_name(STS, Ipv4Addr::LOCALHOST.into()).await?;
    let stack = deploy(backends, &handler, |function| {
        proxy_environment(function);
        without_freeze(function);
    })
    .await?;
    let moto = stack.backends.aws.address();
    let (_, port) = moto.rsplit_once(':').ok_or("moto has no port")?;
    let url = format!("http://{STS}:{port}");
    let log = || stack.log();
    let python = [python::PYTHON, "/var/task/sts.py", &*url];
    // The SDK for JavaScript asks for the home directory, which Lambda's user has.
    let javascript = ["/usr/bin/env", "HOME=/tmp", NODE, "/var/task/sts.js", &url];
    for (name, command) in [("boto3", &python[..]), ("the SDK for JavaScript", &javascript)] {
        let got = run(&stack, command).await?;
        assert_eq!(got["stdout"], "account 123456789012\n", "{name}: {got}\n{}", log());
        eprintln!("    {name} reached {STS} in {} ms", got["ms"]);
    }
    // Without the exceptions boto3 does not.
    let unexcepted = [&["/usr/bin/env", "NO_PROXY=", "no_proxy="], &python[..]].concat();
    let got = run(&stack, &unexcepted).await?;
    let said = got["stderr"].as_str().unwrap_or_default();
    assert!(
        got["status"] == 1 && said.contains("TargetNotAllowed"),
        "{got}\n{}",
        log()
    );
    logged(&stack, 0, &format!("{STS}:{port}: TargetNotAllowed")).await;
    stack.end().await
}
