//! A signed call of an AWS service, for services of which one call is needed: an SDK for each of them would be a good deal
//! of code, and takes longer to build than all that is ours.

use std::time::{Duration, SystemTime};

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use thiserror::Error;
use tokio::time::timeout;

use super::{Access, Wire, regional_endpoint};

/// What is asked, by POST.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The service, as its endpoint and its signatures name it.
    pub service: &'static str,
    /// The resource, percent-encoded and without the slash before it: nothing where the body says all.
    pub path: &'a str,
    /// The body's type.
    pub content_type: &'static str,
    /// The operation, where a header names it (`x-amz-target`).
    pub target: Option<&'static str>,
    /// The body.
    pub body: &'a str,
}

/// Why the service did not do it.
#[derive(Debug, Error)]
pub enum CallError {
    /// It refused, with the error as the service's protocol writes it.
    #[error("status {}", .0.status())]
    Refused(Box<Response<Bytes>>),
    /// The call cannot be made, or there was no response.
    #[error("{0}")]
    NoResponse(String),
}

impl Call<'_> {
    /// Makes the call once. An error if its response is not there within `limit`, or its status is none of 200 to 299.
    pub async fn attempt(&self, access: &Access, wire: &Wire, limit: Duration) -> Result<Response<Bytes>, CallError> {
        let no_response = |error: &dyn std::error::Error| {
            let cause = error.source().map(ToString::to_string);
            CallError::NoResponse(cause.unwrap_or_else(|| error.to_string()))
        };
        let request = self.signed(access)?;
        let request = HttpRequest::try_from(request).map_err(|error| no_response(&error))?;
        let exchange = async {
            let response = wire.call(request).await.map_err(|error| no_response(&error))?;
            let response = response.try_into_http1x().map_err(|error| no_response(&error))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await;
            let body = body.map_err(|error| CallError::NoResponse(error.to_string()))?;
            let response = Response::from_parts(head, body.to_bytes());
            if response.status().is_success() {
                Ok(response)
            } else {
                Err(CallError::Refused(Box::new(response)))
            }
        };
        let late = || CallError::NoResponse(format!("it did not answer within {} ms", limit.as_millis()));
        timeout(limit, exchange).await.map_err(|_| late())?
    }

    fn signed(&self, access: &Access) -> Result<Request<SdkBody>, CallError> {
        let missing = |what: &str| CallError::NoResponse(format!("{what} is not set, which Lambda sets"));
        let region = access.region.as_deref().ok_or_else(|| missing("AWS_REGION"))?;
        let credentials = access.credentials.clone();
        let identity = credentials.ok_or_else(|| missing("AWS_ACCESS_KEY_ID"))?.into();
        let failed = |error: &dyn std::error::Error| CallError::NoResponse(format!("it cannot be signed: {error}"));
        let endpoint = match &access.endpoint {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => regional_endpoint(self.service, region),
        };
        let url = endpoint + self.path;
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
        path: "",
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
    fn a_resource_follows_the_endpoint() {
        let endpoint = Some("http://127.0.0.1:5000/".into());
        let access = Access { endpoint, ..access() };
        let call = Call {
            path: "a/b%3Ac",
            ..CALL
        };
        assert_eq!(call.signed(&access).unwrap().uri(), "http://127.0.0.1:5000/a/b%3Ac");
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
