//! What the shipped zips take at a distance, beside a bare tailscaled: cold starts, quiet, dead flows, targets that are off,
//! and what a large tailnet costs.
//!
//! `LONG=1` adds 70 s of quiet. `FREEZES=3,8,12,20,30,45,70` chooses the freezes with dead flows, `REPEATS=3` how often each row
//! is measured.
//!
//! It prints one table at the end, and writes it as JSON to the file that `DISTANCE_JSON` names. Bounds are shown; only with
//! `DISTANCE_BOUNDS=1` does a row that is beyond its bound fail its trial. Part of it: a filter of the trials' names, as
//! `cargo test -p testbed --test distance -- 'cold start, 30 ms'`.
#![allow(clippy::unwrap_used)]

mod cold;
mod off;
mod path;
mod quiet;
mod table;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::Trial;
use testbed::suite::{SuiteContext, TestResult, run, trial_within};

use crate::path::Path;

fn main() -> ExitCode {
    let code = run(|context| {
        let mut trials = Vec::new();
        for path in Path::all() {
            trials.push(of(context, "cold start", path, cold::LIMIT, cold::measure));
            trials.push(of(context, "quiet", path, quiet::limit(), quiet::without_freeze));
            trials.push(of(context, "live freeze", path, quiet::limit(), quiet::frozen));
            trials.push(of(context, "dead freeze", path, quiet::limit(), quiet::dead));
            trials.push(of(context, "target off and freezes", path, off::LIMIT, off::frozen));
        }
        // The distance adds nothing to it.
        trials.push(of(context, "crowd", Path::all()[0], cold::LIMIT, cold::crowd));
        trials
    });
    // The process outside has measured nothing.
    table::show();
    code
}

fn of<F>(
    context: &Arc<SuiteContext>,
    what: &str,
    path: Path,
    limit: std::time::Duration,
    measure: impl FnOnce(Arc<SuiteContext>, Path) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = TestResult> + 'static,
{
    let name = format!("{what}, {path}");
    trial_within(limit, context, &name, move |context| measure(context, path))
}
