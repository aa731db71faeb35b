//! Golden events: what the function sees of a request.

use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::client::{Signer, request, send};
use super::url::{Caller, Url, role, user};

#[tokio::test]
async fn requests_become_the_documented_events() {
    // Recorded: function-url-domain-only-get-request.json in https://github.com/aws/aws-lambda-go/tree/main/lambdaurl/testdata
    let shows =
        "what has no value is absent; the session token and what else the signer added stay, authorization does not";
    let headers = [
        ("accept", "application/xml"),
        ("content-type", "application/json"),
        AGENT,
    ];
    let token = json!({"headers": {"x-amz-security-token": "IQoJb3JpZ2luX2VjE+/=token"}});
    check(shows, role(), "GET /", &headers, "", token).await;

    // Report: https://github.com/middleapi/standard-server/pull/93
    let shows = "path and query stay as received, byte for byte";
    let target = "DELETE //a%2Fb/../caf%C3%A9/%ff/(x)?q=a+b%20c&&e=&q=%2B&bare";
    let parameters = json!({"queryStringParameters": {"q": "a b c,+", "e": "", "bare": ""}});
    check(shows, user(), target, &[AGENT], "", parameters).await;

    // Doc: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-request-payload
    let shows = "a caller cannot forge what the service adds";
    let headers = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "kept.example"),
        ("x-amzn-trace-id", "Root=1-00000000-000000000000000000000000"),
        AGENT,
    ];
    check(shows, user(), "GET /", &headers, "", json!({})).await;

    // Doc: the same.
    let shows = "repeated parameters and repeated headers are joined by a comma";
    let headers = [
        ("header2", "value1"),
        ("header2", "value2"),
        ("content-type", "text/plain"),
        AGENT,
    ];
    let joined = json!({
        "headers": {"header2": "value1,value2"}, "body": "Hello from client!",
        "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "value"},
    });
    let target = "POST /my/path?parameter1=value1&parameter1=value2&parameter2=value";
    check(shows, user(), target, &headers, "Hello from client!", joined).await;

    // Recorded, beside the first: function-url-request-with-headers-and-cookies-and-text-body.json
    let shows = "cookies are listed and stay a header, too; JSON travels as text; the length stays";
    let headers = [
        ("Header2", "h1,h2"),
        ("cookie", "foo=bar; hello=hello"),
        ("content-type", "application/json"),
        AGENT,
    ];
    let listed = json!({
        "cookies": ["foo=bar", "hello=hello"], "queryStringParameters": {"foo": "bar", "hello": "world"},
        "body": "{\"hello\": \"world\"}",
    });
    let target = "POST /hello?hello=world&foo=bar";
    check(shows, user(), target, &headers, r#"{"hello": "world"}"#, listed).await;

    // https://github.com/localstack/localstack/blob/main/tests/aws/services/lambda_/test_lambda.py
    let shows = "a form is binary (test_lambda_url_form_payload, validated against the service)";
    let headers = [("content-type", "multipart/form-data; boundary=x"), AGENT];
    let encoded = json!({"body": "LS14LS0NCg==", "isBase64Encoded": true});
    check(shows, user(), "POST /test/value", &headers, "--x--\r\n", encoded).await;

    // Reports: https://github.com/ministackorg/ministack/pull/766,
    // https://speakerdeck.com/player/bf528d4f49d948b1b89ba21f3e262629
    let shows = "a body without a content type is binary";
    let encoded = json!({"body": "PGlkay8+", "isBase64Encoded": true});
    check(shows, user(), "PUT /", &[AGENT], "<idk/>", encoded).await;
}

const AGENT: (&str, &str) = ("user-agent", "agent");

/// Sends a request, and compares its event. `own` is what the event has beside what follows from the request literally.
async fn check(shows: &str, caller: Caller, line: &str, headers: &[(&str, &str)], body: &'static str, own: Value) {
    let url = Url::answering("{}").await;
    let (method, target) = line.split_once(' ').unwrap();
    let identity = identity(&caller);
    let mut request = request(
        Method::from_bytes(method.as_bytes()).unwrap(),
        target,
        url.address,
        body,
    );
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    let signed = Signer::of(caller).sign(request);
    let digest = signed.headers()["x-amz-content-sha256"].to_str().unwrap().to_owned();
    let received = send(signed).await;
    assert_eq!(received.status, 200, "{shows}: {}", received.text());

    let request_id = received.headers["x-amzn-requestid"].to_str().unwrap();
    let trace = received.headers["x-amzn-trace-id"].to_str().unwrap();
    let trace_id = trace.strip_suffix(";sampled=0").unwrap().replace("root=", "Root=");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut expected = json!({
        "version": "2.0", "routeKey": "$default", "isBase64Encoded": false, "rawPath": path, "rawQueryString": query,
        "headers": {},
        "requestContext": {
            "accountId": "111122223333", "apiId": "abcdefg", "authorizer": {"iam": identity},
            "domainName": "abcdefg.lambda-url.us-west-2.on.aws", "domainPrefix": "abcdefg",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "agent",
            },
            "requestId": request_id, "routeKey": "$default", "stage": "$default",
            "time": "18/Apr/2023:16:17:17 +0000", "timeEpoch": 1_681_834_637_747_u64,
        },
    });
    for (name, value) in headers {
        expected["headers"][name.to_ascii_lowercase()] = (*value).into();
    }
    if !body.is_empty() {
        expected["headers"]["content-length"] = body.len().to_string().into();
    }
    let of_the_service = json!({"headers": {
        "host": "abcdefg.lambda-url.us-west-2.on.aws", "x-amz-content-sha256": digest, "x-amz-date": "20230418T161717Z",
        "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256", "x-amzn-tls-version": "TLSv1.3",
        "x-amzn-trace-id": trace_id, "x-forwarded-for": "127.0.0.1", "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }});
    for more in [own, of_the_service] {
        merge(&mut expected, more);
    }
    assert_eq!(url.event(), expected, "{shows}");
    assert_eq!(url.seen.lock().unwrap()[0].request_id, request_id);
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn identity(caller: &Caller) -> Value {
    let (id, arn) = match caller.session_token {
        None => ("AIDALOCALCALLER000000", "arn:aws:iam::111122223333:user/local-caller"),
        Some(_) => (
            "AROALOCALCALLER000000:local-session",
            "arn:aws:sts::111122223333:assumed-role/local-caller/local-session",
        ),
    };
    json!({
        "accessKey": caller.access_key_id, "accountId": "111122223333", "callerId": id, "cognitoIdentity": null,
        "principalOrgId": null, "userArn": arn, "userId": id,
    })
}
