//! The product on a real tailnet: what ships, run by local-lambda, between a real caller and a real target.
//!
//! All of it happens in namespaces of its own: nothing leaves the machine, and nothing stays.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use libtest_mimic::{Arguments, Failed, Trial};
use testbed::{
    binaries::Binaries,
    http_call::call,
    namespace::{Side, enter, exit_code},
    network,
    node::Node,
    target,
    walkthrough::STEPS,
    world::{Surroundings, World},
};

const AUTH_KEY: &str = testbed::world::AUTH_KEY;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine within the machine: one world at a time.
    arguments.test_threads = Some(1);
    let inside = match enter(None) {
        Ok(Side::Inside(inside)) => inside,
        Ok(Side::Outside(status)) => return exit_code(status).into(),
        Err(error) => return fail(&error),
    };
    if let Err(error) = network::set_up(&inside.run_dir) {
        return fail(&error);
    }
    let setting = match Binaries::find() {
        Ok(binaries) => Arc::new(Setting {
            binaries,
            run_dir: inside.run_dir,
        }),
        Err(error) => return fail(&error),
    };
    libtest_mimic::run(&arguments, trials(&setting)).exit_code()
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// An error fails the test with its own words.
type Outcome = Result<(), Failed>;

struct Setting {
    binaries: Binaries,
    run_dir: PathBuf,
}

fn trials(setting: &Arc<Setting>) -> Vec<Trial> {
    vec![
        trial(
            setting,
            "a machine of the tailnet reaches the target",
            a_node_reaches_the_target,
        ),
        trial(
            setting,
            "a wrong key is refused in the control server's words",
            a_wrong_key_is_refused,
        ),
    ]
}

fn trial<F>(setting: &Arc<Setting>, name: &str, test: fn(Arc<Setting>) -> F) -> Trial
where
    F: Future<Output = Outcome> + 'static,
{
    let setting = Arc::clone(setting);
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test(setting))
    })
}

fn quiet(_: &str, _: Duration, _: &str) {}

async fn surroundings(setting: &Setting) -> Result<Surroundings, testbed::Error> {
    Surroundings::start(setting.binaries.clone(), &setting.run_dir, &quiet).await
}

async fn a_node_reaches_the_target(setting: Arc<Setting>) -> Outcome {
    let began = Instant::now();
    let surroundings = surroundings(&setting).await?;
    eprintln!("surroundings: {:?}", began.elapsed());
    let socks = SocketAddr::from(([127, 0, 0, 1], 1066));
    let program = &setting.binaries.tailscaled;
    let began = Instant::now();
    let node = Node::start(
        program,
        "client",
        Some(socks),
        &surroundings.control,
        AUTH_KEY,
        &setting.run_dir,
    )
    .await
    .unwrap();
    eprintln!("client node: {:?}", began.elapsed());

    let target = (surroundings.target.node.address().to_string(), target::PORT);
    for _ in 0..3 {
        let began = Instant::now();
        let stream = tokio_socks::tcp::Socks5Stream::connect(socks, target.clone())
            .await
            .unwrap();
        let request = Request::get("/get?a=1")
            .header("host", "target")
            .body(Full::new(Bytes::new()))
            .unwrap();
        let answer = call(stream.into_inner(), request, Duration::from_secs(5))
            .await
            .unwrap();
        eprintln!("answer: {:?}", began.elapsed());
        assert_eq!(answer.status(), 200);
        assert!(String::from_utf8_lossy(answer.body()).contains("a=1"));
    }
    let nodes = surroundings.control.nodes().await.unwrap();
    let names: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.online)).collect();
    assert_eq!(names, [("target.tailnet.test.", true), ("client.tailnet.test.", true)]);
    drop(node);
    surroundings.stop().await;
    Ok(())
}

async fn a_wrong_key_is_refused(setting: Arc<Setting>) -> Outcome {
    let surroundings = surroundings(&setting).await?;
    let program = &setting.binaries.tailscaled;
    let error = Node::start(
        program,
        "client",
        None,
        &surroundings.control,
        "tskey-wrong",
        &setting.run_dir,
    )
    .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("invalid authkey"), "{error}");
    surroundings.stop().await;
    Ok(())
}
