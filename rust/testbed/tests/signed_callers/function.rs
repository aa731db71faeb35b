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
    door::Door,
    target::PORT,
    world::World,
};

use crate::{Outcome, Setting};

/// How often the caller's environment is frozen.
const FREEZES: usize = 3;

pub(crate) fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    testbed::trials![setting;
        "function: code that knows nothing of signatures reaches the target, cold, warm, and after a freeze that closed its connections"
            => |setting| freezes(setting, Via::FunctionUrl, |world| world.url().address),
        "function: the same by Lambda's Invoke API, without a Function URL"
            => |setting| freezes(setting, Via::Invoke, |world| world.invoke_api().address),
    ]
}

async fn freezes(setting: Arc<Setting>, via: Via, proxy: fn(&World) -> String) -> Outcome {
    let world = setting.world(|_| ()).await?;
    let proxy: SocketAddr = proxy(&world).parse()?;
    let mut door = Door::open(reachable(), proxy).await?;
    let address = door.address();
    let role = world.url().caller;
    let asked = format!("http://target:{PORT}/get?a=1");
    let caller = CallerFunction::start(&setting.binaries, &setting.run_dir, &role, (via, address), &asked).await?;
    let cold = ask(&caller).await?;
    let warm = ask(&caller).await?;
    let mut thawed = Vec::new();
    for _ in 0..FREEZES {
        let since = caller.lambda.events.len();
        ask(&caller).await?;
        caller.lambda.reached(since, "frozen").await?;
        // Meanwhile the service closes what is idle.
        door.close();
        door = reopen(address, proxy).await?;
        thawed.push(ask(&caller).await?);
    }
    eprintln!("the caller's function by {via:?}: cold {cold:.1?}, warm {warm:.1?}, after freezes {thawed:.1?}");
    drop(door);
    caller.stop().await;
    world.end().await
}

/// Opens the door at the same address, as soon as the system lets it go.
async fn reopen(address: SocketAddr, to: SocketAddr) -> Result<Door, Failed> {
    let opened = async {
        loop {
            match Door::open(address, to).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                opened => return opened,
            }
        }
    };
    Ok(within(Duration::from_secs(5), "the door's address", opened).await??)
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
