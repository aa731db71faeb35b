//! STS, as far as GetWebIdentityToken goes, which moto does not know: checks the signature, each parameter and what the
//! construct allows the role, and makes tokens that say what AWS's say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use testbed::{http_call::header, signed::REGION};
use time::{PrimitiveDateTime, macros::format_description};

use crate::server::Server;

/// The role that has the function's credentials.
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/tailscale-proxy";
/// The account's issuer.
pub(crate) const ISSUER: &str = "https://0123abcd.tokens.sts.global.api.aws";
/// For how many seconds the construct allows tokens.
const LIFE: u64 = 300;

/// The error of <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html> that is answered, if any.
type Fault = Option<(StatusCode, &'static str)>;

/// The running stand-in.
pub(crate) struct Sts {
    pub(crate) server: Server,
    fault: Arc<Mutex<Fault>>,
    issued: Arc<Mutex<Vec<String>>>,
}

impl Sts {
    /// Allows the role tokens for `audience`, as the construct does.
    pub(crate) async fn allowing(audience: &'static str) -> std::io::Result<Self> {
        let (fault, issued) = (Arc::<Mutex<Fault>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (faults, tokens) = (Arc::clone(&fault), Arc::clone(&issued));
        let server = Server::start(move |_, request| {
            let answer = match *faults.lock().unwrap() {
                Some((status, code)) => Err((status, code, "as the test says".to_owned())),
                None => token(&request, audience),
            };
            let answer = match answer {
                Ok(token) => {
                    tokens.lock().unwrap().push(token.clone());
                    let text = format!(
                        r#"<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetWebIdentityTokenResult>
    <Expiration>2099-01-01T00:00:00Z</Expiration>
    <WebIdentityToken>{token}</WebIdentityToken>
  </GetWebIdentityTokenResult>
  <ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>
</GetWebIdentityTokenResponse>"#
                    );
                    Response::new(Bytes::from(text))
                }
                Err((status, code, message)) => {
                    let text = format!(
                        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
  <RequestId>c6104cbe</RequestId>
</ErrorResponse>"#
                    );
                    let mut answer = Response::new(Bytes::from(text));
                    *answer.status_mut() = status;
                    answer
                }
            };
            async { answer }
        });
        Ok(Self {
            server: server.await?,
            fault,
            issued,
        })
    }

    /// What `AWS_ENDPOINT_URL_STS` has to say.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Answers all calls from now on with this error, or as they deserve.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// The tokens that it made.
    pub(crate) fn issued(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.issued)
    }
}

type Refused = (StatusCode, &'static str, String);

fn token(request: &Request<Bytes>, audience: &str) -> Result<String, Refused> {
    let invalid = |code, message: &str| Err((StatusCode::BAD_REQUEST, code, message.to_owned()));
    let header = |name| header(request.headers(), name);
    if (request.method().as_str(), request.uri().to_string().as_str()) != ("POST", "/") {
        return invalid("InvalidAction", "the query protocol posts to /");
    }
    if header("content-type") != "application/x-www-form-urlencoded" {
        return invalid("InvalidAction", "the body must be a form");
    }
    check_signature(request)?;
    let form: BTreeMap<String, String> = form_urlencoded::parse(request.body()).into_owned().collect();
    let expected = [
        ("Action", "GetWebIdentityToken"),
        ("Version", "2011-06-15"),
        ("Audience.member.1", audience),
        ("DurationSeconds", "300"),
        ("SigningAlgorithm", "ES384"),
    ];
    let expected: BTreeMap<String, String> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    if form.keys().ne(expected.keys()) {
        return invalid("ValidationError", &format!("the parameters are {form:?}"));
    }
    // The conditions of the role's policy.
    if form != expected {
        let message = format!("not authorized to perform: sts:GetWebIdentityToken with {form:?}");
        return Err((StatusCode::FORBIDDEN, "AccessDenied", message));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let claims = serde_json::json!({
        "iss": ISSUER, "sub": ROLE, "aud": audience, "iat": now, "exp": now + LIFE, "jti": format!("token-{now}"),
        "https://sts.amazonaws.com/": {"aws_account": "123456789012", "principal_id": ROLE,
            "lambda_source_function_arn": format!("arn:aws:lambda:{REGION}:123456789012:function:tailscale-proxy")},
    });
    let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let head = serde_json::json!({"alg": "ES384", "kid": "EC384_0", "typ": "JWT"});
    // Who checks it asks whether it was made here, instead of for a key.
    Ok(format!(
        "{}.{}.{}",
        part(&head),
        part(&claims),
        BASE64_URL_SAFE_NO_PAD.encode("unseen-signature")
    ))
}

/// Signs the request again, by the headers and the time that it names.
fn check_signature(request: &Request<Bytes>) -> Result<(), Refused> {
    let wrong = |message: String| (StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message);
    let header = |name| header(request.headers(), name);
    let given = header("authorization");
    let signed = given
        .split_once("SignedHeaders=")
        .and_then(|(_, rest)| rest.split(',').next())
        .ok_or_else(|| wrong(format!("there are no signed headers in {given}")))?;
    for name in ["content-type", "host", "x-amz-date", "x-amz-security-token"] {
        if !signed.split(';').any(|signed| signed == name) {
            return Err(wrong(format!("{name} is not signed")));
        }
    }
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed_at = PrimitiveDateTime::parse(header("x-amz-date"), format).map_err(|error| wrong(error.to_string()))?;
    let signed_at = SystemTime::from(signed_at.assume_utc());
    let age = SystemTime::now().duration_since(signed_at).unwrap_or_default();
    if age > Duration::from_secs(300) {
        return Err(wrong(format!("the signature is {age:?} old")));
    }
    let credentials = Credentials::new(
        "ASIAEXECUTIONROLE",
        "execution-role-secret",
        Some("execution-role-token".into()),
        None,
        "testbed",
    );
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("sts")
        .time(signed_at)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| wrong(error.to_string()))?
        .into();
    // Those that the signer adds are added again.
    let own = ["x-amz-date", "x-amz-security-token", "host"];
    let headers = signed
        .split(';')
        .filter(|name| !own.contains(name))
        .map(|name| (name, header(name)));
    let url = format!("http://{}/", header("host"));
    let signable = SignableRequest::new("POST", url, headers, SignableBody::Bytes(request.body()));
    let (instructions, _) = sign(signable.map_err(|error| wrong(error.to_string()))?, &params)
        .map_err(|error| wrong(error.to_string()))?
        .into_parts();
    let mut again = Request::post("/").body(()).map_err(|error| wrong(error.to_string()))?;
    instructions.apply_to_request_http1x(&mut again);
    for name in ["authorization", "x-amz-security-token"] {
        let expected = again.headers().get(name).and_then(|value| value.to_str().ok());
        if expected != Some(header(name)) {
            return Err(wrong(format!("{name} must be {expected:?}, not {}", header(name))));
        }
    }
    Ok(())
}
