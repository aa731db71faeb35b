//! A target that keeps to no rule: it plays a script on each connection, in plain TCP or behind TLS.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

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

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

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
    let mut stream = Stream::Plain(stream);
    for act in script {
        match act {
            Act::Read(count) => {
                let mut read = 0;
                while read < *count {
                    read += match stream.read().await?.len() {
                        0 => return Ok(()),
                        length => length,
                    };
                }
            }
            Act::ReadHead => {
                if !stream.read_head().await? {
                    return Ok(());
                }
            }
            Act::Handshake => stream = stream.handshake(acceptor).await?,
            Act::Send(bytes) => stream.write(bytes).await?,
            Act::Flood(bytes, pause) => loop {
                stream.write(bytes).await?;
                if !pause.is_zero() {
                    sleep(*pause).await;
                }
            },
            Act::HalfClose => stream.half_close().await?,
            Act::Reset => return stream.tcp().set_zero_linger(),
            Act::Hang => while !stream.read().await?.is_empty() {},
            Act::Serve => {
                if stream.read_head().await? {
                    stream.write(HEALTHY.as_bytes()).await?;
                    stream.half_close().await?;
                    while !stream.read().await?.is_empty() {}
                }
            }
        }
    }
    Ok(())
}

impl Stream {
    async fn handshake(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => Ok(Self::Tls(Box::new(acceptor.accept(stream).await?))),
            tls @ Self::Tls(_) => Ok(tls),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Some bytes; none at the end.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        let length = match self {
            Self::Plain(stream) => stream.read(&mut buffer).await?,
            Self::Tls(stream) => stream.read(&mut buffer).await?,
        };
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Whether a head came.
    async fn read_head(&mut self) -> io::Result<bool> {
        let mut read = Vec::new();
        while !read.windows(4).any(|window| window == b"\r\n\r\n") {
            match self.read().await? {
                bytes if bytes.is_empty() => return Ok(false),
                bytes => read.extend(bytes),
            }
        }
        Ok(true)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    async fn half_close(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
        }
    }
}
