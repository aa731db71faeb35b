//! From the machine's own network into the one inside: a caller in another terminal reaches the Function URL by this.

use std::{io, net::TcpListener, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener as Listener, TcpStream},
    sync::Semaphore,
};

/// How many callers may be connected at once; more wait.
const MAX_CONNECTIONS: usize = 64;

/// Passes the listener's connections on to `address`, until accepting fails.
pub(crate) async fn run(listener: TcpListener, address: &str) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = Listener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let address: Arc<str> = address.into();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let (mut caller, _) = listener.accept().await?;
        let address = Arc::clone(&address);
        tokio::spawn(async move {
            // A connection that breaks is its two ends' to notice: dropping it closes both.
            if let Ok(mut function) = TcpStream::connect(&*address).await {
                let _ = copy_bidirectional(&mut caller, &mut function).await;
            }
            drop(place);
        });
    }
}
