//! The lines that Lambda writes to a function's log around its output.

use std::io::Write;
use std::time::Duration;

/// What REPORT and INIT_REPORT tell of.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) request_id: &'a str,
    pub(super) duration: Duration,
    pub(super) memory_mb: u32,
    pub(super) init: Option<Duration>,
    /// `error` or `timeout`, with the failure's type.
    pub(super) failure: Option<(&'a str, &'a str)>,
}

pub(super) fn start(environment: u64, request_id: &str) {
    show(environment, &format!("START RequestId: {request_id} Version: $LATEST"));
}

pub(super) fn end(environment: u64, report: &Report<'_>) {
    show(environment, &format!("END RequestId: {}", report.request_id));
    show(environment, &report_line(report));
}

/// Only a failed INIT is reported on the service
/// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>, "Failures during the Init phase").
pub(super) fn failed_init(environment: u64, duration: Duration, phase: &str, status: &str, error_type: &str) {
    let duration = milliseconds(duration);
    let line = format!(
        "INIT_REPORT Init Duration: {duration:.2} ms\tPhase: {phase}\tStatus: {status}\tError Type: {error_type}"
    );
    show(environment, &line);
}

/// Memory is not measured here, so `Max Memory Used` is left out.
fn report_line(report: &Report<'_>) -> String {
    let duration = milliseconds(report.duration);
    let billed = (duration + report.init.map_or(0.0, milliseconds)).ceil();
    let mut line = format!(
        "REPORT RequestId: {}\tDuration: {duration:.2} ms\tBilled Duration: {billed} ms\tMemory Size: {} MB",
        report.request_id, report.memory_mb
    );
    if let Some(init) = report.init {
        line += &format!("\tInit Duration: {:.2} ms", milliseconds(init));
    }
    if let Some((status, error_type)) = report.failure {
        line += &format!("\tStatus: {status}\tError Type: {error_type}");
    }
    line
}

/// To the microsecond.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Nobody left to read standard error is no reason to end the function.
fn show(environment: u64, line: &str) {
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("[{environment} lambda] {line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_lambdas() {
        let init = Some(Duration::from_micros(210_500));
        let duration = Duration::from_micros(12_340);
        let report = Report {
            request_id: "id",
            duration,
            memory_mb: 256,
            init,
            failure: None,
        };
        assert_eq!(
            report_line(&report),
            "REPORT RequestId: id\tDuration: 12.34 ms\tBilled Duration: 223 ms\tMemory Size: 256 MB\t\
             Init Duration: 210.50 ms"
        );
    }
}
