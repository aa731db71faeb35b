//! One warm-up: an invocation of the proxy through Lambda's API.

use std::time::Duration;

use crate::warm_up::{Payload, Warm, WarmUp};
use aws_sdk_lambda::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata},
    primitives::Blob,
};
use lambda_env::aws::Access;
use serde::Deserialize;

use super::config::Config;

/// How long one warm-up may take. A new environment has 10 s for its start, and waits 5 s more for its tailnet.
const LIMIT: Duration = Duration::from_secs(40);

/// Invokes one function.
#[derive(Debug, Clone)]
pub struct Invoker {
    client: Client,
    function: String,
}

/// What a failed invocation says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    error_message: String,
}

impl Invoker {
    /// One for the function that `config` names.
    pub fn new(config: &Config) -> Self {
        let Access {
            region,
            endpoint,
            credentials,
            ..
        } = config.access.clone();
        let mut client = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region.map(Region::new))
            // A warm-up that comes later than the others may meet an environment that one of them has warmed: the next
            // round makes up for one that was lost.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).build())
            .http_client(config.access.wire());
        client.set_endpoint_url(endpoint);
        if let Some(credentials) = credentials {
            client = client.credentials_provider(credentials);
        }
        Self {
            client: Client::from_conf(client.build()),
            function: config.function.clone(),
        }
    }

    /// Invokes it once; the error says what went wrong, and where to mend it.
    pub(crate) async fn invoke(&self, warm_up: WarmUp) -> Result<Warm, String> {
        let payload = serde_json::to_vec(&Payload { warm_up }).map_err(|error| error.to_string())?;
        let request = self
            .client
            .invoke()
            .function_name(&self.function)
            .payload(Blob::new(payload));
        let answer = request
            .send()
            .await
            .map_err(|error| match (error.code(), error.message()) {
                (Some(code), message) => format!("{code}: {}; {}", message.unwrap_or("no more words"), remedy(code)),
                (None, _) => DisplayErrorContext(&error).to_string(),
            })?;
        let text = answer.payload().map(Blob::as_ref).unwrap_or_default();
        match answer.function_error() {
            None => serde_json::from_slice(text).map_err(|error| {
                let text: String = String::from_utf8_lossy(text).chars().take(200).collect();
                format!("the answer is not the proxy's ({error}): {text}")
            }),
            Some(kind) => {
                let words = serde_json::from_slice::<FunctionError>(text).map(|error| error.error_message);
                Err(format!(
                    "{kind}: {}",
                    words.unwrap_or_else(|_| "the function failed without words".to_owned())
                ))
            }
        }
    }
}

/// Where to mend it, by the codes of <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
fn remedy(code: &str) -> &'static str {
    match code {
        "AccessDeniedException" => "let the warmer's role do lambda:InvokeFunction on the proxy's function",
        "TooManyRequestsException" => {
            "the proxy's reserved concurrency, or the account's, is below the number of environments to keep warm"
        }
        "ResourceNotFoundException" => "check TS_WARMER_FUNCTION, alias included",
        _ => "the next round tries again",
    }
}
