//! The function's role as an OIDC token: AWS's outbound identity federation.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>

use std::time::Duration;

use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use lambda_env::aws::{Access, Call, CallError};
use serde::Deserialize;
use thiserror::Error;

use crate::auth::secret::Secret;

/// For how long a token is asked for. The construct allows the role no more.
const LIFE: Duration = Duration::from_secs(300);
/// The signature of the token. The construct allows the role no other.
const ALGORITHM: &str = "ES384";

/// Why there is no token.
#[derive(Debug, Error)]
#[error("STS did not give the function's role a token: {reason}; fix: {fix}")]
pub struct StsError {
    reason: String,
    fix: &'static str,
}

/// A token, and whom it speaks of. Neither of the latter is secret.
#[derive(Debug)]
pub struct WebIdentityToken {
    /// The token itself.
    pub token: Secret,
    /// Who made it: the account's own issuer.
    pub issuer: String,
    /// Who has it: the role's ARN.
    pub subject: String,
}

/// A token of the function's role for `audience`.
pub async fn web_identity_token(access: &Access, audience: &str) -> Result<WebIdentityToken, StsError> {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "GetWebIdentityToken")
        .append_pair("Version", "2011-06-15")
        .append_pair("Audience.member.1", audience)
        .append_pair("DurationSeconds", &LIFE.as_secs().to_string())
        .append_pair("SigningAlgorithm", ALGORITHM)
        .finish();
    let call = Call {
        service: "sts",
        path: "",
        content_type: "application/x-www-form-urlencoded",
        target: None,
        body: &body,
    };
    let is_busy = |body: &[u8]| is_busy(code(body).as_deref());
    match call.send(access, is_busy).await {
        Ok(body) => read(&body),
        Err(CallError::Refused(response)) => Err(refused(response.status().as_u16(), response.body())),
        Err(error @ CallError::NoResponse(_)) => Err(StsError {
            reason: error.to_string(),
            fix: fix(None),
        }),
    }
}

fn read(body: &[u8]) -> Result<WebIdentityToken, StsError> {
    // The parser's own words could show a piece of the token.
    let unreadable = || StsError {
        reason: "its answer is not as documented".to_owned(),
        fix: fix(Some("")),
    };
    let token = text_at(body, &["GetWebIdentityTokenResult", "WebIdentityToken"]).ok_or_else(unreadable)?;
    let claims = claims(&token);
    Ok(WebIdentityToken {
        token: Secret::new(&token),
        issuer: claims.iss,
        subject: claims.sub,
    })
}

#[derive(Deserialize, Default)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
}

/// What the token says, for messages alone: who takes it verifies it. Nothing, if it cannot be read.
fn claims(token: &str) -> Claims {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&payload).unwrap_or_default()
}

fn refused(status: u16, body: &[u8]) -> StsError {
    let code = code(body);
    let message = text_at(body, &["Error", "Message"]);
    let reason = match (&code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.clone(),
        (None, _) => format!("status {status}"),
    };
    StsError {
        reason,
        fix: fix(Some(code.as_deref().unwrap_or_default())),
    }
}

fn is_busy(code: Option<&str>) -> bool {
    matches!(
        code,
        Some("Throttling" | "ThrottlingException" | "InternalFailure" | "ServiceUnavailable")
    )
}

/// What fixes it, by the error's code. `None`: there was no response.
fn fix(code: Option<&str>) -> &'static str {
    match code {
        code if is_busy(code) => "none: STS is busy, and is asked again",
        Some("OutboundWebIdentityFederationDisabled" | "OutboundWebIdentityFederationDisabledException") => {
            "run 'aws iam enable-outbound-web-identity-federation' once in the function's account"
        }
        Some("AccessDenied" | "AccessDeniedException") => {
            "let the function's role do sts:GetWebIdentityToken on * for this audience, 300 s and ES384"
        }
        Some("SessionDurationEscalationException") => {
            "none: the credentials of this environment are about to end, and a new environment logs in"
        }
        Some(_) => "check the function's role, and that STS is active in its region",
        None => "check the function's way to STS (subnets, NAT or a VPC endpoint, security groups)",
    }
}

fn code(body: &[u8]) -> Option<String> {
    text_at(body, &["Error", "Code"])
}

/// The text of the element that `path` leads to from the document's own.
fn text_at(body: &[u8], path: &[&str]) -> Option<String> {
    let mut document = Document::new(std::str::from_utf8(body).ok()?);
    let mut root = document.root_element().ok()?;
    descend(&mut root, path).ok()?
}

fn descend(element: &mut ScopedDecoder<'_, '_>, path: &[&str]) -> Result<Option<String>, XmlDecodeError> {
    let Some((name, rest)) = path.split_first() else {
        return Ok(Some(try_data(element)?.into_owned()));
    };
    while let Some(mut child) = element.next_tag() {
        if child.start_el().matches(name) {
            return descend(&mut child, rest);
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An error of each kind.
    pub(crate) fn errors() -> Vec<StsError> {
        [
            Some("OutboundWebIdentityFederationDisabledException"),
            Some("AccessDenied"),
            Some("SessionDurationEscalationException"),
            Some("Throttling"),
            Some("…"),
            None,
        ]
        .map(|code| StsError {
            reason: "…".into(),
            fix: fix(code),
        })
        .into()
    }

    fn refusal(code: &str) -> String {
        format!(
            r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>
            <Message>not &lt;authorized&gt;</Message></Error><RequestId>1</RequestId></ErrorResponse>"#
        )
    }

    #[test]
    fn a_token_is_read_with_its_claims() {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":"https://i","sub":"arn:aws:iam::1:role/r","exp":1}"#);
        let body = format!(
            r#"<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult>
            <Expiration>2026-01-01T00:00:00Z</Expiration><WebIdentityToken>e30.{payload}.c2ln</WebIdentityToken>
            </GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"#
        );
        let token = read(body.as_bytes()).unwrap();
        assert_eq!(token.token.expose(), format!("e30.{payload}.c2ln"));
        assert_eq!(
            (&*token.issuer, &*token.subject),
            ("https://i", "arn:aws:iam::1:role/r")
        );
        assert!(!format!("{token:?}").contains("c2ln"));
    }

    #[test]
    fn what_is_no_token_is_not_shown() {
        for body in ["", "<a/>", "{\"WebIdentityToken\":\"e30.e30.c2ln\"}"] {
            let error = read(body.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("not as documented") && !error.contains("c2ln"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_refusal_is_told_with_its_code_and_message() {
        let error = refused(403, refusal("AccessDenied").as_bytes()).to_string();
        assert!(
            error.contains(": AccessDenied: not <authorized>; fix: let the function's role"),
            "{error}"
        );
        let error = refused(502, b"Bad gateway").to_string();
        assert!(error.contains("status 502"), "{error}");
    }
}
