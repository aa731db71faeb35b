//! Callers: they sign as the AWS SDKs do, and speak HTTP/1.1.

use std::net::SocketAddr;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::url::{Caller, PATIENCE, now, user};

pub(crate) type OneRequest = Request<Bytes>;

pub(crate) fn request(method: Method, target: &str, address: SocketAddr, body: impl Into<Bytes>) -> OneRequest {
    Request::builder()
        .method(method)
        .uri(format!("http://{address}{target}"))
        .header("host", address.to_string())
        .body(body.into())
        .unwrap()
}

/// How a request is signed.
pub(crate) struct Signer {
    pub(crate) caller: Caller,
    pub(crate) region: &'static str,
    pub(crate) service: &'static str,
    pub(crate) time: SystemTime,
    /// Whether `x-amz-content-sha256` is sent.
    pub(crate) declare_hash: bool,
}

impl Signer {
    /// As the SDKs do it, now.
    pub(crate) fn of(caller: Caller) -> Self {
        Self {
            caller,
            region: "us-west-2",
            service: "lambda",
            time: now(),
            declare_hash: true,
        }
    }

    pub(crate) fn sign(&self, mut request: OneRequest) -> OneRequest {
        let caller = &self.caller;
        let (id, secret, token) = (&caller.access_key_id, &caller.secret_access_key, &caller.session_token);
        let identity = Credentials::new(id, secret, token.clone(), None, "test").into();
        let mut settings = SigningSettings::default();
        if self.declare_hash {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.time)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let headers = request.headers().iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap()));
        let body = SignableBody::Bytes(request.body());
        let signable =
            SignableRequest::new(request.method().as_str(), request.uri().to_string(), headers, body).unwrap();
        let instructions = sign(signable, &parameters).unwrap().into_parts().0;
        instructions.apply_to_request_http1x(&mut request);
        request
    }
}

pub(crate) fn signed(request: OneRequest) -> OneRequest {
    Signer::of(user()).sign(request)
}

/// Sends a request on a connection of its own.
pub(crate) async fn send(request: OneRequest) -> Received {
    let authority = request.uri().authority().unwrap().to_string();
    let stream = TcpStream::connect(authority).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    // It ends with the answer; an error of it is an error of the answer's body, too.
    tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
    let response = timeout(
        PATIENCE,
        sender.send_request(Request::from_parts(parts, Full::new(body))),
    )
    .await;
    let (parts, body) = response.unwrap().unwrap().into_parts();
    let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    Received {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) async fn get(address: SocketAddr) -> Received {
    send(signed(request(Method::GET, "/", address, ""))).await
}

/// The head of a request as it goes over the wire.
pub(crate) fn head_bytes(request: &OneRequest) -> String {
    let target = request.uri().path_and_query().unwrap();
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    head + "\r\n"
}

/// All bytes that come back for these bytes, until the server closes the connection.
pub(crate) async fn exchange_bytes(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut received = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    received
}
