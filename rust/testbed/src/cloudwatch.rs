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
    http_call::{CallError, call, connect},
    http_server::serve,
    network::ADDRESS,
};

/// How long moto may take to answer; its first answer imports the service.
const CALL_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);
/// The service's name in both protocols.
const SERVICE: &str = "GraniteServiceVersion20100801";
/// CBOR's tag of a time in seconds since the Unix epoch (RFC 8949 section 3.4.2), which is a number in JSON.
const EPOCH_TIME: u64 = 1;

/// Listens for calls, for as long as the runtime lives, and passes them on to moto at `moto` (`host:port`). Returns where.
pub(crate) async fn start(moto: &str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((ADDRESS, 0)).await?;
    let address = listener.local_addr()?;
    let moto = moto.to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let moto = moto.clone();
            tokio::spawn(async move { serve(stream, |request| answer(&moto, request)).await });
        }
    });
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
    let text = |text: &str| Cbor::Text(text.to_owned());
    let body = Cbor::Map(vec![(text("__type"), text(code)), (text("message"), text(message))]);
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

async fn answer(moto: &str, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let prefix = format!("/service/{SERVICE}/operation/");
    let Some(operation) = path.strip_prefix(&prefix).filter(|_| speaks_cbor(&head.headers)) else {
        let message = format!("{path} is not a call of CloudWatch's in RPC v2 CBOR");
        return Ok(error(404, "UnknownOperationException", &message)?);
    };
    let input = ciborium::from_reader(body.as_ref())
        .map_err(|error| error.to_string())
        .and_then(json);
    let input = match input {
        Ok(input) => input,
        Err(why) => return Ok(error(400, "SerializationException", &why)?),
    };
    let mut onward = Request::post("/")
        .header("host", moto)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("{SERVICE}.{operation}"));
    // moto reads the service and the region in it.
    for authorization in head.headers.get_all(AUTHORIZATION) {
        onward = onward.header(AUTHORIZATION, authorization);
    }
    let answer = call(connect(moto).await?, onward.body(input.to_string().into())?, CALL_LIMIT).await?;
    let status = answer.status().as_u16();
    let output: Json = match answer.body().as_ref() {
        [] => Json::Object(serde_json::Map::new()),
        body => crate::http_call::json(operation, body)?,
    };
    if answer.status().is_success() {
        return Ok(response(status).body(encoded(&cbor(output)))?);
    }
    let field = |name: &str| output[name].as_str().unwrap_or_default().to_owned();
    let (code, message) = (field("__type"), field("message") + &field("Message"));
    let code = code.rsplit('#').next().unwrap_or_default();
    Ok(error(status, code, &message)?)
}

/// CBOR's value in JSON; an error for what JSON has no word for.
fn json(value: Cbor) -> Result<Json, String> {
    Ok(match value {
        Cbor::Null => Json::Null,
        Cbor::Bool(value) => value.into(),
        Cbor::Text(text) => text.into(),
        Cbor::Float(number) => number.into(),
        Cbor::Integer(number) => i64::try_from(number).map_err(|error| error.to_string())?.into(),
        Cbor::Array(values) => values.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Cbor::Map(fields) => {
            let field = |(name, value): (Cbor, Cbor)| {
                let name = name
                    .into_text()
                    .map_err(|name| format!("{name:?} is not a field's name"))?;
                Ok((name, json(value)?))
            };
            Json::Object(fields.into_iter().map(field).collect::<Result<_, String>>()?)
        }
        Cbor::Tag(EPOCH_TIME, time) => json(*time)?,
        other => return Err(format!("{other:?} is not what CloudWatch takes")),
    })
}

/// JSON's value in CBOR.
fn cbor(value: Json) -> Cbor {
    match value {
        Json::Null => Cbor::Null,
        Json::Bool(value) => value.into(),
        Json::String(text) => text.into(),
        Json::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::Array(values) => Cbor::Array(values.into_iter().map(cbor).collect()),
        Json::Object(fields) => Cbor::Map(
            fields
                .into_iter()
                .map(|(name, value)| (name.into(), cbor(value)))
                .collect(),
        ),
    }
}

fn encoded(value: &Cbor) -> Bytes {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail, and every value has a form in CBOR.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_call_is_the_same_in_both() {
        let datum = Cbor::Map(vec![
            ("MetricName".into(), "success".into()),
            ("Values".into(), Cbor::Array(vec![1.5.into(), 2.into()])),
            (
                "Timestamp".into(),
                Cbor::Tag(EPOCH_TIME, Box::new(1_767_225_600.into())),
            ),
        ]);
        let expected = serde_json::json!({"MetricName": "success", "Values": [1.5, 2], "Timestamp": 1_767_225_600});
        assert_eq!(json(datum), Ok(expected.clone()));
        assert_eq!(json(cbor(expected.clone())), Ok(expected));
    }

    #[test]
    fn what_json_has_no_word_for_is_refused() {
        assert!(json(Cbor::Bytes(vec![1])).unwrap_err().contains("CloudWatch"));
        assert!(
            json(Cbor::Map(vec![(1.into(), 2.into())]))
                .unwrap_err()
                .contains("name")
        );
    }
}
