//! SOCKS5 on the wire (RFC 1928), as far as a server without authentication speaks it.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
/// The longest name that DNS knows (RFC 1035 section 2.3.4), in its text form.
const LONGEST_NAME: usize = 253;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Succeeded = 0,
    GeneralFailure = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    AddressTypeNotSupported = 8,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// As it stood on the wire.
    pub(super) bytes: Vec<u8>,
    pub(super) host: Host,
    pub(super) port: u16,
}

/// Where a client wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// Of letters, digits, hyphens, underscores and dots.
    Name(String),
}

/// A client that does not speak as it should, or not at all.
#[derive(Debug, Error)]
pub(super) enum WireError {
    #[error("it does not speak SOCKS5, but begins with the byte {0:#04x}")]
    Version(u8),
    #[error("it wants an authentication, of which there is none (0x00)")]
    Methods,
    #[error("its request is for an address of the unknown type {0:#04x}")]
    AddressType(u8),
    #[error("its request is for something that is no host name: '{0}'")]
    Name(String),
    #[error("it broke off: {0}")]
    Broken(#[from] io::Error),
}

impl WireError {
    /// What it is answered, where an answer helps.
    pub(super) fn reply(&self) -> Option<Reply> {
        match self {
            Self::AddressType(_) => Some(Reply::AddressTypeNotSupported),
            Self::Name(_) => Some(Reply::HostUnreachable),
            Self::Version(_) | Self::Methods | Self::Broken(_) => None,
        }
    }
}

impl Request {
    /// Whether it asks for a connection: what else there is is rare.
    pub(super) fn is_connect(&self) -> bool {
        self.bytes.get(1) == Some(&CONNECT)
    }

    /// Reads a request, to the last of its bytes and no further: what comes after them is for the target.
    pub(super) async fn read(client: &mut (impl AsyncRead + Unpin)) -> Result<Self, WireError> {
        let mut bytes = vec![0; 4];
        client.read_exact(&mut bytes).await?;
        if bytes[0] != VERSION {
            return Err(WireError::Version(bytes[0]));
        }
        let host = match bytes[3] {
            IPV4 => Host::Address(Ipv4Addr::from(more(client, &mut bytes).await?).into()),
            IPV6 => Host::Address(Ipv6Addr::from(more(client, &mut bytes).await?).into()),
            NAME => {
                let [length] = more(client, &mut bytes).await?;
                let mut name = vec![0; length.into()];
                client.read_exact(&mut name).await?;
                bytes.extend_from_slice(&name);
                let port = more(client, &mut bytes).await?;
                return Ok(Self {
                    bytes,
                    host: host(&name)?,
                    port: u16::from_be_bytes(port),
                });
            }
            other => return Err(WireError::AddressType(other)),
        };
        let port = u16::from_be_bytes(more(client, &mut bytes).await?);
        Ok(Self { bytes, host, port })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Agrees with a client on no authentication.
pub(super) async fn greet(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), WireError> {
    let mut head = [0; 2];
    client.read_exact(&mut head).await?;
    let [version, count] = head;
    if version != VERSION {
        client.write_all(&[VERSION, NO_ACCEPTABLE_METHOD]).await?;
        return Err(WireError::Version(version));
    }
    let mut methods = vec![0; count.into()];
    client.read_exact(&mut methods).await?;
    if methods.contains(&NO_AUTHENTICATION) {
        return Ok(client.write_all(&[VERSION, NO_AUTHENTICATION]).await?);
    }
    client.write_all(&[VERSION, NO_ACCEPTABLE_METHOD]).await?;
    Err(WireError::Methods)
}

/// Answers a request. Which address the connection has at this end is nobody's concern: it is told as zero.
pub(super) async fn answer(client: &mut (impl AsyncWrite + Unpin), reply: Reply) -> io::Result<()> {
    client
        .write_all(&[VERSION, reply as u8, 0, IPV4, 0, 0, 0, 0, 0, 0])
        .await
}

/// Asks another server the same, and returns what it says so far: its version and its reply.
pub(super) async fn ask(server: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &Request) -> io::Result<[u8; 2]> {
    server.write_all(&[VERSION, 1, NO_AUTHENTICATION]).await?;
    let mut answer = [0; 2];
    server.read_exact(&mut answer).await?;
    if answer != [VERSION, NO_AUTHENTICATION] {
        return Err(io::Error::other(format!("it answers a greeting with {answer:?}")));
    }
    server.write_all(&request.bytes).await?;
    server.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn more<const N: usize>(
    client: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> Result<[u8; N], WireError> {
    let mut read = [0; N];
    client.read_exact(&mut read).await?;
    bytes.extend_from_slice(&read);
    Ok(read)
}

/// Many clients give an address as a name.
fn host(name: &[u8]) -> Result<Host, WireError> {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let text = String::from_utf8_lossy(name);
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(Host::Address(address));
    }
    if name.iter().any(u8::is_ascii_alphanumeric) && name.len() <= LONGEST_NAME && name.iter().all(legal) {
        return Ok(Host::Name(text.into_owned()));
    }
    Err(WireError::Name(text.escape_debug().to_string()))
}
