//! A port that leads to another address, and can be closed with all that passes through it.

use std::net::SocketAddr;

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// The port. It is open until it is closed.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    passing: JoinHandle<()>,
}

impl Door {
    /// Opens `address` (port 0: any), and passes on to `to` what comes.
    pub async fn open(address: SocketAddr, to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let passing = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut from, _)) = listener.accept().await {
                passing.spawn(async move {
                    let mut to = TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut from, &mut to).await
                });
            }
        });
        Ok(Self { address, passing })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes it, with every connection. Says where it was.
    pub fn close(self) -> SocketAddr {
        self.passing.abort();
        self.address
    }
}
