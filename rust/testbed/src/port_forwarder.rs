//! A port that leads to another address, and can be closed with all that passes through it.

use std::{convert::Infallible, io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, ToSocketAddrs},
    task::{JoinHandle, JoinSet},
};

/// The port. It is open until it is closed.
#[derive(Debug)]
pub struct PortForwarder {
    address: SocketAddr,
    passing: JoinHandle<io::Result<Infallible>>,
}

impl PortForwarder {
    /// Opens `address` (port 0: any), and passes on to `to` what comes.
    pub async fn open(address: SocketAddr, to: impl Destination) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let passing = tokio::spawn(pass_on(listener, to));
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

/// Where connections can be passed on to: an address, or the text of one.
pub trait Destination: ToSocketAddrs + Clone + Send + Sync + 'static {}

impl<T: ToSocketAddrs + Clone + Send + Sync + 'static> Destination for T {}

/// Passes a listener's connections on to `to`, until accepting fails. They end with it.
pub async fn pass_on(listener: TcpListener, to: impl Destination) -> io::Result<Infallible> {
    let mut passing = JoinSet::new();
    loop {
        let (mut from, _) = listener.accept().await?;
        let to = to.clone();
        // A connection that breaks is its two ends' to notice: dropping it closes both.
        passing.spawn(async move {
            let mut to = TcpStream::connect(to).await?;
            from.set_nodelay(true)?;
            to.set_nodelay(true)?;
            copy_bidirectional(&mut from, &mut to).await
        });
    }
}
