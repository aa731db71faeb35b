//! How tailscaled's LocalAPI is reached, and how its start is noticed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, future::BoxFuture};
use inotify::{Inotify, WatchMask};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};

/// Reaches a LocalAPI: by a unix socket, except in tests under paused time.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Waits until tailscaled accepts connections. The caller sets the limit.
    fn ready(&self) -> BoxFuture<'_, io::Result<()>>;

    /// Connects.
    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>>;
}

/// A connection to a LocalAPI.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The socket that tailscaled creates.
#[derive(Debug)]
pub struct UnixSocket(PathBuf);

impl UnixSocket {
    /// The socket at `path`, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Transport for UnixSocket {
    fn ready(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            let directory = self.0.parent().unwrap_or(Path::new("/"));
            // tailscaled binds, listens, then changes the socket's mode: each change in the folder is a reason to try again.
            let watch = Inotify::init()?;
            watch.watches().add(directory, WatchMask::CREATE | WatchMask::ATTRIB)?;
            let mut changes = watch.into_event_stream([0; 4096])?;
            loop {
                match UnixStream::connect(&self.0).await {
                    Ok(_) => return Ok(()),
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
                    Err(error) => return Err(error),
                }
                changes.next().await.transpose()?;
            }
        })
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async { Ok(Box::new(UnixStream::connect(&self.0).await?) as Box<dyn Connection>) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tokio::{net::UnixListener, time::timeout};

    use super::*;

    #[tokio::test]
    async fn a_tailscaled_that_starts_later_is_noticed() {
        let folder = std::env::temp_dir().join(format!("socket-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("socket");
        let transport = UnixSocket::new(&socket);
        let waiting = tokio::spawn(async move { transport.ready().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let _listener = UnixListener::bind(&socket).unwrap();
        timeout(Duration::from_secs(5), waiting)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
