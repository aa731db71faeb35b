//! Several contenders, several kinds of requests, in turn; round by round.

use std::{env, time::Duration};

use testbed::{Error, server::Sample};
use tokio::time::sleep;

use crate::{
    contender::{Ask, Contender},
    rows::Row,
};

/// How many rounds, unless `BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 5;
/// How many requests of each kind in a round, unless `BENCH_REQUESTS` says otherwise.
const REQUESTS: usize = 300;

/// How many rounds.
pub(crate) fn rounds() -> usize {
    number("BENCH_ROUNDS", ROUNDS)
}

/// How many requests in a round, where each takes so long for the network's sake.
pub(crate) fn requests(round_trip: Duration) -> usize {
    let all = number("BENCH_REQUESTS", REQUESTS);
    // At a distance fewer do: what the machine adds is small beside it.
    match round_trip.as_millis() {
        0 => all,
        1..50 => all.div_ceil(5),
        _ => all.div_ceil(10),
    }
}

fn number(variable: &str, default: usize) -> usize {
    let parse = |text: String| {
        let number = text.parse().ok().filter(|number| *number > 0);
        number.unwrap_or_else(|| panic!("{variable} is {text:?}, but must be a whole number above 0"))
    };
    env::var(variable).map_or(default, parse)
}

/// A kind of request in its name.
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) ask: Ask,
    /// Between two requests.
    pause: Duration,
}

impl Kind {
    pub(crate) fn new(name: impl Into<String>, ask: Ask) -> Self {
        Self {
            name: name.into(),
            ask,
            pause: Duration::ZERO,
        }
    }

    /// The same, with so long between two requests.
    #[must_use]
    pub(crate) fn every(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

/// What one contender took for one kind of request, each round apart.
#[derive(Default)]
struct Measured {
    medians: Vec<f64>,
    tails: Vec<f64>,
    processor: Vec<f64>,
    /// The same of each process.
    members: Vec<(String, Vec<f64>)>,
    failed: usize,
}

/// The order of so many contenders in a round: another one is the first each time.
pub(crate) fn turns(round: usize, contenders: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |turn| (turn + round) % contenders)
}

/// Measures all contenders with all kinds in a part of the bench, `at` some place. Returns medians, 99th percentiles, processor
/// times, and what each contender takes beyond the direct path of the same round, or as many times its time where `as_ratio`.
pub(crate) async fn measure(
    (part, at): (&'static str, &str),
    contenders: &mut [Contender],
    kinds: &[Kind],
    requests: usize,
    as_ratio: bool,
) -> Result<Vec<Row>, Error> {
    let mut measured: Vec<Vec<Measured>> = contenders
        .iter()
        .map(|_| kinds.iter().map(|_| Measured::default()).collect())
        .collect();
    for round in 0..rounds() {
        for (number, kind) in kinds.iter().enumerate() {
            for who in turns(round, contenders.len()) {
                batch(&mut contenders[who], kind, requests, &mut measured[who][number]).await?;
            }
        }
    }
    let direct = contenders.iter().position(|contender| contender.name() == "direct");
    let mut rows = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        for (who, contender) in contenders.iter().enumerate() {
            let one = &measured[who][number];
            let row = |what: &str, unit, values: &[f64]| {
                let what = format!("{}, {what}", kind.name);
                Row::new(part, at, contender.name(), what, unit, values).with_failed(one.failed)
            };
            rows.push(row("median", "ms", &one.medians));
            rows.push(row("p99", "ms", &one.tails));
            if !one.processor.is_empty() {
                rows.push(row("CPU", "ms", &one.processor));
            }
            // A handler alone has no parts.
            for (name, values) in one.members.iter().filter(|_| one.members.len() > 1) {
                rows.push(row(&format!("CPU of {name}"), "ms", values));
            }
            if let Some(direct) = direct.filter(|direct| *direct != who) {
                let pairs = one.medians.iter().zip(&measured[direct][number].medians);
                if as_ratio {
                    let times: Vec<_> = pairs.map(|(ours, direct)| ours / direct).collect();
                    rows.push(row("times direct", "x", &times));
                } else {
                    let beyond: Vec<_> = pairs.map(|(ours, direct)| ours - direct).collect();
                    rows.push(row("over direct", "ms", &beyond));
                }
            }
        }
    }
    Ok(rows)
}

async fn batch(contender: &mut Contender, kind: &Kind, requests: usize, measured: &mut Measured) -> Result<(), Error> {
    let Kind { ask, pause, .. } = kind;
    // Whatever the kind before it left behind: a connection, or none.
    if contender.ask(ask).await.status != 200 {
        contender.warm_up().await?;
    }
    let before = contender.processors();
    let mut samples = Vec::with_capacity(requests);
    for _ in 0..requests {
        samples.push(contender.ask(ask).await);
        sleep(*pause).await;
    }
    let after = contender.processors();
    let failed = count_failed(&samples);
    measured.failed += failed;
    measured.medians.push(percentile(&samples, 50));
    measured.tails.push(percentile(&samples, 99));
    if failed > 0 {
        // The environment may be another one now: this round says nothing of the processor, and the next one must.
        contender.warm_up().await?;
        return Ok(());
    }
    let used = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after.saturating_sub(*before));
    let each: Vec<f64> = used.map(|used| millis(used) / requests as f64).collect();
    if !each.is_empty() {
        measured.processor.push(each.iter().sum());
    }
    measured.members.resize_with(each.len(), Default::default);
    for ((values, member), used) in measured.members.iter_mut().zip(&contender.members).zip(each) {
        values.0.clone_from(&member.name);
        values.1.push(used);
    }
    Ok(())
}

pub(crate) fn count_failed(samples: &[Sample]) -> usize {
    samples.iter().filter(|sample| sample.status != 200).count()
}

/// In ms, of all samples.
pub(crate) fn percentile(samples: &[Sample], percent: usize) -> f64 {
    let mut times: Vec<_> = samples.iter().map(|sample| sample.took).collect();
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().map_or(0.0, millis)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
