//! Lines of the log in the embedded metric format, which CloudWatch makes metrics of without a call, and the name that a
//! proxy's own metrics have.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::{SettingError, Variables};

/// The namespace of what is counted of one proxy, whether or not its callers ask.
pub const PROXY_NAMESPACE: &str = "tailscale-lambda-proxy";
/// The dimension that tells one proxy from another.
pub const PROXY: &str = "proxy";

/// The longest name that the dimension may have.
const MAX_PROXY_NAME: usize = 255;

/// The name that a proxy's own metrics have: the function's, unless told otherwise; none if they are switched off.
pub fn proxy_name(variables: &Variables<impl Fn(&str) -> Option<String>>) -> Result<Option<String>, SettingError> {
    let counts = variables.switch("TS_METRICS_PROXY_COUNTS", true)?;
    let given = variables.text("TS_METRICS_PROXY_NAME");
    if let Some(name) = &given {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        if name.len() > MAX_PROXY_NAME || !name.bytes().all(is_legal) {
            return Err(SettingError::invalid(
                "TS_METRICS_PROXY_NAME",
                name,
                "1 to 255 letters, digits, hyphens, underscores, full stops, slashes and colons",
            ));
        }
    }
    let name = given.or_else(|| variables.text("AWS_LAMBDA_FUNCTION_NAME"));
    Ok(name.filter(|_| counts))
}

/// One metric with its values, as a line.
#[derive(Debug)]
pub struct EmbeddedMetric<'a> {
    /// Where CloudWatch keeps it.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// One of CloudWatch's units.
    pub unit: &'a str,
    /// Names and values of its dimensions.
    pub dimensions: &'a [(&'a str, &'a str)],
    /// What else the line says, for searches of the log: no dimensions.
    pub others: &'a [(&'a str, &'a str)],
    /// When it was measured.
    pub time: SystemTime,
}

impl EmbeddedMetric<'_> {
    /// The line with `value`: a number, or values with their counts.
    pub fn line(&self, value: Value) -> String {
        let time = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let names: Vec<&str> = self.dimensions.iter().map(|(name, _)| *name).collect();
        let mut line = Map::new();
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": time.as_millis(),
                "CloudWatchMetrics": [{
                    "Namespace": self.namespace,
                    "Dimensions": [names],
                    "Metrics": [{"Name": self.name, "Unit": self.unit}],
                }],
            }),
        );
        for (name, text) in self.others.iter().chain(self.dimensions) {
            line.insert((*name).to_owned(), (*text).into());
        }
        line.insert(self.name.to_owned(), value);
        Value::Object(line).to_string()
    }
}
