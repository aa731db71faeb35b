//! HTTP clients, which find the proxy by their variables alone.

use std::{net::Ipv4Addr, sync::Arc};

use libtest_mimic::{Failed, Trial};
use testbed::{
    expect::logged,
    foreign,
    network::STS,
    suite::{Outcome, Setting, awake},
    target,
};

use crate::{
    clients::{deploy, packed, proxy_environment, run},
    javascript::{self, NODE},
    python,
};

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "proxy: unmodified HTTP clients reach a machine of the tailnet by their variables alone" => clients_reach,
        "proxy: tunnels, absolute-form requests and refusals, as curl sees them" => curl_sees,
        "proxy: the AWS SDK goes to AWS without it, by the exceptions that are set" => sdk,
    ]
}

async fn clients_reach(setting: Arc<Setting>) -> Outcome {
    let (handler, clients) = packed(&setting).await?;
    // The extension's own calls do not go to its own port, nor do tailscaled's: it joins.
    let world = deploy(setting.surroundings().await?, &handler, proxy_environment).await?;
    // Without the proxy nobody gets there: the function's own network knows no such address.
    let address = world.surroundings.target.node.address();
    for client in &clients {
        for host in [&address.to_string(), target::HOSTNAME] {
            let url = format!("http://{host}:{}/get?client=1", target::PORT);
            let output = run(&world, &[&client.command[..], &[&url]].concat()).await?;
            let said = output["stdout"].as_str().unwrap_or_default();
            assert!(
                said.contains("200") && said.contains("client=1"),
                "{} for {url}: {output}\n{}",
                client.name,
                world.log()
            );
            eprintln!("    {} reached {host} in {} ms", client.name, output["ms"]);
        }
    }
    world.end().await
}

async fn curl_sees(setting: Arc<Setting>) -> Outcome {
    let handler = foreign::handler(&setting)?;
    let world = deploy(setting.surroundings().await?, &handler, |function| {
        proxy_environment(function);
        awake(function);
    })
    .await?;
    let curl = async |more: &[&str]| {
        let got = run(&world, &[&["/usr/bin/curl", "-sS", "-i", "-m", "15"], more].concat()).await?;
        let said = got["stdout"].as_str().unwrap_or_default();
        Ok::<_, Failed>(format!("{said}{}", got["stderr"]))
    };
    let address = world.surroundings.target.node.address();
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
        logged(&world, 0, name).await;
    }
    world.end().await
}

/// To the tailnet's resolver the name is the function itself, to the function's own it is moto: who asked can be told.
async fn sdk(setting: Arc<Setting>) -> Outcome {
    let javascript = javascript::files(&setting, &["sts"]).await?;
    let handler = python::handler(&setting, "sts.py", &python::BOTO3, &javascript)?;
    let surroundings = setting.surroundings().await?;
    surroundings.control.add_name(STS, Ipv4Addr::LOCALHOST.into()).await?;
    let world = deploy(surroundings, &handler, |function| {
        proxy_environment(function);
        awake(function);
    })
    .await?;
    let moto = world.surroundings.aws.address();
    let (_, port) = moto.rsplit_once(':').ok_or("moto has no port")?;
    let url = format!("http://{STS}:{port}");
    let log = || world.log();
    let python = [python::PYTHON, "/var/task/sts.py", &*url];
    // The SDK for JavaScript asks for the home directory, which Lambda's user has.
    let javascript = ["/usr/bin/env", "HOME=/tmp", NODE, "/var/task/sts.js", &url];
    for (name, command) in [("boto3", &python[..]), ("the SDK for JavaScript", &javascript)] {
        let got = run(&world, command).await?;
        assert_eq!(got["stdout"], "account 123456789012\n", "{name}: {got}\n{}", log());
        eprintln!("    {name} reached {STS} in {} ms", got["ms"]);
    }
    // Without the exceptions boto3 does not.
    let unexcepted = [&["/usr/bin/env", "NO_PROXY=", "no_proxy="], &python[..]].concat();
    let got = run(&world, &unexcepted).await?;
    let said = got["stderr"].as_str().unwrap_or_default();
    assert!(
        got["status"] == 1 && said.contains("TargetNotAllowed"),
        "{got}\n{}",
        log()
    );
    logged(&world, 0, &format!("{STS}:{port}: TargetNotAllowed")).await;
    world.end().await
}
