//! What an environment takes at its start, at its first requests, after freezes, and after many requests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use testbed::{
    Error,
    distance::Profile,
    lambda::{Event, Function},
    nat,
    server::Sample,
    suite::{SuiteContext, TestResult},
};
use tokio::time::sleep;

use crate::{
    contender::{Ask, Contender},
    handler::Handler,
    rounds::{count_failed, millis, rounds, turns},
    rows::{self, Row},
    scene::Scene,
};

/// How many starts of each handler in a round.
const STARTS: usize = 2;
/// How long each freeze is.
const FREEZE: Duration = Duration::from_secs(3);
/// Freezes with dead flows: an unprepared handler takes its time-out for each.
const DEAD: usize = 2;
/// How many requests come before it is measured.
const REQUESTS: usize = 10_000;
const REQUESTED: &str = "10,000 requests";

#[derive(Default)]
struct Starts {
    /// From the handler's start to the end of INIT: its first `/next`, and the extension's.
    next: Vec<f64>,
    whole: Vec<f64>,
    failed: usize,
}

/// Cold starts: from the first process to the end of INIT, and to the first answer.
pub(crate) async fn start(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let scene = Scene::open(&context, profile).await?;
    let mut contenders = Vec::new();
    for handler in [Handler::Empty, Handler::Alone]
        .into_iter()
        .chain(Handler::forwarding())
    {
        contenders.push(scene.deploy(handler, |_| ()).await?);
    }
    let mut starts: Vec<Starts> = contenders.iter().map(|_| Starts::default()).collect();
    for round in 0..rounds() * STARTS {
        for who in turns(round, contenders.len()) {
            start_once(&mut contenders[who], &mut starts[who]).await?;
        }
    }
    let mut rows = Vec::new();
    for (contender, starts) in contenders.iter().zip(&starts) {
        let name = contender.name();
        let row = |what: &str, values: &[f64]| {
            Row::new("start", profile.name, name, what, "ms", values).with_failed(starts.failed)
        };
        // With the extension INIT ends when that is ready too, whose login comes first.
        let what = match contender.handler() {
            Some(Handler::Ours | Handler::Node) => "handler start to the end of INIT",
            _ => "handler start to /next",
        };
        rows.push(row(what, &starts.next));
        if !starts.whole.is_empty() {
            rows.push(row("cold start to first answer", &starts.whole));
        }
    }
    rows::add(rows);
    scene.close(contenders).await;
    Ok(())
}

async fn start_once(contender: &mut Contender, starts: &mut Starts) -> Result<(), Error> {
    let events = contender.lambda().events.clone();
    let since = events.len();
    let timeline = async {
        events.find(since, process_started).await;
        let first = Instant::now();
        events.find(since, Event::runtime_started).await;
        let handler = Instant::now();
        events.find(since, initialized).await;
        (first, handler, Instant::now())
    };
    let ask = Ask::get("/");
    let ((first, handler, ready), (sample, answered)) = tokio::join!(timeline, async {
        let sample = contender.ask(&ask).await;
        (sample, Instant::now())
    });
    starts.next.push(millis(ready - handler));
    if contender.handler() != Some(Handler::Alone) {
        starts.whole.push(millis(answered - first));
        starts.failed += usize::from(sample.status != 200);
    }
    // Once it is idle, the environment is ended.
    let invoked = |event: &Event| matches!(event, Event::Invocation { .. }).then_some(());
    events.find(since, invoked).await;
    contender.lambda().spin_down().await?;
    Ok(contender.lambda().reached(since, "stopped").await?)
}

fn process_started(event: &Event) -> Option<()> {
    matches!(event, Event::Process { state, .. } if state == "started").then_some(())
}

fn initialized(event: &Event) -> Option<()> {
    matches!(event, Event::Environment { state, .. } if state == "initialized").then_some(())
}

/// What an environment's first https request, and its first metric, take beyond its second ones.
pub(crate) async fn firsts(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let scene = Scene::open(&context, profile).await?;
    // moto imports a service at its first call.
    scene.backends.aws.metric_sum("bench", "none", &[]).await?;
    for handler in Handler::forwarding() {
        let (mut https, mut https_cpu, mut metric) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds() {
            let (wall, cpu) = first_beyond_second(&scene, handler, &Ask::get("/?close").over_https()).await?;
            https.push(wall);
            https_cpu.push(cpu);
            // The others know nothing of metrics.
            if handler == Handler::Ours {
                metric.push(first_beyond_second(&scene, handler, &Ask::get("/").counted()).await?.0);
            }
        }
        let row = |what: &str, values: &[f64]| Row::new("firsts", profile.name, handler.name(), what, "ms", values);
        let mut rows = vec![
            row("first https beyond second", &https),
            row("first https beyond second, CPU", &https_cpu),
        ];
        if !metric.is_empty() {
            rows.push(row("first metric beyond second", &metric));
        }
        rows::add(rows);
    }
    scene.close(Vec::new()).await;
    Ok(())
}

/// In a new environment that has answered plain requests: by the clock, and by the processor's time.
async fn first_beyond_second(scene: &Scene, handler: Handler, ask: &Ask) -> Result<(f64, f64), Error> {
    let mut contender = scene.deploy(handler, |_| ()).await?;
    contender.warm_up().await?;
    for _ in 0..5 {
        contender.must_answer(&Ask::get("/?close")).await;
    }
    let first = once(&mut contender, ask).await;
    let second = once(&mut contender, ask).await;
    contender.stop().await;
    Ok((first.0 - second.0, first.1 - second.1))
}

/// A request, and a plain one right after it, which waits for whatever the first one left to be done.
async fn once(contender: &mut Contender, ask: &Ask) -> (f64, f64) {
    let used = |contender: &Contender| contender.processors().iter().sum::<Duration>();
    let before = used(contender);
    let began = Instant::now();
    contender.must_answer(ask).await;
    contender.must_answer(&Ask::get("/")).await;
    let took = began.elapsed();
    let used = used(contender).saturating_sub(before);
    (millis(took), millis(used))
}

/// The first request after a freeze: with the function's flows alive, and after a NAT has forgotten them.
pub(crate) async fn thaw(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    for handler in Handler::forwarding() {
        nat::reset().await?;
        nat::block_udp().await?;
        let backends = context.backends_at(profile.distance).await?;
        let scene = Scene::around(backends).await?;
        let freezing = |function: &mut Function| {
            function.settings.insert("freeze".into(), true.into());
        };
        let mut contender = scene.deploy(handler, freezing).await?;
        contender.warm_up().await?;
        let (mut live, mut dead) = (Vec::new(), Vec::new());
        for _ in 0..rounds() {
            live.push(after(&mut contender, false).await?);
        }
        for _ in 0..DEAD {
            let sample = after(&mut contender, true).await?;
            dead.push(sample);
            // Its time-out has ended the environment.
            if sample.status != 200 {
                break;
            }
        }
        let row = |what: &str, samples: &[Sample]| {
            let times: Vec<_> = samples.iter().map(|sample| millis(sample.took)).collect();
            Row::new("thaw", "3 s, DERP", handler.name(), what, "ms", &times).with_failed(count_failed(samples))
        };
        rows::add(vec![
            row("first GET, live flows", &live),
            row("first GET, dead flows", &dead),
        ]);
        nat::reset().await?;
        scene.close(vec![contender]).await;
    }
    Ok(())
}

async fn after(contender: &mut Contender, dead: bool) -> Result<Sample, Error> {
    let since = contender.lambda().events.len();
    contender.ask(&Ask::get("/")).await;
    contender.lambda().reached(since, "frozen").await?;
    if dead {
        nat::blackhole_flows(contender.runtime()).await?;
    }
    // The freeze itself: its length is what is measured.
    sleep(FREEZE).await;
    Ok(contender.ask(&Ask::get("/")).await)
}

/// Resident memory after so many requests.
pub(crate) async fn memory(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let scene = Scene::open(&context, profile).await?;
    for handler in Handler::forwarding() {
        let mut contender = scene.deploy(handler, |_| ()).await?;
        contender.warm_up().await?;
        let kinds = [
            Ask::get("/"),
            Ask::post("/", "a small body"),
            Ask::get("/").over_https(),
            Ask::get("/?bytes=65536"),
        ];
        let mut failed = 0;
        for number in 0..REQUESTS {
            failed += usize::from(contender.ask(&kinds[number % kinds.len()]).await.status != 200);
        }
        let row = |what: String, megabytes| Row::new("memory", REQUESTED, handler.name(), what, "MB", &[megabytes]);
        let mut rows = Vec::new();
        for member in &contender.members {
            rows.push(row(format!("resident memory of {}", member.name), member.resident()?));
        }
        rows.push(row("resident memory, all".to_owned(), contender.resident()?).with_failed(failed));
        rows::add(rows);
        contender.stop().await;
    }
    scene.close(Vec::new()).await;
    Ok(())
}
