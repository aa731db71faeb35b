//! The rows that were measured, as a table and as JSON.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use testbed::{server::Sample, suite::TestResult};

use crate::path::Path;

/// All rows, in the order in which they were measured.
static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// What was measured of one kind of request on one path.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// The part of the suite.
    part: &'static str,
    profile: &'static str,
    udp: bool,
    /// `ours` or `bare`.
    who: &'static str,
    what: String,
    samples: usize,
    /// How many were not answered with 200.
    not_ok: usize,
    pub(crate) median_ms: f64,
    max_ms: f64,
    /// The goal for the median.
    pub(crate) bound_ms: Option<f64>,
    /// Registrations that the control server saw meanwhile.
    registrations: Option<u64>,
    /// TCP flows of the function that were new afterwards.
    new_flows: Option<usize>,
}

impl Row {
    pub(crate) fn new(
        part: &'static str,
        path: Path,
        who: &'static str,
        what: impl Into<String>,
        samples: Vec<Sample>,
    ) -> Self {
        let mut times: Vec<_> = samples.iter().map(|sample| millis(sample.took)).collect();
        times.sort_by(f64::total_cmp);
        Self {
            part,
            profile: path.profile.name,
            udp: path.udp,
            who,
            what: what.into(),
            samples: samples.len(),
            not_ok: samples.iter().filter(|sample| sample.status != 200).count(),
            median_ms: times.get(times.len() / 2).copied().unwrap_or_default(),
            max_ms: times.last().copied().unwrap_or_default(),
            bound_ms: None,
            registrations: None,
            new_flows: None,
        }
    }

    pub(crate) fn with_watch(self, (registrations, new_flows): (u64, usize)) -> Self {
        Self {
            registrations: Some(registrations),
            new_flows: Some(new_flows),
            ..self
        }
    }

    /// Requests that nobody can answer.
    pub(crate) fn expecting_failures(self) -> Self {
        Self { not_ok: 0, ..self }
    }

    pub(crate) fn bounded(self, bound: Duration) -> Self {
        let bound_ms = Some(millis(bound));
        Self { bound_ms, ..self }
    }

    fn is_beyond(&self) -> bool {
        self.bound_ms.is_some_and(|bound| self.median_ms > bound)
    }

    fn line(&self) -> String {
        let count = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
        format!(
            "{:<11} {:<17} {:<7} {:<5} {:<44} {:>9} {:>9} {:>9}{} {:>6} {:>5} {:>6}",
            self.part,
            self.profile,
            if self.udp { "UDP" } else { "no UDP" },
            self.who,
            self.what,
            shown(self.median_ms),
            shown(self.max_ms),
            self.bound_ms.map_or_else(String::new, shown),
            if self.is_beyond() { "!" } else { " " },
            format!("{}/{}", self.samples - self.not_ok, self.samples),
            count(self.registrations),
            count(self.new_flows.map(|flows| flows as u64)),
        )
    }
}

/// Whether rows are held to their bounds.
fn enforced() -> bool {
    std::env::var("DISTANCE_BOUNDS").is_ok_and(|value| value == "1")
}

/// Keeps the rows for the table. An error: not all requests were answered with 200, or a bound that is enforced was missed.
pub(crate) fn add(rows: Vec<Row>) -> TestResult {
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row.not_ok > 0 || (enforced() && row.is_beyond()))
        .map(Row::line)
        .collect();
    eprintln!();
    rows.iter().for_each(|row| eprintln!("  {}", row.line()));
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).extend(rows);
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("not answered with 200, or too late:\n{}", failed.join("\n")).into())
}

/// Prints the table, if there is one, and writes it to where `DISTANCE_JSON` says.
pub(crate) fn show() {
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    eprintln!(
        "{:<11} {:<17} {:<7} {:<5} {:<44} {:>9} {:>9} {:>9}  {:>6} {:>5} {:>6}",
        "part", "round trip", "", "who", "what", "median", "max", "bound", "ok", "regs", "flows"
    );
    rows.iter().for_each(|row| eprintln!("{}", row.line()));
    if let Some(file) = std::env::var_os("DISTANCE_JSON") {
        let json = serde_json::to_vec_pretty(&*rows).unwrap();
        std::fs::write(&file, json).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }
}

fn shown(millis: f64) -> String {
    format!("{millis:.1} ms")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
