//! The Function URL, as its callers use it.

use std::{fmt::Display, time::Duration};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Request, Response, request};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::{
    Error,
    deadline::within,
    http_call::{call, connect, open},
    signed::signed,
};

/// How long an answer may take: the function's time-out of 30 s comes first, and its INIT of 10 s before that.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(45);

/// The URL, and who calls it.
#[derive(Debug, Clone)]
pub struct FunctionUrl {
    /// `host:port`.
    pub address: String,
    /// Who signs.
    pub caller: Credentials,
}

impl FunctionUrl {
    /// The beginning of a request.
    pub fn request(&self, method: &str, path_and_query: &str) -> request::Builder {
        Request::builder()
            .method(method)
            .uri(path_and_query)
            .header("host", &self.address)
    }

    /// The beginning of a request to the target that `host`, an address or a name, and `port` choose.
    pub fn request_to(&self, host: impl Display, port: u16, method: &str, path_and_query: &str) -> request::Builder {
        self.request(method, path_and_query)
            .header("ts-target-ip", host.to_string())
            .header("ts-target-port", port)
    }

    /// Signs a request, sends it on a connection of its own, and returns the whole answer.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.send_as_is(signed(request, "lambda", &self.caller)?).await
    }

    /// Signs a request, sends it on a connection of its own, and returns the answer with its body still to come.
    pub async fn open(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        let request = signed(request, "lambda", &self.caller)?;
        let answer = within(
            ANSWER_LIMIT,
            "an answer's head",
            open(connect(&self.address).await?, request),
        );
        answer.await?
    }

    /// Sends a request that is signed already, or not at all.
    pub async fn send_as_is(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        call(connect(&self.address).await?, request, ANSWER_LIMIT).await
    }
}
