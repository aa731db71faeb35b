//! What takes minutes: freezes of any length with dead flows, a control server that is silent, a path that loses packets.
//!
//! `SOAK_FREEZES` is how many freezes there are at each distance, `SOAK_SEED` what their lengths are drawn from: it is printed, so
//! that a run can be repeated.
#![allow(clippy::unwrap_used)]

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use testbed::{
    distance::{Distance, SplitMix64},
    expect::all_answered,
    faults::{Services, round},
    freeze::{DeadFlows, median, with_dead_flows},
    lambda::Function,
    load::Load,
    nat,
    server::Server,
    suite::{SuiteContext, TestResult, run, set, trial_within, without_freeze},
    vitals::{Vitals, pids},
    watch::Watch,
};
use tokio::time::sleep;

/// How many freezes at each distance, unless `SOAK_FREEZES` says otherwise.
const FREEZES: u64 = 10;
/// How long they are, in seconds: from and to.
const LENGTH: [f64; 2] = [2.0, 400.0];
/// How long a test may take beside what is waited for.
const SLACK: Duration = Duration::from_secs(120);
/// How long the control server is silent.
const SILENCE: Duration = Duration::from_secs(120);
/// The pause between two requests meanwhile: the function is frozen in it.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest that any of these may take.
const LONGEST: Duration = Duration::from_secs(1);
/// The profile that is far away and lossy: one packet in a hundred is lost, in each direction.
const LOSSY: Distance = Distance::of_millis(100).with_loss(0.01);
/// How many requests pass that.
const REQUESTS: usize = 3000;
const LOSSY_LIMIT: Duration = Duration::from_secs(1500);
/// How many requests pass while things fail, and how many before it is measured what the processes take.
const LOADED: usize = 20_000;
const WARM: usize = 2000;
const CALLERS: usize = 4;
/// Some environments are on their way out while others take their place.
const ENVIRONMENTS: usize = 12;
const LOAD_LIMIT: Duration = Duration::from_secs(1200);
/// What a process may take beyond what it took when it was warm: Go's memory comes and goes by some megabytes.
const MORE_KB: u64 = 8 * 1024;
const MORE_DESCRIPTORS: u64 = 12;
const PROGRAMS: [&str; 3] = ["/var/task/", "/opt/extensions/", "/opt/bin/tailscaled"];

fn main() -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = number("SOAK_SEED", now);
    run(|context| {
        let mut trials = Vec::new();
        for millis in [0, 30, 100] {
            let lengths = lengths(seed + millis);
            let name = format!("freezes of any length that kill the flows, at {millis} ms (SOAK_SEED={seed})");
            let limit = lengths
                .iter()
                .map(|length| *length + Duration::from_secs(10))
                .sum::<Duration>()
                + SLACK;
            trials.push(trial_within(limit, context, &name, move |context| {
                dead_flows(context, millis, lengths)
            }));
        }
        trials.extend(testbed::trials![context;
            "the data plane survives 2 minutes of a silent control server" within SILENCE + SLACK => silent_control,
            "3,000 requests over a path that loses 1 % are all answered" within LOSSY_LIMIT => loss,
            "20,000 requests leave memory, threads and descriptors as they were" within LOAD_LIMIT => growth,
            "20,000 requests get one response each while everything fails in turn" within LOAD_LIMIT => faults,
        ]);
        trials
    })
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// Short ones are as likely as long ones: a freeze's logarithm is drawn.
fn lengths(seed: u64) -> Vec<Duration> {
    let mut random = SplitMix64::new(seed);
    let [from, to] = LENGTH.map(f64::ln);
    let draw = |_| Duration::from_secs_f64((from + random.fraction() * (to - from)).exp());
    (0..number("SOAK_FREEZES", FREEZES)).map(draw).collect()
}

async fn dead_flows(context: Arc<SuiteContext>, millis: u64, lengths: Vec<Duration>) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let distance = (millis > 0).then(|| Distance::of_millis(millis));
    let stack = context.stack_at(distance, |_| ()).await?;
    let mut freezes = DeadFlows::start(&stack, Duration::from_millis(millis)).await?;
    for (number, length) in lengths.into_iter().enumerate() {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        freezes.freeze(&stack, length, method).await?;
    }
    freezes.check();
    stack.end().await
}

/// Flows that die meanwhile included: what brings them back takes no control server.
async fn silent_control(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    nat::block_udp().await?;
    let stack = context.stack(|_| ()).await?;
    let servers = [
        Server::keeping(&stack, Duration::from_secs(75)).await?,
        Server::closing(&stack).await?,
    ];
    servers[0].must_answer(&stack, "GET").await;
    let watch = Watch::start(&stack).await?;
    stack.backends.control.be_silent(SILENCE).await?;
    let began = Instant::now();
    let (mut times, mut killed) = (Vec::new(), false);
    while began.elapsed() < SILENCE {
        for server in &servers {
            let since = stack.lambda.events.len();
            times.push(server.must_answer(&stack, "GET").await);
            stack.lambda.reached(since, "frozen").await?;
            if !killed && began.elapsed() > SILENCE / 2 {
                // A freeze that asks for a look.
                with_dead_flows(&stack, since, LONGEST * 3).await?;
                killed = true;
            }
        }
        sleep(PAUSE).await;
    }
    let longest = times.iter().max().copied().unwrap();
    eprintln!(
        "  {} requests in {SILENCE:?} of silence: {:.1?} in the median, {longest:.1?} the longest",
        times.len(),
        median(&times)
    );
    assert!(longest < LONGEST, "{times:.1?}");
    let (registrations, _) = watch.seen(&stack).await?;
    assert_eq!(registrations, 0);
    stack.end().await
}

async fn loss(context: Arc<SuiteContext>) -> TestResult {
    nat::reset().await?;
    let stack = context.stack_at(Some(LOSSY), |_| ()).await?;
    all_answered(&stack, REQUESTS).await?;
    stack.end().await
}

/// One environment for each caller: the processes are the same from the first request to the last.
async fn growth(context: Arc<SuiteContext>) -> TestResult {
    let stack = context.stack(|function| {
        without_freeze(function);
        function.settings.insert("maxEnvironments".into(), CALLERS.into());
    });
    let stack = stack.await?;
    let mut load = Load::start(&stack).await?;
    load.send(WARM, CALLERS).await?;
    let before = vitals()?;
    load.send(LOADED, CALLERS).await?;
    let after = vitals()?;
    let summary = load.check()?;
    eprintln!("  {summary:?}");
    assert_eq!(summary.answered, WARM + LOADED, "{summary:?}");
    for ((program, before), (_, after)) in before.iter().zip(&after) {
        let [
            (count, resident, descriptors),
            (count_after, resident_after, descriptors_after),
        ] = [before, after].map(|all| {
            let most = |of: fn(&Vitals) -> u64| all.iter().map(of).max().unwrap_or_default();
            (
                all.len(),
                most(|vitals| vitals.resident_kb),
                most(|vitals| vitals.descriptors as u64),
            )
        });
        eprintln!("  {program}: {before:?} to {after:?}");
        assert_eq!(count, count_after, "{program}");
        assert!(
            resident_after <= resident + MORE_KB && descriptors_after <= descriptors + MORE_DESCRIPTORS,
            "{program}: {before:?} to {after:?}"
        );
    }
    stack.end().await
}

fn vitals() -> std::io::Result<Vec<(&'static str, Vec<Vitals>)>> {
    let of = |program: &&'static str| {
        let vitals = pids(program).into_iter().map(|pid| Vitals::of(pid.unsigned_abs()));
        Ok((*program, vitals.collect::<std::io::Result<_>>()?))
    };
    PROGRAMS.iter().map(of).collect()
}

async fn faults(context: Arc<SuiteContext>) -> TestResult {
    let backends = context.backends().await?;
    let mut services = Services::start(&backends).await?;
    let adjust = |function: &mut Function| {
        without_freeze(function);
        services.serve(function);
        function.settings.insert("maxEnvironments".into(), ENVIRONMENTS.into());
        set(function, "TS_CONNECT_TIMEOUT", "8000");
    };
    let stack = backends.deploy(adjust).await?;
    let mut load = Load::start(&stack).await?;
    let mut rounds = 0;
    {
        let sending = load.send(LOADED, CALLERS);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => break sent?,
                failed = round(&stack, &mut services) => { failed?; rounds += 1; }
            }
        }
    }
    let summary = load.check()?;
    eprintln!("  {rounds} rounds of faults: {summary:?}");
    assert!(rounds > 0, "the requests were over before the faults");
    assert!(
        summary.service == 0 && summary.answered > LOADED / 2,
        "{summary:?}\n{}",
        stack.log()
    );
    stack.end().await
}
