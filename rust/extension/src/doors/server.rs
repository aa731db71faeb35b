//! SOCKS5 and the HTTP proxy on one port, told apart by a client's first byte.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::doors::{
    config::ServerConfig,
    connections::{Limits, Serve},
    flow::Thaws,
    http_proxy::connection::HttpProxy,
    outbound::Outbound,
    socks5::connection::Socks5,
    throttled_log::ThrottledLog,
};

/// How long a client may take to send its first byte.
const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(5);

/// The server.
pub struct ProxyServer {
    listener: TcpListener,
    limits: Limits,
    protocols: Protocols,
}

impl ProxyServer {
    /// Listens.
    pub(crate) async fn bind(
        config: ServerConfig,
        outbound: &Outbound,
        limits: &Limits,
        log: &Arc<ThrottledLog>,
        thaws: &Thaws,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(config.listen).await?,
            limits: limits.clone(),
            protocols: Protocols {
                socks5: Socks5::new(outbound.clone(), Arc::clone(log), thaws.clone()),
                http: HttpProxy::new(outbound.clone(), Arc::clone(log), thaws.clone()),
                log: Arc::clone(log),
            },
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped, which ends the connections.
    pub async fn serve(self) {
        self.limits.accept(self.listener, self.protocols).await;
    }
}

#[derive(Clone)]
struct Protocols {
    socks5: Socks5,
    http: HttpProxy,
    log: Arc<ThrottledLog>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Socks5,
    Http,
    Tls,
    Unknown(u8),
}

impl Protocol {
    /// RFC 1928 section 3; RFC 9110 section 9.1 (a method is a token, all known ones of capital letters); RFC 8446 section 5.1.
    fn of(first: u8) -> Self {
        match first {
            5 => Self::Socks5,
            b'A'..=b'Z' | b'a'..=b'z' => Self::Http,
            0x16 => Self::Tls,
            other => Self::Unknown(other),
        }
    }
}

impl Protocols {
    async fn protocol(&self, client: &TcpStream) -> Option<Protocol> {
        let mut first = [0];
        match timeout(FIRST_BYTE_LIMIT, client.peek(&mut first)).await {
            // A client that connects and goes, to see whether anybody listens, is not an error.
            Ok(Ok(0) | Err(_)) => None,
            Ok(Ok(_)) => Some(Protocol::of(first[0])),
            Err(_) => {
                let seconds = FIRST_BYTE_LIMIT.as_secs();
                self.log
                    .warn(format!("a client of the proxy port sent no request within {seconds} s"));
                None
            }
        }
    }
}

impl Serve for Protocols {
    async fn serve(self, client: TcpStream) {
        match self.protocol(&client).await {
            Some(Protocol::Socks5) => self.socks5.serve(client).await,
            Some(Protocol::Http) => self.http.serve(client).await,
            Some(Protocol::Tls) => self.log.warn(
                "a client of the proxy port speaks TLS; fix: give the proxy's address with http://, not https://, also for https targets"
                    .to_owned(),
            ),
            Some(Protocol::Unknown(first)) => self.log.warn(format!(
                "a client of the proxy port speaks neither SOCKS5 nor HTTP: its first byte is {first:#04x}"
            )),
            None => {}
        }
    }

    async fn reject(self, client: TcpStream) {
        match self.protocol(&client).await {
            Some(Protocol::Socks5) => self.socks5.reject(client).await,
            Some(Protocol::Http) => self.http.reject(client).await,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart_by_the_first_byte() {
        for (byte, protocol) in [
            (5, Protocol::Socks5),
            (b'C', Protocol::Http),
            (b'g', Protocol::Http),
            (0x16, Protocol::Tls),
            (4, Protocol::Unknown(4)),
            (0, Protocol::Unknown(0)),
        ] {
            assert_eq!(Protocol::of(byte), protocol, "{byte}");
        }
    }
}
