//! Requests signed with SigV4, as any AWS client signs them.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::{Error, error::failed};

/// Where everything claims to be.
pub const REGION: &str = "eu-central-1";

const NOT_SIGNED: &str = "the request cannot be signed";

/// Signs a request for `service`, whose `host` header must be there already.
pub fn signed(
    request: Request<Bytes>,
    service: &str,
    credentials: &Credentials,
) -> Result<Request<Full<Bytes>>, Error> {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .map_err(failed(NOT_SIGNED))?
        .into();
    let host = request
        .headers()
        .get("host")
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let url = format!("http://{host}{}", request.uri());
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(
        request.method().as_str(),
        url,
        headers,
        SignableBody::Bytes(request.body()),
    );
    let (instructions, _) = sign(signable.map_err(failed(NOT_SIGNED))?, &params)
        .map_err(failed(NOT_SIGNED))?
        .into_parts();
    let mut request = request.map(Full::new);
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}
