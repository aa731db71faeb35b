//! What a request claims of its signature: parsed, and checked as far as that goes without its body.
//!
//! The form is documented at <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//! Signatures in a query (presigned requests) are not taken: nothing here makes any.

use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::request::Parts;
use subtle::ConstantTimeEq;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Settings;
use super::errors::ServiceError;
use super::limits::CLOCK_SKEW;
use crate::config::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
/// The service name in a Function URL's credential scope (doc, as above: "lambda").
pub(crate) const SERVICE: &str = "lambda";
const TIMESTAMP: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// A request of a known caller, for this URL's scope, at an acceptable time. Only its signature is yet to be compared.
#[derive(Debug)]
pub(crate) struct SignedRequest<'a> {
    pub(crate) caller: &'a Credentials,
    pub(crate) time: SystemTime,
    pub(crate) signed_headers: Vec<&'a str>,
    pub(crate) signature: &'a str,
}

impl<'a> SignedRequest<'a> {
    /// Reads the Authorization header. Refused are: none, an incomplete one, an unknown key or token, another scope than
    /// this URL's, and a time too far from now.
    pub(crate) fn read(parts: &'a Parts, settings: &'a Settings) -> Result<Self, ServiceError> {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = header(AUTHORIZATION.as_str()).and_then(|text| text.split_once(' '));
        let Some((ALGORITHM, pairs)) = authorization else {
            // Another scheme (Basic, Bearer) is no signature at all.
            return Err(ServiceError::forbidden());
        };
        let incomplete = ServiceError::incomplete_signature;
        let field = |name: &str| {
            let mut pairs = pairs.split(',').filter_map(|pair| pair.trim().split_once('='));
            pairs.find_map(|(key, value)| (key == name).then_some(value))
        };
        let scope: Vec<&str> = field("Credential").ok_or_else(incomplete)?.splitn(5, '/').collect();
        let [key, date, region, service, TERMINATOR] = scope[..] else {
            return Err(incomplete());
        };
        let signed_headers = field("SignedHeaders").ok_or_else(incomplete)?.split(';').collect();
        let signature = field("Signature").ok_or_else(incomplete)?;
        let timestamp = header("x-amz-date").ok_or_else(incomplete)?;
        let time = PrimitiveDateTime::parse(timestamp, TIMESTAMP).map_err(|_| incomplete())?;
        let caller = known_caller(key, header("x-amz-security-token"), &settings.function.callers)?;
        let own = &settings.function.region;
        if region != own || service != SERVICE || timestamp.get(..8) != Some(date) {
            return Err(ServiceError::invalid_signature(&format!(
                "Credential should be scoped to {own}, {SERVICE} and the day of X-Amz-Date, not to {region}, {service} \
                 and {date}."
            )));
        }
        let signed = Self {
            caller,
            time: time.assume_utc().into(),
            signed_headers,
            signature,
        };
        signed.check((settings.clock)())?;
        Ok(signed)
    }

    fn check(&self, now: SystemTime) -> Result<(), ServiceError> {
        if !self.signed_headers.contains(&"host") {
            let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
            return Err(ServiceError::invalid_signature(message));
        }
        if self.time + CLOCK_SKEW < now || self.time > now + CLOCK_SKEW {
            let message = "Signature expired, or not yet current: X-Amz-Date is more than 5 min. from now.";
            return Err(ServiceError::invalid_signature(message));
        }
        Ok(())
    }
}

fn known_caller<'a>(
    key: &str,
    token: Option<&str>,
    callers: &'a [Credentials],
) -> Result<&'a Credentials, ServiceError> {
    let caller = callers.iter().find(|caller| caller.access_key_id == key);
    let caller = caller.ok_or_else(ServiceError::unrecognized_client)?;
    // Permanent credentials with a token are refused like temporary ones without.
    let genuine = match (&caller.session_token, token) {
        (None, None) => true,
        (Some(expected), Some(sent)) => bool::from(expected.as_bytes().ct_eq(sent.as_bytes())),
        _ => false,
    };
    if genuine {
        Ok(caller)
    } else {
        Err(ServiceError::unrecognized_client())
    }
}
