//! A caller of the Function URL, who signs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;

use super::run::{PATIENCE, Run};

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
        let body = told.to_string();
        let host = self.address.to_string();
        let mut head = format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n");
        head += &format!("content-length: {}\r\nconnection: close\r\n", body.len());
        for (name, value) in signature(&host, body.as_bytes()) {
            head += &format!("{name}: {value}\r\n");
        }
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
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

fn signature(host: &str, body: &[u8]) -> Vec<(String, String)> {
    let identity = Credentials::new("CALLER", "caller-secret", None, None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("lambda")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let headers = [("host", host), ("content-type", "application/json")];
    let url = format!("http://{host}/");
    let request = SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(body)).unwrap();
    let instructions = sign(request, &parameters).unwrap().into_parts().0;
    instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
