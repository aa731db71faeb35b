//! The Invoke API: what it refuses. What it answers, callers with an AWS SDK see in the end-to-end suites.

use http::{HeaderValue, Method, StatusCode};

use super::client::{Signer, request, send};
use super::url::{Url, user};

const PATH: &str = "/2015-03-31/functions/proxy/invocations";

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let api = Url::invoke_api("{}").await;
    let unknown = "ResourceNotFoundException";
    for (method, path, kind, status, error_type) in [
        (Method::POST, "/2015-03-31/functions/prox/invocations", "", 404, unknown),
        (
            Method::POST,
            "/2015-03-31/functions/proxy2/invocations",
            "",
            404,
            unknown,
        ),
        (
            Method::POST,
            "/2015-03-31/functions/proxy:old/invocations",
            "",
            404,
            unknown,
        ),
        (Method::POST, &format!("{PATH}?Qualifier=old"), "", 404, unknown),
        (
            Method::POST,
            "/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:proxy/invocations",
            "",
            404,
            unknown,
        ),
        (Method::GET, PATH, "", 404, "UnknownOperationException"),
        (Method::POST, "/", "", 404, "UnknownOperationException"),
        (Method::POST, PATH, "Sometimes", 400, "InvalidParameterValueException"),
    ] {
        let mut request = request(method, path, api.address, "{}");
        if !kind.is_empty() {
            let kind = HeaderValue::from_static(kind);
            request.headers_mut().insert("x-amz-invocation-type", kind);
        }
        let received = send(Signer::of(user()).sign(request)).await;
        assert_eq!(received.status, status, "{path}");
        assert_eq!(received.headers["x-amzn-errortype"], error_type, "{path}");
    }
    assert_eq!(api.invocations(), 0);
}

#[tokio::test]
async fn nobody_gets_in_without_a_signature_of_their_own() {
    let api = Url::invoke_api("{}").await;
    let unsigned = request(Method::POST, PATH, api.address, "{}");
    assert_eq!(send(unsigned.clone()).await.status, StatusCode::FORBIDDEN);
    let mut caller = user();
    caller.secret_access_key = "another".into();
    let wrong = send(Signer::of(caller).sign(unsigned)).await;
    assert_eq!(wrong.headers["x-amzn-errortype"], "InvalidSignatureException");
    assert_eq!(api.invocations(), 0);
}
