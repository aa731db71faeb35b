//! A target that a test writes byte by byte, and that tells to the byte what it was sent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::sleep,
};

use crate::log::History;

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
    async fn serve(self: Arc<Self>, stream: TcpStream, connection: usize) {
        self.open.send_modify(|open| *open += 1);
        // A failing connection is the other end's doing, and shows there.
        let _ = self.converse(stream, connection).await;
        self.open.send_modify(|open| *open -= 1);
    }

    async fn converse(&self, stream: TcpStream, connection: usize) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut hang_ups = self.hang_ups.subscribe();
        let mut stream = BufReader::new(stream);
        loop {
            let request = tokio::select! {
                request = read_request(&mut stream, connection) => request?,
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
                        stream.read_u8().await?;
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Reads one request; `None` where the other end has closed instead.
async fn read_request(stream: &mut BufReader<TcpStream>, connection: usize) -> std::io::Result<Option<Seen>> {
    let Some(line) = read_line(stream).await? else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&line).into_owned();
    let mut headers = Vec::new();
    loop {
        match read_line(stream).await? {
            None => return Ok(None),
            Some(line) if line.is_empty() => break,
            Some(line) => headers.extend(header(&line)),
        }
    }
    let mut body = Vec::new();
    if find_header(&headers, "transfer-encoding").is_some() {
        read_chunks(stream, &mut body).await?;
    } else if let Some(length) = find_header(&headers, "content-length") {
        body.resize(length.parse().unwrap_or(0), 0);
        stream.read_exact(&mut body).await?;
    }
    Ok(Some(Seen {
        line,
        headers,
        body: body.into(),
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
async fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let line = read_line(stream).await?.unwrap_or_default();
        let size = String::from_utf8_lossy(line.split(|byte| *byte == b';').next().unwrap_or_default()).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        if size == 0 {
            while read_line(stream).await?.is_some_and(|line| !line.is_empty()) {}
            return Ok(());
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).await?;
        read_line(stream).await?;
    }
}

/// A line without its end; `None` where the other end has closed instead.
async fn read_line(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    let Some(text) = line.strip_suffix(b"\n") else {
        return Ok(None);
    };
    Ok(Some(text.strip_suffix(b"\r").unwrap_or(text).to_vec()))
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
