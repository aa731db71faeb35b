//! The embedded metric format: a line of JSON in the log that CloudWatch makes metrics of, without a call.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use lambda_env::metrics::EmbeddedMetric;
use serde_json::{Value, json};

use super::{aggregator::Aggregate, metric::Unit};

/// How many different values one metric of a line may have.
const VALUES: usize = 100;

/// The lines for `sum` in `namespace`: one, but for sums with very many different values. A profile is in them for a
/// search of the log, and is no dimension.
pub fn lines(namespace: &str, sum: &Aggregate, profile: Option<&str>) -> Vec<String> {
    let pairs: Vec<_> = sum.values.iter().collect();
    let line = |pairs: &[(&u64, &u64)]| {
        let (values, counts): (Vec<u64>, Vec<u64>) = pairs.iter().copied().unzip();
        line(namespace, sum, profile, json!({"Values": values, "Counts": counts}))
    };
    pairs.chunks(VALUES).map(line).collect()
}

fn line(namespace: &str, sum: &Aggregate, profile: Option<&str>, values: Value) -> String {
    let dimensions: Vec<_> = sum
        .dimensions()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let others: Vec<_> = profile.map(|profile| ("profile", profile)).into_iter().collect();
    EmbeddedMetric {
        namespace,
        name: sum.metric().name(),
        unit: match sum.metric().unit() {
            Unit::Count => "Count",
            Unit::Milliseconds => "Milliseconds",
        },
        dimensions: &dimensions,
        others: &others,
        time: sum.time(),
    }
    .line(values)
}
