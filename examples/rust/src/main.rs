//! Asks a machine in the tailnet: `tailnet-caller 100.64.0.7 8080 GET '/reports?month=11' [BODY]`.
//!
//! Where the proxy is, and who calls it, is in the environment: `TS_PROXY_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY` and, for temporary credentials, `AWS_SESSION_TOKEN`, as Lambda sets them.

mod tailnet;

use std::{env, error::Error, io::Write};

use tailnet::Proxy;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut argument = |name| {
        arguments
            .next()
            .ok_or_else(|| format!("{name} is missing: HOST PORT METHOD PATH [BODY]"))
    };
    let (host, port) = (argument("HOST")?, argument("PORT")?);
    let (method, path_and_query) = (argument("METHOD")?, argument("PATH")?);
    let body = arguments.next().unwrap_or_default();

    let request = http::Request::builder()
        .method(method.as_str())
        .uri(path_and_query)
        .header("ts-target-ip", host)
        .header("ts-target-port", port)
        .body(body.into_bytes())?;
    let answer = Proxy::from_env()?.send(request).await?;
    std::io::stdout().write_all(&answer.bytes().await?)?;
    Ok(())
}
