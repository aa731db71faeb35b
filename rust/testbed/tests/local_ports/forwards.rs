//! Local ports, for clients that know no proxy: their connections through freezes.

use std::{path::Path, sync::Arc, time::Duration};

use libtest_mimic::{Failed, Trial};
use testbed::{
    measuring, nat,
    stack::TestStack,
    suite::{SuiteContext, TestResult, set},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    time::sleep,
};

use crate::{
    clients::{deploy, say, start},
    python,
};

/// A freeze that leaves the flows alive.
const SHORT_FREEZE: Duration = Duration::from_secs(4);
/// How soon a client learns that its connection is dead, and how soon its next query is answered.
pub(crate) const SOON: u64 = 1000;
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
pub(crate) const LOCAL_PORT: u16 = 5433;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "forward: connections that outlive a freeze are left alone" within LIMIT => live_flows,
    ]
}

/// A server behind the target's machine that answers each line with the number of the connection that it came by.
async fn numbering() -> Result<u16, Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        for number in 1.. {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(async move {
                let (read, mut write) = stream.split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if write.write_all(format!("{number} {line}\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(port)
}

/// The function with a client that keeps a connection to a local port. All goes by DERP.
async fn with_session(context: &SuiteContext) -> Result<TestStack, Failed> {
    let port = numbering().await?;
    let handler = python::handler(context, "session.py", &[], &[])?;
    let stack = with_target(context, &handler, port).await?;
    let program = [python::PYTHON, "/var/task/session.py", &LOCAL_PORT.to_string()];
    start(&stack, "client", &program).await?;
    Ok(stack)
}

async fn live_flows(context: Arc<SuiteContext>) -> TestResult {
    let stack = with_session(&context).await?;
    for word in ["one", "two", "three"] {
        let since = stack.lambda.events.len();
        let (answer, took) = say(&stack, "client", word).await?;
        assert_eq!(answer, format!("1 {word}"), "{}", stack.log());
        assert!(took < SOON, "it took {took} ms");
        stack.lambda.reached(since, "frozen").await?;
        // The freeze itself.
        sleep(SHORT_FREEZE).await;
    }
    stack.end().await
}

/// The function with a local port that leads to a server behind the target's machine. All goes by DERP.
pub(crate) async fn with_target(context: &SuiteContext, handler: &Path, port: u16) -> Result<TestStack, Failed> {
    nat::reset().await?;
    nat::block_udp().await?;
    // A start takes both cores, so it takes a turn like a measurement.
    let _turn = measuring::turn().await?;
    deploy(context.backends().await?, handler, |function| {
        set(function, "TS_FORWARDS", &format!("{LOCAL_PORT}=target:{port}"));
    })
    .await
}
