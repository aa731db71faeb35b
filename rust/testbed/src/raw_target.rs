//! A target that a test writes byte by byte, and that tells to the byte what it was sent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::sleep,
};

use crate::log::History;

/// The largest request that it reads, in bytes.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The request line, without its end.
    pub line: String,
    /// Names in lower case and values, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, its chunks put together.
    pub body: Bytes,
    /// The number of the connection that it came by.
    pub connection: usize,
}

/// What the target does with a request.
#[derive(Debug, Clone)]
pub enum Move {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes this many times.
    Repeat(Bytes, usize),
    /// Waits until the test lets it go on: each move takes one permit away.
    Await(Arc<Semaphore>),
    /// Closes the connection; without it the connection stays for the next request.
    Close,
    /// Never does anything again, until the other end closes.
    Hang,
}

/// A server on loopback whose every answer is the current play.
#[derive(Debug, Clone)]
pub struct RawTarget {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    play: Mutex<Arc<[Move]>>,
    seen: History<Seen>,
    /// Grows by one to make idle connections end.
    hang_ups: watch::Sender<usize>,
    open: watch::Sender<usize>,
    /// How long a connection may wait for a request.
    idle_limit: Duration,
}

impl RawTarget {
    /// Listens on loopback, at a port of the system's choice.
    pub async fn start() -> std::io::Result<Self> {
        Self::keeping(Duration::MAX).await
    }

    /// The same, but connections that wait for a request for so long are closed.
    pub async fn keeping(idle_limit: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared {
            play: Mutex::new(Arc::new([])),
            seen: History::default(),
            hang_ups: watch::Sender::new(0),
            open: watch::Sender::new(0),
            idle_limit,
        });
        let target = Self {
            address: listener.local_addr()?,
            shared: Arc::clone(&shared),
        };
        tokio::spawn(async move {
            let mut number = 0;
            // Its end is the runtime's: it belongs to one test.
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                tokio::spawn(Arc::clone(&shared).serve(stream, number));
            }
        });
        Ok(target)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers all requests from now on with these moves.
    pub fn play(&self, moves: impl Into<Arc<[Move]>>) {
        *self.shared.play.lock().unwrap_or_else(PoisonError::into_inner) = moves.into();
    }

    /// All that was asked of it.
    pub fn seen(&self) -> &History<Seen> {
        &self.shared.seen
    }

    /// The last request, if there was one from number `since` on, and whether it was the only one.
    pub fn only_since(&self, since: usize) -> Option<Seen> {
        let first = self.shared.seen.look(since, |seen| Some(seen.clone()));
        first.filter(|_| self.shared.seen.len() == since + 1)
    }

    /// Closes all connections that wait for a request, and returns when all are closed.
    pub async fn hang_up(&self) {
        let mut open = self.shared.open.subscribe();
        self.shared.hang_ups.send_modify(|count| *count += 1);
        // Never an error: `self` holds the sender.
        let _ = open.wait_for(|open| *open == 0).await;
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream, connection: usize) {
        self.open.send_modify(|open| *open += 1);
        // A failing connection is the other end's doing, and shows there.
        let _ = self.converse(&mut stream, connection).await;
        drop(stream);
        self.open.send_modify(|open| *open -= 1);
    }

    async fn converse(&self, stream: &mut TcpStream, connection: usize) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut hang_ups = self.hang_ups.subscribe();
        let mut buffer = BytesMut::new();
        loop {
            let request = tokio::select! {
                request = read_request(stream, &mut buffer, connection) => request?,
                _ = hang_ups.changed() => return Ok(()),
                () = sleep(self.idle_limit) => return Ok(()),
            };
            let Some(request) = request else { return Ok(()) };
            let play = Arc::clone(&self.play.lock().unwrap_or_else(PoisonError::into_inner));
            self.seen.push(request);
            for step in play.iter() {
                match step {
                    Move::Send(bytes) => stream.write_all(bytes).await?,
                    Move::Repeat(bytes, times) => {
                        for _ in 0..*times {
                            stream.write_all(bytes).await?;
                        }
                    }
                    Move::Await(gate) => match gate.acquire().await {
                        Ok(permit) => permit.forget(),
                        Err(_) => return Ok(()),
                    },
                    Move::Close => return Ok(()),
                    Move::Hang => {
                        stream.read_buf(&mut buffer).await?;
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Reads one request; `None` where the other end has closed instead.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    connection: usize,
) -> std::io::Result<Option<Seen>> {
    let end = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at;
        }
        if !more(stream, buffer).await? {
            return Ok(None);
        }
    };
    let head = buffer.split_to(end);
    buffer.advance(4);
    let mut lines = head[..]
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let headers: Vec<_> = lines.filter_map(header).collect();
    let body = match (
        find_header(&headers, "transfer-encoding"),
        find_header(&headers, "content-length"),
    ) {
        (Some(_), _) => read_chunks(stream, buffer).await?,
        (None, Some(length)) => read_exactly(stream, buffer, length.parse().unwrap_or(0)).await?,
        (None, None) => Bytes::new(),
    };
    Ok(Some(Seen {
        line,
        headers,
        body,
        connection,
    }))
}

fn header(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
    Some((name, line[colon + 1..].trim_ascii().to_vec()))
}

fn find_header(headers: &[(String, Vec<u8>)], name: &str) -> Option<String> {
    let (_, value) = headers.iter().find(|(key, _)| key == name)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// RFC 9112 section 7.1; trailers are read and forgotten.
async fn read_chunks(stream: &mut TcpStream, buffer: &mut BytesMut) -> std::io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let size = read_line(stream, buffer).await?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(std::io::Error::other)?;
        if size == 0 {
            while !read_line(stream, buffer).await?.is_empty() {}
            return Ok(body.freeze());
        }
        body.extend_from_slice(&read_exactly(stream, buffer, size).await?);
        read_line(stream, buffer).await?;
    }
}

async fn read_line(stream: &mut TcpStream, buffer: &mut BytesMut) -> std::io::Result<String> {
    loop {
        if let Some(at) = find(buffer, b"\r\n") {
            let line = buffer.split_to(at);
            buffer.advance(2);
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        if !more(stream, buffer).await? {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn read_exactly(stream: &mut TcpStream, buffer: &mut BytesMut, length: usize) -> std::io::Result<Bytes> {
    while buffer.len() < length {
        if !more(stream, buffer).await? {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.split_to(length).freeze())
}

async fn more(stream: &mut TcpStream, buffer: &mut BytesMut) -> std::io::Result<bool> {
    if buffer.len() > MAX_REQUEST_BYTES {
        return Err(std::io::Error::other("the request is too large for a test"));
    }
    Ok(stream.read_buf(buffer).await? > 0)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Without it, the suites that need connections to be closed by the target would pass with open ones.
    #[tokio::test]
    async fn idle_connections_end_after_their_limit() {
        let target = RawTarget::keeping(Duration::from_millis(20)).await.unwrap();
        target.play([Move::Send("HTTP/1.1 204 No Content\r\n\r\n".into())]);
        let mut stream = TcpStream::connect(target.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // Only the target ends the connection.
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), 27);
    }
}
