//! The Extensions API: register, event/next, init/error.

use std::collections::BTreeSet;

use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::calls::{Call, Subscription};
use super::{Answered, Api, Refusal, accepted, header_text, json};
use crate::process_variables::HANDLER;

const NAME: &str = "lambda-extension-name";
const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";
const EVENT_IDENTIFIER: &str = "lambda-extension-event-identifier";

/// A registration is a short list of events.
const REGISTRATION_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: BTreeSet<Subscription>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered<'a> {
    function_name: &'a str,
    function_version: &'a str,
    handler: &'a str,
}

/// `POST /extension/register`.
pub(super) async fn register(api: &Api, request: Request<Incoming>) -> Answered {
    let Some(name) = header_text(&request, NAME).map(str::to_owned) else {
        return Err(Refusal::forbidden(
            "Extension.InvalidExtensionName",
            "Empty extension name",
        ));
    };
    let events = subscriptions(request).await?;
    let identifier = api.ask(|reply| Call::Register { name, events, reply }).await?;
    let function = &api.function;
    let registered = Registered {
        function_name: &function.function_name,
        function_version: "$LATEST",
        handler: HANDLER,
    };
    let mut response = json(StatusCode::OK, &registered);
    response.headers_mut().insert(IDENTIFIER, uuid_header(identifier)?);
    Ok(response)
}

async fn subscriptions(request: Request<Incoming>) -> Result<BTreeSet<Subscription>, Refusal> {
    let malformed = |message: String| Refusal::forbidden("InvalidRequestFormat", message);
    let body = Limited::new(request.into_body(), REGISTRATION_BYTES).collect().await;
    let body = body.map_err(|error| malformed(error.to_string()))?.to_bytes();
    let registration: Registration = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    Ok(registration.events)
}

/// `GET /extension/event/next`: a long poll.
pub(super) async fn next(api: &Api, request: &Request<Incoming>) -> Answered {
    let identifier = identifier(request)?;
    let event = api.ask(|reply| Call::ExtensionNext { identifier, reply }).await?;
    let mut response = json(StatusCode::OK, &event);
    response
        .headers_mut()
        .insert(EVENT_IDENTIFIER, uuid_header(Uuid::new_v4())?);
    Ok(response)
}

/// `POST /extension/init/error`: the extension is expected to exit.
pub(super) async fn init_error(api: &Api, request: &Request<Incoming>) -> Answered {
    let identifier = identifier(request)?;
    let Some(error_type) = header_text(request, ERROR_TYPE).map(str::to_owned) else {
        let message = "Lambda-Extension-Function-Error-Type not found";
        return Err(Refusal::forbidden("Extension.MissingHeader", message));
    };
    api.ask(|reply| Call::ExtensionInitError {
        identifier,
        error_type,
        reply,
    })
    .await?;
    Ok(accepted())
}

fn identifier(request: &Request<Incoming>) -> Result<Uuid, Refusal> {
    let Some(text) = header_text(request, IDENTIFIER) else {
        let message = "Missing Lambda-Extension-Identifier header";
        return Err(Refusal::forbidden("Extension.MissingExtensionIdentifier", message));
    };
    let invalid = "Extension.InvalidExtensionIdentifier";
    Uuid::parse_str(text).map_err(|_| Refusal::forbidden(invalid, "Invalid Lambda-Extension-Identifier"))
}

fn uuid_header(id: Uuid) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(&id.to_string()).map_err(|error| Refusal::internal(&error.to_string()))
}
