//! The layer in a caller's function of its own, in a Lambda host: INIT, freezes, and the environment's own network.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    caller_function::{CallerFunction, Via, reachable},
    deadline::within,
    port_forwarder::PortForwarder,
    stack::TestStack,
    target::PORT,
};

use crate::{SuiteContext, TestResult};

/// How often the caller's environment is frozen.
const FREEZES: usize = 3;

pub(crate) fn trials(context: &Arc<SuiteContext>) -> Vec<Trial> {
    testbed::trials![context;
        "function: code without signatures reaches the target, cold, warm, and after a freeze that closed its connections"
            => |context| freezes(context, Via::FunctionUrl, |stack| stack.url().address),
        "function: the same by Lambda's Invoke API, without a Function URL"
            => |context| freezes(context, Via::Invoke, |stack| stack.invoke_api().address),
    ]
}

async fn freezes(context: Arc<SuiteContext>, via: Via, proxy: fn(&TestStack) -> String) -> TestResult {
    let stack = context.stack(|_| ()).await?;
    let proxy: SocketAddr = proxy(&stack).parse()?;
    let mut forwarder = PortForwarder::open(reachable(), proxy).await?;
    let address = forwarder.address();
    let role = stack.url().caller;
    let asked = format!("http://target:{PORT}/get?a=1");
    let caller = CallerFunction::start(&context.binaries, &context.run_dir, &role, (via, address), &asked).await?;
    let cold = ask(&caller).await?;
    let warm = ask(&caller).await?;
    let mut thawed = Vec::new();
    for _ in 0..FREEZES {
        let since = caller.lambda.events.len();
        ask(&caller).await?;
        caller.lambda.reached(since, "frozen").await?;
        // Meanwhile the service closes what is idle.
        forwarder.close();
        forwarder = reopen(address, proxy).await?;
        thawed.push(ask(&caller).await?);
    }
    eprintln!("the caller's function by {via:?}: cold {cold:.1?}, warm {warm:.1?}, after freezes {thawed:.1?}");
    drop(forwarder);
    caller.stop().await;
    stack.end().await
}

/// Opens the forwarder at the same address, as soon as the system lets it go.
async fn reopen(address: SocketAddr, to: SocketAddr) -> Result<PortForwarder, Failed> {
    let opened = async {
        loop {
            match PortForwarder::open(address, to).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                opened => return opened,
            }
        }
    };
    Ok(within(Duration::from_secs(5), "the forwarder's address", opened).await??)
}

async fn ask(caller: &CallerFunction) -> Result<Duration, Failed> {
    let began = Instant::now();
    let answer = caller.call().await?;
    let took = began.elapsed();
    let log = || caller.lambda.process.log().tail();
    let said: Value =
        serde_json::from_slice(answer.body()).map_err(|error| format!("{error}: {answer:?}\n{}", log()))?;
    assert_eq!(said["args"], json!({"a": ["1"]}), "{said}\n{}", log());
    Ok(took)
}
