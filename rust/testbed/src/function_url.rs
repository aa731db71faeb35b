//! The Function URL, as its callers use it.

use std::time::Duration;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Request, Response, request};
use http_body_util::Full;
use tokio::net::TcpStream;

use crate::{
    Error,
    http_call::{CallError, call},
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

    /// Signs a request, sends it on a connection of its own, and returns the whole answer.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        Ok(self.send_as_is(signed(request, "lambda", &self.caller)?).await?)
    }

    /// Sends a request that is signed already, or not at all.
    pub async fn send_as_is(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CallError> {
        let not_connected = |source| CallError::NotConnected {
            address: self.address.clone(),
            source,
        };
        let stream = TcpStream::connect(&self.address).await.map_err(not_connected)?;
        call(stream, request, ANSWER_LIMIT).await
    }
}
