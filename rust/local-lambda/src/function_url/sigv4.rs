//! What a request claims of its signature: parsed, and checked as far as that goes without its body.
//!
//! The form is documented at <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//! The messages are those that AWS services share; that a Function URL says them too is known by report for the most
//! common two (see [`ServiceError`]), and a guess for the others.

use std::time::{Duration, SystemTime};

use http::request::Parts;
use subtle::ConstantTimeEq;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::errors::ServiceError;
use super::limits::{CLOCK_SKEW, PRESIGNED_LIFE};
use super::{Caller, Settings};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
/// The service name in a Function URL's credential scope (doc, as above: "lambda").
pub(crate) const SERVICE: &str = "lambda";
const TIMESTAMP: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Where the signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the `authorization` header.
    Header,
    /// In the query, with the seconds for which it is valid: a presigned request.
    Query {
        /// `X-Amz-Expires`.
        expires: Duration,
    },
}

/// A claim by a known caller, for this URL's scope, at an acceptable time. Only its signature is yet to be compared.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) place: Place,
    pub(crate) time: SystemTime,
    pub(crate) signed_headers: Vec<String>,
    pub(crate) signature: String,
}

/// The parts of a claim, still as text.
struct Stated {
    credential: String,
    signed_headers: String,
    signature: String,
    timestamp: String,
    token: Option<String>,
    place: Place,
}

impl<'a> Claim<'a> {
    /// Reads what the request claims. Refused are no claim, one in pieces, an unknown key or token, another scope than
    /// this URL's, and a time too far from now.
    pub(crate) fn read(parts: &Parts, settings: &'a Settings) -> Result<Self, ServiceError> {
        let stated = match parts.headers.get(http::header::AUTHORIZATION) {
            Some(value) => Stated::in_header(value.to_str().unwrap_or_default(), parts)?,
            None => Stated::in_query(parts)?,
        };
        let scope: Vec<&str> = stated.credential.splitn(5, '/').collect();
        let [key, date, region, service, terminator] = scope[..] else {
            return Err(ServiceError::incomplete_signature(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term",
            ));
        };
        let caller = known_caller(key, stated.token.as_deref(), &settings.callers)?;
        check_scope(region, service, terminator, settings)?;
        let time = parse_timestamp(&stated.timestamp)?;
        check_date(date, &stated.timestamp)?;
        check_time(time, stated.place, whole_seconds((settings.clock)()))?;
        let signed_headers: Vec<String> = stated.signed_headers.split(';').map(str::to_owned).collect();
        if !signed_headers.iter().any(|name| name == "host") {
            let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
            return Err(ServiceError::invalid_signature(message));
        }
        Ok(Self {
            caller,
            place: stated.place,
            time,
            signed_headers,
            signature: stated.signature,
        })
    }
}

/// What an `authorization` header has to have, and what its sender is told where it lacks that.
const IN_HEADER: [&str; 4] = [
    "Authorization header requires 'Credential' parameter.",
    "Authorization header requires 'Signature' parameter.",
    "Authorization header requires 'SignedHeaders' parameter.",
    "Authorization header requires existence of a 'X-Amz-Date' header.",
];

/// The same for a presigned query.
const IN_QUERY: [&str; 5] = [
    "AWS query-string parameters must include 'X-Amz-Credential'.",
    "AWS query-string parameters must include 'X-Amz-Signature'.",
    "AWS query-string parameters must include 'X-Amz-SignedHeaders'.",
    "AWS query-string parameters must include 'X-Amz-Date'.",
    "AWS query-string parameters must include 'X-Amz-Expires', a number of seconds.",
];

impl Stated {
    fn in_header(authorization: &str, parts: &Parts) -> Result<Self, ServiceError> {
        let Some((ALGORITHM, rest)) = authorization.split_once(' ') else {
            // Another scheme (Basic, Bearer) is no signature at all.
            return Err(ServiceError::forbidden());
        };
        let pairs: Vec<(&str, &str)> = rest.split(',').filter_map(|pair| pair.trim().split_once('=')).collect();
        let find = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        match [
            find("Credential"),
            find("Signature"),
            find("SignedHeaders"),
            header("x-amz-date"),
        ] {
            [Some(credential), Some(signature), Some(signed_headers), Some(timestamp)] => {
                let token = header("x-amz-security-token");
                Ok(Self {
                    credential,
                    signed_headers,
                    signature,
                    timestamp,
                    token,
                    place: Place::Header,
                })
            }
            found => Err(missing(&found, &IN_HEADER)),
        }
    }

    fn in_query(parts: &Parts) -> Result<Self, ServiceError> {
        let query = parts.uri.query().unwrap_or_default();
        let find = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        if find("X-Amz-Algorithm").as_deref() != Some(ALGORITHM) {
            return Err(ServiceError::forbidden());
        }
        let seconds = find("X-Amz-Expires").filter(|text| text.parse::<u64>().is_ok());
        match [
            find("X-Amz-Credential"),
            find("X-Amz-Signature"),
            find("X-Amz-SignedHeaders"),
            find("X-Amz-Date"),
            seconds,
        ] {
            [
                Some(credential),
                Some(signature),
                Some(signed_headers),
                Some(timestamp),
                Some(seconds),
            ] => {
                let token = find("X-Amz-Security-Token");
                let expires = Duration::from_secs(seconds.parse().unwrap_or_default());
                Ok(Self {
                    credential,
                    signed_headers,
                    signature,
                    timestamp,
                    token,
                    place: Place::Query { expires },
                })
            }
            found => Err(missing(&found, &IN_QUERY)),
        }
    }
}

fn missing(found: &[Option<String>], required: &[&str]) -> ServiceError {
    let missing = found.iter().zip(required).filter(|(found, _)| found.is_none());
    let messages: Vec<&str> = missing.map(|(_, message)| *message).collect();
    ServiceError::incomplete_signature(&messages.join(" "))
}

fn known_caller<'a>(key: &str, token: Option<&str>, callers: &'a [Caller]) -> Result<&'a Caller, ServiceError> {
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

fn check_scope(region: &str, service: &str, terminator: &str, settings: &Settings) -> Result<(), ServiceError> {
    let message = if region != settings.region {
        format!("Credential should be scoped to a valid region, not '{region}'. ")
    } else if service != SERVICE {
        format!("Credential should be scoped to correct service: '{SERVICE}'. ")
    } else if terminator != TERMINATOR {
        format!("Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'. ")
    } else {
        return Ok(());
    };
    Err(ServiceError::invalid_signature(&message))
}

fn parse_timestamp(text: &str) -> Result<SystemTime, ServiceError> {
    let parsed = PrimitiveDateTime::parse(text, TIMESTAMP).map_err(|_| {
        ServiceError::incomplete_signature(&format!("Date must be in ISO-8601 'basic format'. Got '{text}'."))
    })?;
    Ok(parsed.assume_utc().into())
}

fn check_date(scope_date: &str, timestamp: &str) -> Result<(), ServiceError> {
    // A timestamp that was parsed has its date in its first eight characters.
    let date = timestamp.get(..8).unwrap_or_default();
    if scope_date == date {
        return Ok(());
    }
    Err(ServiceError::invalid_signature(&format!(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '{scope_date}' != '{date}', from '{timestamp}'."
    )))
}

fn check_time(signed: SystemTime, place: Place, now: SystemTime) -> Result<(), ServiceError> {
    if signed > now + CLOCK_SKEW {
        return Err(ServiceError::invalid_signature(&format!(
            "Signature not yet current: {} is still later than {} ({} + 5 min.)",
            timestamp(signed),
            timestamp(now + CLOCK_SKEW),
            timestamp(now)
        )));
    }
    match place {
        Place::Header if signed + CLOCK_SKEW < now => Err(ServiceError::invalid_signature(&format!(
            "Signature expired: {} is now earlier than {} ({} - 5 min.)",
            timestamp(signed),
            timestamp(now - CLOCK_SKEW),
            timestamp(now)
        ))),
        Place::Query { expires } if expires > PRESIGNED_LIFE => {
            let message = format!("X-Amz-Expires must be less than {} seconds", PRESIGNED_LIFE.as_secs());
            Err(ServiceError::invalid_signature(&message))
        }
        Place::Query { expires } if signed + expires < now => Err(ServiceError::invalid_signature(&format!(
            "Signature expired: {} is now earlier than {}",
            timestamp(signed + expires),
            timestamp(now)
        ))),
        Place::Header | Place::Query { .. } => Ok(()),
    }
}

/// Signatures have no fractions of a second; with some in `now` the fifth minute would end early.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

fn timestamp(time: SystemTime) -> String {
    OffsetDateTime::from(time)
        .format(TIMESTAMP)
        .unwrap_or_else(|error| format!("(no date: {error})"))
}
