//! The comparison: the request is signed again with the caller's secret, and must come out the same.
//!
//! The canonical form is that of the `aws-sigv4` crate with its defaults: the path normalised (`//`, `.` and `..`
//! removed) and then encoded once more (`%2F` becomes `%252F`), query parameters decoded, encoded anew and sorted. That
//! is what AWS documents for every service but S3
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
//!
//! Tried with other signers: botocore agrees on every path (`//`, dot segments, `%2F`, `!'()*`); curl on those without
//! anything percent-encoded (report: <https://github.com/curl/curl/issues/16927>). JavaScript's, which leave `!'()*` as
//! they are, are refused by the service (report: <https://github.com/aws/aws-sdk-js-v3/issues/5797>), and here.
//! What cannot be proven here, as signers differ and nobody tells what a Function URL does: a `+` in a query (a space, to
//! this crate), bytes that are no UTF-8 (U+FFFD), empty parameters (`&&`), and reserved characters that are not encoded;
//! botocore signs a query as it stands. Nor can a header be signed here whose value is not ASCII.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::errors::ServiceError;
use super::sigv4::{SERVICE, SignedRequest};

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

/// Checks that the signature is the caller's, over this very request.
pub(crate) fn verify(signed: &SignedRequest<'_>, parts: &Parts, body: &[u8], region: &str) -> Result<(), ServiceError> {
    let digest = hex::encode(Sha256::digest(body));
    let mismatch = || ServiceError::invalid_signature(MISMATCH);
    // Lambda takes no unsigned payload, and a declared hash has to be the body's. Doc:
    // https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-lambda.html
    if parts
        .headers
        .get("x-amz-content-sha256")
        .is_some_and(|declared| declared.as_bytes() != digest.as_bytes())
    {
        tracing::info!("refused: x-amz-content-sha256 is not the hash of the body");
        return Err(mismatch());
    }
    let expected = sign_again(signed, parts, digest, region).map_err(|error| {
        tracing::info!(%error, "refused: the request cannot be signed again");
        mismatch()
    })?;
    if bool::from(expected.as_bytes().ct_eq(signed.signature.as_bytes())) {
        Ok(())
    } else {
        Err(mismatch())
    }
}

#[derive(Debug, thiserror::Error)]
enum Unsignable {
    #[error("the signed header {0} was not sent, or is not ASCII")]
    Header(String),
    #[error("the signing parameters are not complete: {0}")]
    Parameters(#[from] v4::signing_params::BuildError),
    #[error(transparent)]
    Signing(#[from] aws_sigv4::http_request::SigningError),
}

fn sign_again(signed: &SignedRequest<'_>, parts: &Parts, digest: String, region: &str) -> Result<String, Unsignable> {
    let mut settings = SigningSettings::default();
    // Exactly the headers that the caller names are signed: the crate's own exclusions must not take any away.
    settings.excluded_headers = None;
    // A session token is one of those.
    let (id, secret) = (&signed.caller.access_key_id, &signed.caller.secret_access_key);
    let identity = Credentials::new(id, secret, None, None, "caller").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(signed.time)
        .settings(settings)
        .build()?
        .into();
    let headers = signed_headers(signed, parts)?;
    // Its host does not matter: the `host` header is signed.
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = SignableRequest::new(
        parts.method.as_str(),
        format!("http://localhost{target}"),
        headers.into_iter(),
        SignableBody::Precomputed(digest),
    )?;
    Ok(sign(request, &parameters)?.into_parts().1)
}

fn signed_headers<'a>(signed: &SignedRequest<'a>, parts: &'a Parts) -> Result<Vec<(&'a str, &'a str)>, Unsignable> {
    let mut headers = Vec::new();
    for &name in &signed.signed_headers {
        let before = headers.len();
        for value in parts.headers.get_all(name) {
            headers.push((name, value.to_str().map_err(|_| Unsignable::Header(name.to_owned()))?));
        }
        if headers.len() == before {
            return Err(Unsignable::Header(name.to_owned()));
        }
    }
    Ok(headers)
}
