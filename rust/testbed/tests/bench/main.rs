//! What a request costs through the shipped zips, beside what it costs without them and through other handlers.
//!
//! In each part all contenders are measured in turn, round by round, in one run on one machine: the *direct* path (a bare
//! tailscaled and its SOCKS5 server, beside the function), an *empty* handler, *ours*, *go* (a Go handler with tsnet in its
//! own process, `tailscaled/bench/peer`), and with `BENCH_PUBLISHED=1` *node*: the published handler of version 0.0.15.
//! Figures of different runs are not comparable: the ratios within one run are.
//!
//! `BENCH_ROUNDS` (5) and `BENCH_REQUESTS` (300, in each round) keep it short. A filter of the trials' names chooses parts, as
//! `cargo test -p testbed --test bench -- 'kept requests, 30 ms'`. Rows go as JSON to the file that `BENCH_JSON` names;
//! `scripts/bench-report.js` makes the table, the verdicts and the chart of them.
#![allow(clippy::unwrap_used)]

mod contender;
mod environment;
mod handler;
mod processes;
mod requests;
mod rounds;
mod rows;
mod scene;

use std::{process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::Trial;
use testbed::{
    distance::{PROFILES, Profile},
    suite::{SuiteContext, TestResult, run, trial_within},
};

/// How long a part may take with the default rounds; more rounds take longer in proportion.
const LIMIT: Duration = Duration::from_secs(600);
/// Beyond this distance the product's time is not to be seen.
const FARTHEST: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let code = run(|context| {
        let mut trials = Vec::new();
        for profile in distances() {
            trials.push(of(context, "kept requests", profile, requests::kept));
            trials.push(of(context, "new requests", profile, requests::new));
        }
        let near = PROFILES[0];
        trials.push(of(context, "share of a core", near, requests::shares));
        trials.push(of(context, "start", near, environment::start));
        trials.push(of(context, "firsts", near, environment::firsts));
        trials.push(of(context, "bodies", near, requests::bodies));
        trials.push(of(context, "stream", near, requests::stream));
        trials.push(of(context, "memory", near, environment::memory));
        trials.push(of(context, "side by side", near, requests::side_by_side));
        trials.push(of(context, "peers", near, requests::peers));
        trials.push(of(context, "thaw", near, environment::thaw));
        trials
    });
    rows::write();
    code
}

/// Those without loss.
fn distances() -> impl Iterator<Item = Profile> {
    PROFILES.into_iter().filter(|profile| {
        profile
            .distance
            .is_none_or(|distance| distance.loss == 0.0 && distance.round_trip <= FARTHEST)
    })
}

fn of<F>(
    context: &Arc<SuiteContext>,
    part: &'static str,
    profile: Profile,
    measure: impl FnOnce(Arc<SuiteContext>, Profile) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = TestResult> + 'static,
{
    let limit = LIMIT * u32::try_from(rounds::rounds().max(5)).unwrap() / 5;
    trial_within(limit, context, &format!("{part}, {}", profile.name), move |context| {
        measure(context, profile)
    })
}
