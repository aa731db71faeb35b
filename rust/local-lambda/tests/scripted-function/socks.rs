//! What a function of anybody's does that finds the tailnet behind a SOCKS5 server of its own (RFC 1928): it dials
//! through it, and may listen for others.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Answer;

/// How long a dial and an answer may take, each.
const LIMIT: Duration = Duration::from_secs(8);

/// Gets `path` from `host` and `port` through the server on this port of loopback: the answer, or what came instead.
pub(crate) fn get(told: &Value) -> Value {
    match exchange(told) {
        Ok(answer) => json!({ "status": answer.status, "body": String::from_utf8_lossy(&answer.body) }),
        Err(error) => json!({ "failed": error.to_string() }),
    }
}

fn exchange(told: &Value) -> std::io::Result<Answer> {
    let host = told["host"].as_str().unwrap();
    let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
    let mut stream = dial(host, port)?;
    let path = told["path"].as_str().unwrap_or("/");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n"
    )?;
    Answer::read(stream)
}

fn dial(host: &str, port: u16) -> std::io::Result<TcpStream> {
    // Connect to a name: the server resolves it.
    let mut address = vec![3, u8::try_from(host.len()).unwrap()];
    address.extend_from_slice(host.as_bytes());
    address.extend_from_slice(&port.to_be_bytes());
    Ok(ask(CONNECT, &address)?.0)
}

const CONNECT: u8 = 1;
const UDP_ASSOCIATE: u8 = 3;

/// Has the server do something with an address. Returns the connection, and the IPv4 address of the reply.
fn ask(command: u8, address: &[u8]) -> std::io::Result<(TcpStream, SocketAddr)> {
    let mut stream = TcpStream::connect("localhost:1055")?;
    stream.set_read_timeout(Some(LIMIT))?;
    // Version 5, one method: no authentication.
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    stream.write_all(&[&[5, command, 0], address].concat())?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    let [_, code, _, _, a, b, c, d, high, low] = reply;
    match code {
        0 => {
            let bound = (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]));
            Ok((stream, bound.into()))
        }
        code => Err(std::io::Error::other(format!("SOCKS5 reply {code}"))),
    }
}

/// Sends a datagram to an IPv4 address and port through the server, and gives the reply's text, or what came instead.
pub(crate) fn datagram(told: &Value) -> Value {
    match exchange_datagrams(told) {
        Ok(text) => json!({ "text": text }),
        Err(error) => json!({ "failed": error.to_string() }),
    }
}

fn exchange_datagrams(told: &Value) -> std::io::Result<String> {
    let host: Ipv4Addr = told["host"].as_str().unwrap().parse().unwrap();
    let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
    let text = told["text"].as_str().unwrap();
    // The association lives as long as the connection.
    let (_connection, relay) = ask(UDP_ASSOCIATE, &[1, 0, 0, 0, 0, 0, 0])?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(LIMIT))?;
    // No fragments; an IPv4 address.
    let header = [&[0, 0, 0, 1], &host.octets()[..], &port.to_be_bytes()].concat();
    socket.send_to(&[&header, text.as_bytes()].concat(), relay)?;
    let mut reply = [0; 1500];
    let length = socket.recv(&mut reply)?;
    let text = reply.get(header.len()..length).unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
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
