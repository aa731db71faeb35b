//! What was measured, as rows: printed as they come, and written as JSON at the end.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// All rows, in the order in which they were measured.
static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// One figure: the median of the rounds' values, and the least and greatest of them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The part of the bench.
    pub(crate) part: &'static str,
    /// Where or with how much: a round trip, a share of a core, a size.
    pub(crate) at: String,
    /// The contender.
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    median: f64,
    low: f64,
    high: f64,
    rounds: usize,
    /// Requests that were not answered with 200.
    failed: usize,
}

impl Row {
    pub(crate) fn new(
        part: &'static str,
        at: impl Into<String>,
        who: impl Into<String>,
        what: impl Into<String>,
        unit: &'static str,
        rounds: &[f64],
    ) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            part,
            at: at.into(),
            who: who.into(),
            what: what.into(),
            unit,
            median: median(&sorted),
            low: sorted.first().copied().unwrap_or_default(),
            high: sorted.last().copied().unwrap_or_default(),
            rounds: sorted.len(),
            failed: 0,
        }
    }

    pub(crate) fn with_failed(self, failed: usize) -> Self {
        Self { failed, ..self }
    }
}

/// The one in the middle, or between the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Keeps rows, and prints them.
pub(crate) fn add(rows: Vec<Row>) {
    for row in &rows {
        let failed = if row.failed > 0 {
            format!("  {} failed", row.failed)
        } else {
            String::new()
        };
        eprintln!(
            "  {:<16} {:<12} {:<11} {:<40} {:>10.3} {:<5} ({:.3} to {:.3}){failed}",
            row.part, row.at, row.who, row.what, row.median, row.unit, row.low, row.high
        );
    }
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).extend(rows);
}

/// Writes all rows to the file that `BENCH_JSON` names. The process outside of the namespaces has none.
pub(crate) fn write() {
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    if let Some(file) = std::env::var_os("BENCH_JSON") {
        let json = serde_json::to_vec_pretty(&*rows).unwrap();
        fs::write(&file, json).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }
}
