//! What every caller can do: ask, send, and tell the machine's answer from the proxy's.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use testbed::{
    bundle::bundle,
    raw_target::{Move, RawTarget},
    target::{CLOSED_PORT, HOSTNAME, PORT},
};

use crate::{
    SuiteContext, TestResult,
    caller::{self, Question, admit},
};

/// Where the extension's SOCKS5 server listens in a function.
const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1055);

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "callers: each sends a request with a body, and the machine learns nothing of AWS" => send,
        "callers: every example distinguishes a proxy error from the target's own 503" => tell,
        "the extension alone: the example function dials by SOCKS5" => direct,
    ]
}

async fn send(context: Arc<SuiteContext>) -> TestResult {
    const BODY: &str = r#"{"month": 11, "currency": "€"}"#;
    const ASKED: &str = "/reports?month=11&name=J%C3%BCrgen%20M";
    let stack = context.stack(admit).await?;
    let raw = RawTarget::start().await?;
    raw.play([Move::Send(
        "HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\nkept".into(),
    )]);
    for caller in caller::ALL {
        let since = raw.seen().len();
        let question = Question {
            method: "POST",
            body: BODY,
            ..Question::get(&stack, raw.address().port(), ASKED)
        };
        let said = caller.ask(&context, &stack, &question).await?;
        assert_eq!(said.out, "kept", "{caller:?}: {said:?}");
        let seen = raw
            .only_since(since)
            .ok_or_else(|| format!("{caller:?} did not send one request"))?;
        assert_eq!(seen.line, format!("POST {ASKED} HTTP/1.1"), "{caller:?}");
        assert_eq!(seen.body, BODY, "{caller:?}");
        let mut names = seen.headers.iter().map(|(name, _)| name);
        let told = names.find(|name| *name == "authorization" || name.starts_with("x-amz-") || name.starts_with("ts-"));
        assert_eq!(told, None, "{caller:?}");
    }
    stack.end().await
}

async fn tell(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(admit).await?;
    for caller in caller::ALL {
        let ask = async |port, path| caller.ask(&context, &stack, &Question::get(&stack, port, path)).await;
        let machines = ask(PORT, "/status/503").await?;
        assert_eq!(machines.err, "", "{caller:?}");
        let proxys = ask(CLOSED_PORT, "/get").await?;
        assert!(proxys.err.contains("TargetUnreachable"), "{caller:?}: {proxys:?}");
    }
    stack.end().await
}

async fn direct(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    let function = backends.machine("direct", Some(SOCKS)).await?;
    let module = bundle(&context, "examples/typescript/functions/direct.ts").await?;
    for host in [HOSTNAME.to_owned(), backends.target.node.address().to_string()] {
        let event = json!({"url": format!("http://{host}:{PORT}/get?month=11")}).to_string();
        let said = caller::node(&context, &module, &event).await?;
        let answer: Value = serde_json::from_str(&said.out).map_err(|error| format!("{host}: {error}: {said:?}"))?;
        assert_eq!(answer["args"], json!({"month": ["11"]}), "{host}");
    }
    drop(function);
    backends.stop().await;
    Ok(())
}
