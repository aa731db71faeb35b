//! What a caller asks to have counted: `ts-metric-service`, `ts-metric-dimension-name`, `ts-metric-dimension-value`.

use super::metric::{Dimensions, Metric};
use crate::event::Headers;

/// CloudWatch's limits
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>).
const LONGEST_NAME: usize = 255;
const LONGEST_VALUE: usize = 1024;
/// The dimension that `ts-metric-service` gives.
const SERVICE: &str = "service";

/// Names that a caller's dimension cannot have: the other one's, and those of an embedded metric's own members.
const RESERVED: [&str; 11] = [
    SERVICE,
    "_aws",
    Metric::Success.name(),
    Metric::Failure.name(),
    Metric::FirstByte.name(),
    Metric::Retries.name(),
    Metric::NewConnection.name(),
    Metric::KeptConnection.name(),
    Metric::TailnetReady.name(),
    Metric::Requests.name(),
    Metric::Errors.name(),
];

/// The dimensions that a request asks for; `None` where it does not ask. What cannot be a dimension is left out, and
/// the log says why: a metric is no reason to refuse a request.
pub fn requested_dimensions(headers: &Headers) -> Option<Dimensions> {
    let service = headers.get("ts-metric-service")?;
    let mut dimensions = Vec::with_capacity(2);
    match value(service) {
        Ok(service) => dimensions.push((SERVICE.to_owned(), service)),
        Err(why) => tracing::warn!("the metric has no dimension '{SERVICE}': ts-metric-service {why}"),
    }
    let own = (
        headers.get("ts-metric-dimension-name"),
        headers.get("ts-metric-dimension-value"),
    );
    match own {
        (None, None) => {}
        (Some(given_name), Some(given_value)) => match (name(given_name), value(given_value)) {
            (Ok(name), Ok(value)) => dimensions.push((name, value)),
            (Err(why), _) => left_out("ts-metric-dimension-name", &why),
            (_, Err(why)) => left_out("ts-metric-dimension-value", &why),
        },
        (Some(_), None) => left_out(
            "ts-metric-dimension-value",
            "is missing beside ts-metric-dimension-name",
        ),
        (None, Some(_)) => left_out(
            "ts-metric-dimension-name",
            "is missing beside ts-metric-dimension-value",
        ),
    }
    Some(dimensions.into())
}

fn left_out(header: &str, why: &str) {
    tracing::warn!("the metric goes out without the caller's dimension: {header} {why}");
}

fn name(text: &str) -> Result<String, String> {
    if text.starts_with(':') {
        return Err(format!(
            "is '{}', but must not begin with a colon",
            text.escape_default()
        ));
    }
    if RESERVED.contains(&text) {
        return Err(format!("is '{text}', which the metric itself has a use for"));
    }
    legal(text, LONGEST_NAME)
}

fn value(text: &str) -> Result<String, String> {
    legal(text, LONGEST_VALUE)
}

fn legal(text: &str, longest: usize) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > longest {
        return Err(format!(
            "has {} characters, but must have {longest} at most",
            text.len()
        ));
    }
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(format!(
            "is '{}', but must be visible ASCII characters",
            text.escape_default()
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        requested_dimensions(&Headers(pairs.collect())).map(|dimensions| dimensions.to_vec())
    }

    fn own(name: &str, value: &str) -> Vec<(String, String)> {
        asked(&[
            ("ts-metric-service", "shop"),
            ("ts-metric-dimension-name", name),
            ("ts-metric-dimension-value", value),
        ])
        .unwrap()
    }

    fn shop(more: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = [&[("service", "shop")], more].concat();
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn a_request_asks_by_naming_its_service() {
        assert_eq!(asked(&[]), None);
        assert_eq!(
            asked(&[("ts-metric-dimension-name", "a"), ("ts-metric-dimension-value", "b")]),
            None
        );
        assert_eq!(asked(&[("ts-metric-service", "shop")]), Some(shop(&[])));
        assert_eq!(own("endpoint", "orders"), shop(&[("endpoint", "orders")]));
    }

    #[test]
    fn what_cloudwatch_would_refuse_is_left_out() {
        let (long_name, long_value) = ("n".repeat(256), "v".repeat(1025));
        for (name, value) in [
            ("", "v"),
            (" ", "v"),
            (":n", "v"),
            ("größe", "v"),
            ("n\n", "v"),
            ("service", "v"),
            ("success", "v"),
            ("_aws", "v"),
            (&long_name, "v"),
            ("n", ""),
            ("n", "größe"),
            ("n", &long_value),
        ] {
            assert_eq!(own(name, value), shop(&[]), "{name:?} {value:?}");
        }
        assert_eq!(
            own(&long_name[1..], &long_value[1..]),
            shop(&[(&long_name[1..], &long_value[1..])])
        );
    }

    #[test]
    fn half_a_dimension_is_none_and_a_service_that_is_none_still_asks() {
        for half in ["ts-metric-dimension-name", "ts-metric-dimension-value"] {
            assert_eq!(asked(&[("ts-metric-service", "shop"), (half, "x")]), Some(shop(&[])));
        }
        assert_eq!(asked(&[("ts-metric-service", "größe")]), Some(Vec::new()));
    }
}
