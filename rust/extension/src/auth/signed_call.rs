//! A signed call of an AWS service, for services of which one call is needed: an SDK for each of them would be a good deal
//! of code.

use std::time::{Duration, SystemTime};

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use lambda_env::aws::{Access, Wire, regional_endpoint};
use thiserror::Error;
use tokio::time::{sleep, timeout};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(2500);
/// How many attempts there are, and the pauses between them: with those of the supervisor's own back-off in mind, which
/// goes on after them.
const PAUSES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(600)];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The service, as its endpoint and its signatures name it.
    pub(crate) service: &'static str,
    /// The body's type.
    pub(crate) content_type: &'static str,
    /// The operation, where a header names it (`x-amz-target`).
    pub(crate) target: Option<&'static str>,
    /// The body.
    pub(crate) body: &'a str,
}

/// Why the service did not do it.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// It refused.
    #[error("status {status}")]
    Refused {
        /// The status.
        status: u16,
        /// The error as the service's protocol writes it.
        body: Bytes,
    },
    /// The call cannot be made, or there was no response.
    #[error("{0}")]
    NoResponse(String),
}

impl Call<'_> {
    /// The body of the response. Where `is_busy` recognizes the refusal of a service that is, the call is repeated.
    pub(crate) async fn send(&self, access: &Access, is_busy: impl Fn(u16, &[u8]) -> bool) -> Result<Bytes, CallError> {
        let wire = access.wire();
        for pause in PAUSES {
            match self.attempt(access, &wire).await {
                Err(CallError::Refused { status, body }) if is_busy(status, &body) => {
                    tracing::debug!("{} is busy (status {status}): it is asked again", self.service);
                }
                Err(CallError::NoResponse(reason)) => {
                    tracing::debug!("{} did not answer, and is asked again: {reason}", self.service);
                }
                done => return done,
            }
            sleep(pause).await;
        }
        self.attempt(access, &wire).await
    }

    async fn attempt(&self, access: &Access, wire: &Wire) -> Result<Bytes, CallError> {
        let no_response = |error: &dyn std::error::Error| {
            let cause = error.source().map(ToString::to_string);
            CallError::NoResponse(cause.unwrap_or_else(|| error.to_string()))
        };
        let request = self.signed(access)?;
        let request = HttpRequest::try_from(request).map_err(|error| no_response(&error))?;
        let exchange = async {
            let response = wire.call(request).await.map_err(|error| no_response(&error))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await;
            let body = body
                .map_err(|error| CallError::NoResponse(error.to_string()))?
                .to_bytes();
            match status {
                200..300 => Ok(body),
                _ => Err(CallError::Refused { status, body }),
            }
        };
        let late = || CallError::NoResponse(format!("it did not answer within {} ms", ATTEMPT.as_millis()));
        timeout(ATTEMPT, exchange).await.map_err(|_| late())?
    }

    fn signed(&self, access: &Access) -> Result<Request<SdkBody>, CallError> {
        let missing = |what: &str| CallError::NoResponse(format!("{what} is not set, which Lambda sets"));
        let region = access.region.as_deref().ok_or_else(|| missing("AWS_REGION"))?;
        let credentials = access.credentials.clone();
        let identity = credentials.ok_or_else(|| missing("AWS_ACCESS_KEY_ID"))?.into();
        let failed = |error: &dyn std::error::Error| CallError::NoResponse(format!("it cannot be signed: {error}"));
        let url = match &access.endpoint {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => regional_endpoint(self.service, region),
        };
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let mut request = Request::post(&url).header(CONTENT_TYPE, self.content_type);
        if let Some(target) = self.target {
            request = request.header("x-amz-target", target);
        }
        let mut request = request.body(SdkBody::from(self.body)).map_err(|error| failed(&error))?;
        let headers = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new("POST", &url, headers, SignableBody::Bytes(self.body.as_bytes()));
        let (instructions, _) = sign(signable.map_err(|error| failed(&error))?, &params)
            .map_err(|error| failed(&error))?
            .into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_credential_types::Credentials;

    use super::*;

    const CALL: Call<'_> = Call {
        service: "sts",
        content_type: "application/x-www-form-urlencoded",
        target: None,
        body: "Action=A",
    };

    fn access() -> Access {
        Access {
            region: Some("eu-west-1".into()),
            endpoint: None,
            credentials: Some(Credentials::new("AKID", "s3cret", Some("t0ken".into()), None, "test")),
            ..Access::default()
        }
    }

    #[test]
    fn a_call_is_signed_for_the_service_and_the_region_with_the_session_token() {
        let request = CALL.signed(&access()).unwrap();
        assert_eq!(request.uri(), "https://sts.eu-west-1.amazonaws.com/");
        let authorization = request.headers()["authorization"].to_str().unwrap();
        assert!(authorization.contains("/eu-west-1/sts/aws4_request"), "{authorization}");
        assert!(authorization.contains("content-type;host;"), "{authorization}");
        assert_eq!(request.headers()["x-amz-security-token"], "t0ken");
    }

    #[test]
    fn what_lambda_did_not_set_is_named() {
        let nowhere = Access {
            region: None,
            ..access()
        };
        let nobody = Access {
            credentials: None,
            ..access()
        };
        for (access, name) in [(nowhere, "AWS_REGION"), (nobody, "AWS_ACCESS_KEY_ID")] {
            let error = CALL.signed(&access).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
