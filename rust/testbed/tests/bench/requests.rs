//! The same requests by all contenders: at a distance, with bodies, at a share of a core, in a large
//! tailnet, and in many environments at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testbed::{
    Error,
    control::Crowd,
    distance::Profile,
    lambda::Function,
    server::Sample,
    suite::{SuiteContext, TestResult},
};
use tokio::task::JoinSet;

use crate::{
    contender::{Ask, Contender},
    handler::Handler,
    processes::{self, Member},
    rounds::{self, Kind, count_failed, millis, percentile, rounds},
    rows::{self, Row},
    scene::Scene,
};

const BODY: &str = "a body of some forty bytes, as text/plain";
/// Name, bytes, and requests in a round.
const SIZES: [(&str, usize, usize); 4] = [
    ("1 KB", 1 << 10, 100),
    ("64 KB", 64 << 10, 50),
    ("1 MB", 1 << 20, 10),
    ("4.5 MB", 4_500_000, 5),
];
/// What a stream is long.
const STREAMED_BYTES: usize = 200_000_000;
const STREAMED: &str = "200 MB";
const TAILNETS: [(usize, &str); 2] = [(5, "5 peers"), (5000, "5,000 peers")];
/// Memory in MB, and the share of a core that Lambda gives with it.
const SHARES: [(u32, &str); 3] = [(256, "0.145 core"), (884, "0.5 core"), (1769, "1 core")];
/// The kernel grants the share anew in each period of 20 ms. A caller that waits for it finds it whole; requests in a row
/// spend it, and wait for it in turn.
const PERIOD: Duration = Duration::from_millis(21);

const ENVIRONMENTS: usize = 16;
const BESIDE: &str = "16 environments";
/// How many requests each caller sends in a round, one after the other.
const IN_A_ROW: usize = 50;

/// GET, POST and https over connections to the target that are open.
pub(crate) async fn kept(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let kinds = [
        Kind::new("GET kept", Ask::get("/")),
        Kind::new("POST kept", Ask::post("/", BODY)),
        Kind::new("https kept", Ask::get("/").over_https()),
    ];
    requests(&context, profile, &kinds).await
}

/// Each over a connection of its own.
pub(crate) async fn new(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let kinds = [
        Kind::new("GET new", Ask::get("/?close")),
        Kind::new("POST new", Ask::post("/?close", BODY)),
        Kind::new("https new", Ask::get("/?close").over_https()),
    ];
    requests(&context, profile, &kinds).await
}

async fn requests(context: &SuiteContext, profile: Profile, kinds: &[Kind]) -> TestResult {
    let scene = Scene::open(context, profile).await?;
    let mut contenders = scene.contenders(|_| ()).await?;
    let round_trip = profile.distance.map_or(Duration::ZERO, |distance| distance.round_trip);
    let (place, count) = (("requests", profile.name), rounds::requests(round_trip));
    rows::add(rounds::measure(place, &mut contenders, kinds, count, false).await?);
    scene.close(contenders).await;
    Ok(())
}

/// Bodies of 1 KB to 4.5 MB, both ways, as ratios of the direct path.
pub(crate) async fn bodies(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let scene = Scene::open(&context, profile).await?;
    let mut contenders = scene.contenders(|_| ()).await?;
    for (at, bytes, count) in SIZES {
        let kinds = [
            Kind::new("download", Ask::get(format!("/?bytes={bytes}"))),
            Kind::new("upload", Ask::post("/", Bytes::from(vec![b'a'; bytes]))),
        ];
        rows::add(rounds::measure(("bodies", at), &mut contenders, &kinds, count, true).await?);
    }
    scene.close(contenders).await;
    Ok(())
}

/// A download through RESPONSE_STREAM: as a ratio of the direct path, and the most memory meanwhile.
pub(crate) async fn stream(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let scene = Scene::open(&context, profile).await?;
    let mut contenders = vec![scene.direct().await?];
    // The published handler knows whole answers alone.
    for handler in [Handler::Ours, Handler::Go] {
        contenders.push(scene.deploy(handler, |function| handler.stream(function)).await?);
    }
    for contender in &mut contenders {
        contender.warm_up().await?;
        for member in &contender.members {
            member.forget_peak()?;
        }
    }
    let kinds = [Kind::new("download", Ask::get(format!("/?bytes={STREAMED_BYTES}")))];
    let mut rows = rounds::measure(("stream", STREAMED), &mut contenders, &kinds, 1, true).await?;
    for contender in &contenders {
        for member in &contender.members {
            let what = format!("peak memory of {}", member.name);
            rows.push(Row::new(
                "stream",
                STREAMED,
                contender.name(),
                what,
                "MB",
                &[member.peak()?],
            ));
        }
    }
    rows::add(rows);
    scene.close(contenders).await;
    Ok(())
}

/// The same requests among 5 and among 5,000 machines.
pub(crate) async fn peers(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    for (peers, at) in TAILNETS {
        let scene = Scene::open(&context, profile).await?;
        scene.backends.control.add_crowd(&Crowd::of(peers, 0)).await?;
        let mut contenders = scene.contenders(|_| ()).await?;
        let kinds = [
            Kind::new("GET kept", Ask::get("/")),
            Kind::new("GET new", Ask::get("/?close")),
        ];
        let count = rounds::requests(Duration::ZERO);
        let mut rows = rounds::measure(("peers", at), &mut contenders, &kinds, count, false).await?;
        for contender in contenders.iter().filter(|contender| contender.handler().is_some()) {
            let (name, what) = (contender.name(), "resident memory, all");
            rows.push(Row::new("peers", at, name, what, "MB", &[contender.resident()?]));
        }
        rows::add(rows);
        scene.close(contenders).await;
    }
    Ok(())
}

/// At the share of a core that Lambda gives for 256, 884 and 1,769 MB.
pub(crate) async fn shares(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    let scene = Scene::open(&context, profile).await?;
    for (memory, at) in SHARES {
        let quota = |function: &mut Function| {
            function.settings.insert("cpuQuota".into(), true.into());
            function.settings.insert("memoryMb".into(), memory.into());
        };
        let mut contenders = match scene.contenders(quota).await {
            Err(error) if lacks_quota(&error) => {
                eprintln!("  share of a core: NOT MEASURED: no cpu controller that can be written: {error}");
                break;
            }
            contenders => contenders?,
        };
        let kinds = [
            Kind::new("GET kept", Ask::get("/")).every(PERIOD),
            Kind::new("GET new", Ask::get("/?close")).every(PERIOD),
            Kind::new("GET kept, in a row", Ask::get("/")),
        ];
        let count = rounds::requests(Duration::ZERO).div_ceil(2);
        rows::add(rounds::measure(("share of a core", at), &mut contenders, &kinds, count, false).await?);
        for contender in contenders {
            contender.stop().await;
        }
    }
    scene.close(Vec::new()).await;
    Ok(())
}

/// local-lambda's own words.
fn lacks_quota(error: &Error) -> bool {
    error.to_string().contains("`cpuQuota` is true, but")
}

/// 16 environments at once: their cold starts, their requests, and the memory that each adds.
pub(crate) async fn side_by_side(context: Arc<SuiteContext>, profile: Profile) -> TestResult {
    for handler in Handler::forwarding() {
        let scene = Scene::open(&context, profile).await?;
        let deployed = scene.deploy(handler, |function| {
            function.settings.insert("maxEnvironments".into(), ENVIRONMENTS.into());
        });
        let mut deployed = deployed.await?;
        let began = Instant::now();
        // So long that none is free for another caller.
        let starts = at_once(&deployed, &Ask::get("/?delay=1s"), 1).await;
        let whole = millis(began.elapsed()) - 1000.0;
        let failed = count_failed(&starts);
        let row =
            |what: &str, unit, values: &[f64]| Row::new("side by side", BESIDE, handler.name(), what, unit, values);
        let mut rows = vec![row("all started and answered", "ms", &[whole]).with_failed(failed)];
        let runtimes = deployed.runtimes();
        for runtime in &runtimes {
            deployed.members.extend(processes::members(*runtime)?);
        }
        let (mut medians, mut tails, mut processor, mut failed) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..rounds() {
            let used = |contender: &Contender| contender.processors().iter().sum::<Duration>();
            let before = used(&deployed);
            let samples = at_once(&deployed, &Ask::get("/"), IN_A_ROW).await;
            let used = used(&deployed).saturating_sub(before);
            processor.push(millis(used) / samples.len() as f64);
            medians.push(percentile(&samples, 50));
            tails.push(percentile(&samples, 99));
            failed += count_failed(&samples);
        }
        let memory: Result<f64, _> = deployed.members.iter().map(Member::proportional).sum();
        let each = memory? / runtimes.len() as f64;
        let row = |what: &str, unit, values: &[f64]| row(what, unit, values).with_failed(failed);
        rows.extend([
            row("environments", "", &[runtimes.len() as f64]),
            row("GET kept, median", "ms", &medians),
            row("GET kept, p99", "ms", &tails),
            row("GET kept, CPU", "ms", &processor),
            row("memory of each", "MB", &[each]),
        ]);
        rows::add(rows);
        scene.close(vec![deployed]).await;
    }
    Ok(())
}

/// As many callers as environments; each sends so many requests, one after the other.
async fn at_once(contender: &Contender, ask: &Ask, requests: usize) -> Vec<Sample> {
    let mut callers = JoinSet::new();
    for _ in 0..ENVIRONMENTS {
        let (mut caller, ask) = (contender.caller.another(), ask.clone());
        callers.spawn(async move {
            let mut samples = Vec::new();
            for _ in 0..requests {
                samples.push(caller.ask(&ask).await);
            }
            samples
        });
    }
    callers.join_all().await.concat()
}
