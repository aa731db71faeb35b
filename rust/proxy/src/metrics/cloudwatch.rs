//! PutMetricData, and what its outcome means for what was to be counted.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_cloudwatch::{
    Client, Config,
    config::{
        BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::put_metric_data::PutMetricDataError,
    types::{Dimension, MetricDatum, StandardUnit},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use lambda_env::aws::{Access, NotSent};

use super::{NAMESPACE, aggregator::Aggregate, metric::Unit};

/// How many different values one datum may have
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>).
const VALUES: usize = 150;

/// How a batch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is counted.
    Accepted,
    /// It is not counted, and may be sent again later.
    Refused(String),
    /// It is not counted, and would be if it were smaller.
    TooLarge(String),
    /// It is not counted, and never will be as it is.
    Unusable(String),
    /// It may be counted or not.
    Unknown(String),
}

/// A client.
#[derive(Debug, Clone)]
pub struct CloudWatch {
    client: Client,
    sent: Arc<AtomicBool>,
}

impl CloudWatch {
    /// A client with this access.
    pub fn new(access: &Access) -> Self {
        let sent = Arc::default();
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(access.region.clone().map(Region::new))
            .http_client(access.wire().reporting(Arc::clone(&sent)))
            .identity_cache(IdentityCache::no_cache())
            // Whether a batch may go again is decided here, by what became of it.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .disable_request_compression(true);
        config.set_endpoint_url(access.endpoint.clone());
        if let Some(credentials) = &access.credentials {
            config = config.credentials_provider(credentials.clone());
        }
        Self {
            client: Client::from_conf(config.build()),
            sent,
        }
    }

    /// Whether the last batch may have arrived; `false` while there is no connection for it.
    pub fn has_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// A batch is about to be sent.
    pub fn begin(&self) {
        self.sent.store(false, Ordering::Relaxed);
    }

    /// Sends a batch, once.
    pub async fn put(&self, sums: &[Aggregate]) -> PutOutcome {
        let put = self.client.put_metric_data().namespace(NAMESPACE);
        let sent = put.set_metric_data(Some(sums.iter().flat_map(data).collect())).send();
        sent.await.map_or_else(verdict, |_| PutOutcome::Accepted)
    }
}

fn data(sum: &Aggregate) -> Vec<MetricDatum> {
    let dimension = |(name, value): &(String, String)| Dimension::builder().name(name).value(value).build();
    let unit = match sum.metric().unit() {
        Unit::Count => StandardUnit::Count,
        Unit::Milliseconds => StandardUnit::Milliseconds,
    };
    let datum = MetricDatum::builder()
        .metric_name(sum.metric().name())
        .set_dimensions(Some(sum.dimensions().iter().map(dimension).collect()))
        .timestamp(sum.time().into())
        .unit(unit);
    let pairs: Vec<(f64, f64)> = sum
        .values
        .iter()
        .map(|(value, count)| (*value as f64, *count as f64))
        .collect();
    let datum_of = |pairs: &[(f64, f64)]| {
        let (values, counts) = pairs.iter().copied().unzip();
        datum.clone().set_values(Some(values)).set_counts(Some(counts)).build()
    };
    pairs.chunks(VALUES).map(datum_of).collect()
}

fn verdict(error: SdkError<PutMetricDataError, HttpResponse>) -> PutOutcome {
    let words = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => DisplayErrorContext(&error).to_string(),
    };
    let status = error.raw_response().map(|response| response.status().as_u16());
    match &error {
        // Without credentials, a region, or a host that is one.
        SdkError::ConstructionFailure(_) => PutOutcome::Refused(words),
        SdkError::DispatchFailure(failure) => {
            let source = failure.as_connector_error().and_then(std::error::Error::source);
            match source.and_then(|source| source.downcast_ref::<NotSent>()) {
                Some(not_sent) => PutOutcome::Refused(not_sent.to_string()),
                None if failure.is_io() => PutOutcome::Unknown(words),
                None => PutOutcome::Refused(words),
            }
        }
        // CloudWatch itself, or what stands before it, says that it did not take the batch: whose fault it is decides whether
        // another try helps.
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => match status {
            Some(..400) | None => PutOutcome::Unknown(words),
            Some(413) => PutOutcome::TooLarge(words),
            Some(400) if error.code() == Some("RequestEntityTooLarge") => PutOutcome::TooLarge(words),
            Some(400) if is_about_the_batch(error.code()) => PutOutcome::Unusable(words),
            _ => PutOutcome::Refused(words),
        },
        _ => PutOutcome::Unknown(words),
    }
}

/// Whether the batch itself is what is wrong, and not the moment (throttling) or the role (no permission, expired).
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html#API_PutMetricData_Errors>
fn is_about_the_batch(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        code.starts_with("InvalidParameter") || matches!(code, "MissingParameter" | "ValidationError" | "InvalidFormat")
    })
}
