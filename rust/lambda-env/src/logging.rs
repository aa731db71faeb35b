//! Log lines as Lambda's settings ask for them: text or JSON, at the level of the function's logging configuration.
//!
//! Lambda sets `AWS_LAMBDA_LOG_FORMAT` (`Text`, the default, or `JSON`) and `AWS_LAMBDA_LOG_LEVEL`
//! (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>). The runtime's own set-up for this
//! carries a regular-expression engine for its filters; a level is all that is needed here, and start-up counts.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// The targets whose details are ours to show: this product's crates and programs. tailscaled's lines are among the
/// extension's. Those of the libraries beneath say nothing to an owner, and could say too much.
const OURS: [&str; 9] = [
    "proxy",
    "bootstrap",
    "extension",
    "tailscale_extension",
    "tailnet",
    "lambda_env",
    "caller",
    "tailscale_caller",
    "tailscale_lambda_caller",
];

/// Sends log lines to standard output, where Lambda collects them.
///
/// `debug` shows all of our own lines, whatever the level in the environment; it is the construct's `debug` property.
pub(crate) fn init(debug: bool, get: impl Fn(&str) -> Option<String>) {
    let targets = targets(level(debug, get("AWS_LAMBDA_LOG_LEVEL").as_deref()));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
    let layer = if get("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        // Lambda stamps text lines with their time itself.
        lines.without_time().boxed()
    };
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
}

/// Sends log lines to standard error, as a program at a terminal does: warnings, or, with `debug`, all of our own lines.
pub fn to_stderr(debug: bool) {
    let level = if debug { LevelFilter::DEBUG } else { LevelFilter::WARN };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(lines.with_filter(targets(level)))
        .init();
}

/// Our own lines down to `level`; those of other crates down to `INFO` at most.
fn targets(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_targets(OURS.map(|target| (target, level)))
}

/// The level that a `debug` switch and Lambda's own level name together ask for; `INFO` where the name is not known.
fn level(debug: bool, name: Option<&str>) -> LevelFilter {
    if debug {
        return LevelFilter::DEBUG;
    }
    match name.map(str::to_ascii_uppercase).as_deref() {
        Some("TRACE") => LevelFilter::TRACE,
        Some("DEBUG") => LevelFilter::DEBUG,
        Some("WARN") => LevelFilter::WARN,
        Some("ERROR" | "FATAL") => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn details_are_shown_of_our_own_crates_alone() {
        let shown = targets(LevelFilter::DEBUG);
        assert!(shown.would_enable("extension::tailscaled", &Level::DEBUG));
        assert!(shown.would_enable("proxy", &Level::DEBUG));
        assert!(!shown.would_enable("hyper_util::client::legacy::pool", &Level::DEBUG));
        assert!(!shown.would_enable("aws_smithy_runtime", &Level::DEBUG));
        assert!(shown.would_enable("aws_smithy_runtime", &Level::INFO));
        assert!(!targets(LevelFilter::WARN).would_enable("extension", &Level::INFO));
    }

    #[test]
    fn lambdas_level_is_honoured_and_debug_overrides_it() {
        assert_eq!(level(false, None), LevelFilter::INFO);
        assert_eq!(level(false, Some("warn")), LevelFilter::WARN);
        assert_eq!(level(false, Some("FATAL")), LevelFilter::ERROR);
        assert_eq!(level(true, Some("ERROR")), LevelFilter::DEBUG);
    }
}
