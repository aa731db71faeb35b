//! What a function of anybody's does that finds the tailnet behind a SOCKS5 server of its own (RFC 1928): it dials
//! through it, and may listen for others.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Answer;

/// How long a dial and an answer may take, each.
const LIMIT: Duration = Duration::from_secs(8);

/// Gets `path` from `host` and `port` through the server on this port of loopback: the answer, or what came instead.
pub(crate) fn get(told: &Value) -> Value {
    let host = told["host"].as_str().unwrap();
    let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
    let dialled = dial(host, port);
    let mut stream = match dialled {
        Ok(stream) => stream,
        Err(error) => return json!({ "failed": error.to_string() }),
    };
    let path = told["path"].as_str().unwrap_or("/");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let answer = Answer::read(stream);
    json!({ "status": answer.status, "body": String::from_utf8_lossy(&answer.body) })
}

fn dial(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect("localhost:1055")?;
    stream.set_read_timeout(Some(LIMIT))?;
    // Version 5, one method: no authentication.
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    // Connect to a name: the server resolves it.
    let mut request = vec![5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request)?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    match reply[1] {
        0 => Ok(stream),
        code => Err(std::io::Error::other(format!("SOCKS5 reply {code}"))),
    }
}

/// Answers everybody who connects to this port of loopback, for as long as the function lives.
pub(crate) fn listen(told: &Value) {
    let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // One who does not wait for it does not get it.
            let _ = stream.unwrap().write_all(b"hello from the function");
        }
    });
}
