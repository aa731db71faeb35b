//! What moto lacks of CloudWatch: the protocol that AWS's SDKs speak to it, Smithy RPC v2 with CBOR
//! (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>).
//!
//! It stands before moto and puts calls into the JSON protocol, which moto speaks, and what it answers back into CBOR. So
//! calls are checked, and numbers kept and told, by moto's implementation, which is not this project's own.

use std::net::SocketAddr;

use bytes::Bytes;
use ciborium::Value as Cbor;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use serde_json::Value as Json;
use tokio::net::TcpListener;

use crate::{
    Error,
    http_call::{call, connect, json},
    http_server::serve_all,
    network::ADDRESS,
};

/// How long moto may take to answer; its first answer imports the service.
const CALL_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
/// The service's name in both protocols.
const SERVICE: &str = "GraniteServiceVersion20100801";

/// Listens for calls, for as long as the runtime lives, and passes them on to moto at `moto` (`host:port`). Returns where.
pub(crate) async fn start(moto: &str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((ADDRESS, 0)).await?;
    let address = listener.local_addr()?;
    let moto = moto.to_owned();
    tokio::spawn(serve_all(listener, move |request| answer(moto.clone(), request)));
    Ok(address)
}

/// Whether a request speaks CBOR.
pub(crate) fn speaks_cbor(headers: &HeaderMap) -> bool {
    headers
        .get("smithy-protocol")
        .is_some_and(|protocol| protocol == "rpc-v2-cbor")
}

/// An error as CloudWatch says it.
pub(crate) fn error(status: u16, code: &str, message: &str) -> http::Result<Response<Bytes>> {
    let body = serde_json::json!({"__type": code, "message": message});
    response(status)
        .header("x-amzn-query-error", format!("{code};Sender"))
        .body(encoded(&body))
}

fn response(status: u16) -> http::response::Builder {
    Response::builder()
        .status(status)
        .header("smithy-protocol", "rpc-v2-cbor")
        .header("content-type", "application/cbor")
}

async fn answer(moto: String, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let prefix = format!("/service/{SERVICE}/operation/");
    let Some(operation) = path.strip_prefix(&prefix).filter(|_| speaks_cbor(&head.headers)) else {
        let message = format!("{path} is not a call of CloudWatch's in RPC v2 CBOR");
        return Ok(error(404, "UnknownOperationException", &message)?);
    };
    let input = match ciborium::from_reader(body.as_ref()).map(untagged) {
        Ok(input) => input.deserialized::<Json>().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let input = match input {
        Ok(input) => input,
        Err(why) => return Ok(error(400, "SerializationException", &why)?),
    };
    let mut onward = Request::post("/")
        .header("host", &moto)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("{SERVICE}.{operation}"));
    // moto reads the service and the region in it.
    for authorization in head.headers.get_all(AUTHORIZATION) {
        onward = onward.header(AUTHORIZATION, authorization);
    }
    let answer = call(
        connect(&moto).await?,
        onward.body(input.to_string().into())?,
        CALL_LIMIT,
    )
    .await?;
    let status = answer.status().as_u16();
    let output: Json = match answer.body().as_ref() {
        [] => Json::Object(serde_json::Map::new()),
        body => json(operation, body)?,
    };
    if answer.status().is_success() {
        return Ok(response(status).body(encoded(&output))?);
    }
    let field = |name: &str| output[name].as_str().unwrap_or_default().to_owned();
    let (code, message) = (field("__type"), field("message") + &field("Message"));
    let code = code.rsplit('#').next().unwrap_or_default();
    Ok(error(status, code, &message)?)
}

/// The value without CBOR's tags, which JSON lacks: a time is a tagged number of seconds (RFC 8949 section 3.4.2).
fn untagged(value: Cbor) -> Cbor {
    match value {
        Cbor::Tag(_, value) => untagged(*value),
        Cbor::Array(values) => Cbor::Array(values.into_iter().map(untagged).collect()),
        Cbor::Map(fields) => Cbor::Map(
            fields
                .into_iter()
                .map(|(name, value)| (name, untagged(value)))
                .collect(),
        ),
        other => other,
    }
}

fn encoded(value: &Json) -> Bytes {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail, and every value of JSON has a form in CBOR.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes.into()
}
