//! A caller of the Function URL, who signs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::SystemTime;

use http::{HeaderValue, Method};
use serde_json::Value;

use super::run::{PATIENCE, Run};
use crate::function_url::client::{self, Signer};
use crate::function_url::url::user;

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| {
                panic!("no answer: {:?}", String::from_utf8_lossy(bytes));
            });
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            body: bytes[end + 4..].to_vec(),
        }
    }
}

impl Run {
    /// Has the function do something.
    pub(crate) fn call(&self, told: &Value) -> Answer {
        self.begin(told).finish()
    }

    /// Sends a request, and leaves its answer for later.
    pub(crate) fn begin(&self, told: &Value) -> Pending {
        let mut request = client::request(Method::POST, "/", self.address, told.to_string());
        for (name, value) in [("content-type", "application/json"), ("connection", "close")] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let length = request.body().len();
        request.headers_mut().insert("content-length", length.into());
        let mut signer = Signer::of(user());
        signer.time = SystemTime::now();
        let request = signer.sign(request);
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(client::head_bytes(&request).as_bytes()).unwrap();
        socket.write_all(request.body()).unwrap();
        Pending(socket)
    }
}

pub(crate) struct Pending(TcpStream);

impl Pending {
    pub(crate) fn finish(mut self) -> Answer {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }
}
