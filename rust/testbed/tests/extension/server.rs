//! A server outside the tailnet that answers as a test wants, and remembers who asked for what.

use std::{
    future::ready,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use testbed::{http_server::serve, network::ADDRESS};
use tokio::net::TcpListener;

/// The running server. It ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<(IpAddr, String)>>>,
}

impl Server {
    pub(crate) async fn start(
        answer: impl Fn(&Request<Bytes>) -> Response<Bytes> + Clone + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let address = listener.local_addr()?;
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let memory = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (answer, memory) = (answer.clone(), Arc::clone(&memory));
                tokio::spawn(serve(stream, move |request| {
                    let path = request.uri().path().to_owned();
                    memory.lock().unwrap().push((peer.ip(), path));
                    ready(Ok(answer(&request)))
                }));
            }
        });
        Ok(Self { address, asked })
    }

    /// Always says the same.
    pub(crate) async fn saying(text: &'static str) -> std::io::Result<Self> {
        Self::start(move |_| Response::new(Bytes::from_static(text.as_bytes()))).await
    }

    /// The paths that were asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(_, path)| path.clone())
            .collect()
    }

    /// Where the requests came from.
    pub(crate) fn visitors(&self) -> Vec<IpAddr> {
        self.asked.lock().unwrap().iter().map(|(from, _)| *from).collect()
    }
}
