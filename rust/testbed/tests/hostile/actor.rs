//! A target that keeps to no rule: it plays a script on each connection, in plain TCP or behind TLS.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// What a healthy server answers, before it closes the connection: the next script gets one of its own.
pub(crate) const HEALTHY: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 7\r\n\r\nhealthy";

/// A step. After the last one the connection is closed.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Reads so many bytes, at least.
    Read(usize),
    /// Reads a request's head, and as much of its body as comes with it.
    ReadHead,
    /// Speaks TLS from here on.
    Handshake,
    /// Sends these bytes.
    Send(Bytes),
    /// Sends them over and over, with this pause, until the other end has gone.
    Flood(Bytes, Duration),
    /// Says that nothing more comes, and keeps the connection.
    HalfClose,
    /// Breaks the connection so that the other end gets an RST.
    Reset,
    /// Does nothing until the other end has gone.
    Hang,
    /// Answers one request as it should.
    Serve,
}

/// The server, on loopback.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) port: u16,
    script: Arc<Mutex<Arc<[Act]>>>,
}

/// What connections are, in plain TCP or behind TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Actor {
    pub(crate) async fn start(tls: ServerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let script: Arc<Mutex<Arc<[Act]>>> = Arc::new(Mutex::new(Arc::new([])));
        let (acceptor, current) = (TlsAcceptor::from(Arc::new(tls)), Arc::clone(&script));
        tokio::spawn(async move {
            // Its end is the runtime's: it belongs to one test.
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
                let acceptor = acceptor.clone();
                // How a connection ends is what the other end is tested with.
                tokio::spawn(async move { play(stream, &acceptor, &script).await });
            }
        });
        Ok(Self { port, script })
    }

    /// Plays this on all connections to come.
    pub(crate) fn play(&self, acts: &[Act]) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = acts.into();
    }
}

async fn play(stream: TcpStream, acceptor: &TlsAcceptor, script: &[Act]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if script.iter().any(|act| matches!(act, Act::Reset)) {
        // It has an effect on the end alone.
        stream.set_zero_linger()?;
    }
    let mut stream: Box<dyn Stream> = Box::new(stream);
    for act in script {
        match act {
            Act::Read(count) => {
                let mut read = BytesMut::new();
                while read.len() < *count {
                    if stream.read_buf(&mut read).await? == 0 {
                        return Ok(());
                    }
                }
            }
            Act::ReadHead => {
                if !read_head(&mut stream).await? {
                    return Ok(());
                }
            }
            Act::Handshake => stream = Box::new(acceptor.accept(stream).await?),
            Act::Send(bytes) => send(&mut stream, bytes).await?,
            Act::Flood(bytes, pause) => loop {
                send(&mut stream, bytes).await?;
                if !pause.is_zero() {
                    sleep(*pause).await;
                }
            },
            Act::HalfClose => stream.shutdown().await?,
            Act::Reset => return Ok(()),
            Act::Hang => read_to_end(&mut stream).await?,
            Act::Serve => {
                if read_head(&mut stream).await? {
                    send(&mut stream, HEALTHY.as_bytes()).await?;
                    stream.shutdown().await?;
                    read_to_end(&mut stream).await?;
                }
            }
        }
    }
    Ok(())
}

/// Whether a head came.
async fn read_head(stream: &mut impl Stream) -> io::Result<bool> {
    let mut read = BytesMut::new();
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn read_to_end(stream: &mut impl Stream) -> io::Result<()> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

async fn send(stream: &mut impl Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
