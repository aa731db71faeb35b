//! Signature Version 4 for Lambda.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign as sign_request},
    sign::v4,
};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::Full;

const SERVICE: &str = "lambda";

/// Signs a request whose `host` header is there: the host, the body, and the `ts-` headers, so that nobody between sends it to
/// another target. The error is for the developer of the function.
pub(crate) fn sign(
    request: Request<Bytes>,
    region: &str,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Request<Full<Bytes>>, String> {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let url = format!("http://{}{}", host(request.headers()), request.uri());
    let signable = SignableRequest::new(
        request.method().as_str(),
        url,
        signed_headers(request.headers()),
        SignableBody::Bytes(request.body()),
    );
    let signed = signable.and_then(|signable| sign_request(signable, &parameters));
    let (instructions, _) = signed.map_err(|error| error.to_string())?.into_parts();
    let mut request = request.map(Full::new);
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

fn host(headers: &HeaderMap) -> &str {
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default()
}

/// A value that is not ASCII cannot be signed: signers and verifiers read it differently.
fn signed_headers(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let signed = headers
        .iter()
        .filter(|(name, _)| **name == header::HOST || name.as_str().starts_with("ts-"));
    signed.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_target_and_the_body_are_signed_and_the_session_token_is_sent() {
        let credentials = Credentials::new("ASIAEXAMPLE", "secret", Some("token".into()), None, "test");
        let request = Request::post("/a?b=1")
            .header("host", "abc.lambda-url.us-east-2.on.aws")
            .header("ts-target-ip", "billing")
            .header("accept", "*/*")
            .body(Bytes::from_static(b"body"))
            .unwrap();
        let signed = sign(request, "us-east-2", &credentials, SystemTime::UNIX_EPOCH).unwrap();
        let authorization = signed.headers()["authorization"].to_str().unwrap();
        assert!(
            authorization.contains("Credential=ASIAEXAMPLE/19700101/us-east-2/lambda/aws4_request"),
            "{authorization}"
        );
        assert!(
            authorization
                .contains("SignedHeaders=host;ts-target-ip;x-amz-content-sha256;x-amz-date;x-amz-security-token"),
            "{authorization}"
        );
        assert_eq!(signed.headers()["x-amz-security-token"], "token");
        assert_eq!(
            signed.headers()["x-amz-content-sha256"],
            "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"
        );
        assert_eq!(signed.uri(), "/a?b=1");
    }
}
