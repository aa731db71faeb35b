//! The embedded metric format: a line of JSON in the log that CloudWatch makes metrics of, without a call.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

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
    let name = sum.metric().name();
    let unit = match sum.metric().unit() {
        Unit::Count => "Count",
        Unit::Milliseconds => "Milliseconds",
    };
    let time = sum.time().duration_since(UNIX_EPOCH).unwrap_or_default();
    let names: Vec<&str> = sum.dimensions().iter().map(|(name, _)| name.as_str()).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": time.as_millis(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [names],
                "Metrics": [{"Name": name, "Unit": unit}],
            }],
        }),
    );
    if let Some(profile) = profile {
        line.insert("profile".to_owned(), profile.into());
    }
    for (name, value) in sum.dimensions() {
        line.insert(name.clone(), value.as_str().into());
    }
    line.insert(name.to_owned(), values);
    Value::Object(line).to_string()
}
