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
pub(crate) enum Reply {
    Succeeded = 0,
    GeneralFailure = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    AddressTypeNotSupported = 8,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// As it stood on the wire.
    pub(crate) bytes: Vec<u8>,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// Where a client wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    /// Of letters, digits, hyphens, underscores and dots.
    Name(String),
}

/// What is wrong with a client's request.
#[derive(Debug, Error)]
pub(crate) enum WireError {
    #[error("it does not speak SOCKS5: its first byte is {0:#04x}")]
    Version(u8),
    #[error("it does not offer the method 'no authentication' (0x00)")]
    Methods,
    #[error("its request is for an address of the unknown type {0:#04x}")]
    AddressType(u8),
    #[error("its request is for '{0}', which is not a host name")]
    Name(String),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

impl WireError {
    /// The reply to send, if any.
    pub(crate) fn reply(&self) -> Option<Reply> {
        match self {
            Self::AddressType(_) => Some(Reply::AddressTypeNotSupported),
            Self::Name(_) => Some(Reply::HostUnreachable),
            Self::Version(_) | Self::Methods | Self::Broken(_) => None,
        }
    }
}

impl Request {
    /// Whether it asks for a connection; other commands are rare.
    pub(crate) fn is_connect(&self) -> bool {
        self.bytes.get(1) == Some(&CONNECT)
    }

    /// Reads a request, to the last of its bytes and no further: what comes after them is for the target.
    pub(crate) async fn read(client: &mut (impl AsyncRead + Unpin)) -> Result<Self, WireError> {
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
pub(crate) async fn greet(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), WireError> {
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

/// Replies to a request. The bound address is of no interest to clients: it is sent as zero.
pub(crate) async fn answer(client: &mut (impl AsyncWrite + Unpin), reply: Reply) -> io::Result<()> {
    client
        .write_all(&[VERSION, reply as u8, 0, IPV4, 0, 0, 0, 0, 0, 0])
        .await
}

/// Sends the same request to another server, and returns the first two bytes of its reply: version and code.
pub(crate) async fn ask(server: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &Request) -> io::Result<[u8; 2]> {
    server.write_all(&[VERSION, 1, NO_AUTHENTICATION]).await?;
    let mut answer = [0; 2];
    server.read_exact(&mut answer).await?;
    if answer != [VERSION, NO_AUTHENTICATION] {
        return Err(io::Error::other(format!("it replies to a greeting with {answer:?}")));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// What is read from a client that says this, a byte at a time, and goes.
    async fn read(said: &[u8]) -> Result<Request, WireError> {
        let (mut client, mut server) = duplex(1);
        let said = said.to_vec();
        let client = tokio::spawn(async move {
            // A server that has heard enough goes first.
            let _ = client.write_all(&said).await;
        });
        let read = Request::read(&mut server).await;
        drop(server);
        client.await.unwrap();
        read
    }

    /// What a client hears that greets like this, and what the server makes of it.
    async fn greeted(said: &[u8]) -> (Result<(), WireError>, Vec<u8>) {
        let (mut client, mut server): (DuplexStream, DuplexStream) = duplex(1024);
        client.write_all(said).await.unwrap();
        client.shutdown().await.unwrap();
        let outcome = greet(&mut server).await;
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        (outcome, heard)
    }

    fn to_name(name: &[u8]) -> Vec<u8> {
        let mut request = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
        request.extend_from_slice(name);
        request.extend_from_slice(&[0x1f, 0x90]);
        request
    }

    #[tokio::test]
    async fn requests_in_pieces_are_read_to_their_last_byte_and_kept_as_they_came() {
        let v6: Ipv6Addr = "fd7a:115c:a1e0::2".parse().unwrap();
        let to_v6 = [&[5, 1, 0, 4][..], &v6.octets(), &[0x1f, 0x90]].concat();
        for (bytes, shown) in [
            (vec![5, 1, 0, 1, 100, 64, 0, 2, 0x1f, 0x90], "100.64.0.2:8080"),
            (to_v6, "[fd7a:115c:a1e0::2]:8080"),
            (to_name(b"db.example.ts.net"), "db.example.ts.net:8080"),
            (to_name(b"100.64.0.2"), "100.64.0.2:8080"),
            (to_name(b"[fd7a::1]"), "[fd7a::1]:8080"),
            (to_name(&[b'a'; 253]), &format!("{}:8080", "a".repeat(253))),
        ] {
            let early = [&bytes[..], b"for the target"].concat();
            let request = read(&early).await.unwrap();
            assert_eq!((request.to_string().as_str(), &request.bytes), (shown, &bytes));
            assert!(request.is_connect());
        }
        assert!(!read(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap().is_connect());
    }

    #[tokio::test]
    async fn malformed_requests_are_errors_with_a_reply_where_one_helps() {
        for (bytes, reply) in [
            (vec![4, 1, 0, 1, 0, 0, 0, 0, 0, 0], None),
            (vec![5, 1, 0, 2, 0, 0], Some(Reply::AddressTypeNotSupported)),
            (to_name(b""), Some(Reply::HostUnreachable)),
            (to_name(b"..."), Some(Reply::HostUnreachable)),
            (to_name(&[b'a'; 255]), Some(Reply::HostUnreachable)),
            (to_name(&[0xff; 255]), Some(Reply::HostUnreachable)),
            (to_name(b"a&type=TXT"), Some(Reply::HostUnreachable)),
            (to_name(b"a\r\nb"), Some(Reply::HostUnreachable)),
        ] {
            let error = read(&bytes).await.unwrap_err();
            assert_eq!(error.reply(), reply, "{bytes:?}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[tokio::test]
    async fn a_request_that_is_cut_off_anywhere_is_an_error() {
        for whole in [
            vec![5, 1, 0, 1, 100, 64, 0, 2, 0, 80],
            to_name(b"db"),
            [&[5, 1, 0, 4][..], &[0; 18]].concat(),
        ] {
            for length in 0..whole.len() {
                let outcome = read(&whole[..length]).await;
                assert!(
                    matches!(outcome, Err(WireError::Broken(_))),
                    "{length} bytes of {whole:?}: {outcome:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn only_clients_that_offer_no_authentication_are_served() {
        for greeting in [&[5, 1, 0][..], &[5, 3, 2, 1, 0]] {
            let (outcome, heard) = greeted(greeting).await;
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(heard, [5, 0]);
        }
        for greeting in [&[5, 0][..], &[5, 1, 2], b"GET / HTTP/1.1\r\n\r\n", &[4, 1]] {
            let (outcome, heard) = greeted(greeting).await;
            assert!(outcome.is_err(), "{greeting:?}");
            assert_eq!(heard, [5, 0xff], "{greeting:?}");
        }
        let (outcome, heard) = greeted(&[5, 255, 0, 0]).await;
        assert!(matches!(outcome, Err(WireError::Broken(_))), "{outcome:?}");
        assert!(heard.is_empty());
    }
}
