//! A server outside the tailnet that answers as a test wants, and remembers who asked for what.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use testbed::{http_server::serve, network::ADDRESS};
use tokio::net::TcpListener;

/// One who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) from: IpAddr,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// The running server. It ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers by `answer`, which hears how many asked before.
    pub(crate) async fn start<A>(
        answer: impl Fn(usize, Request<Bytes>) -> A + Clone + Send + Sync + 'static,
    ) -> std::io::Result<Self>
    where
        A: Future<Output = Response<Bytes>> + Send + 'static,
    {
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        let address = listener.local_addr()?;
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let memory = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (answer, memory) = (answer.clone(), Arc::clone(&memory));
                let answered = move |request: Request<Bytes>| {
                    let before = {
                        let mut memory = memory.lock().unwrap();
                        memory.push(Asked {
                            from: peer.ip(),
                            path: request.uri().to_string(),
                            body: request.body().clone(),
                        });
                        memory.len() - 1
                    };
                    let answered = answer(before, request);
                    async { Ok(answered.await) }
                };
                tokio::spawn(serve(stream, answered));
            }
        });
        Ok(Self { address, asked })
    }

    /// Always says the same.
    pub(crate) async fn saying(text: &'static str) -> std::io::Result<Self> {
        Self::start(move |_, _| async move { Response::new(Bytes::from_static(text.as_bytes())) }).await
    }

    /// Who asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Where they came from.
    pub(crate) fn visitors(&self) -> Vec<IpAddr> {
        self.asked().iter().map(|asked| asked.from).collect()
    }
}
