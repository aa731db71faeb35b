//! All that listens for the function's processes beside the status socket.

use std::{io, sync::Arc};

use thiserror::Error;
use tokio::task::JoinSet;

use crate::{
    doors::{
        config::DoorsConfig, connections::Limits, flow::Thaws, forwards::server::ForwardServer, outbound::Outbound,
        server::ProxyServer, throttled_log::ThrottledLog,
    },
    preflight::Preflight,
};

/// A port cannot be opened.
#[derive(Debug, Error)]
#[error("{what} cannot be opened: {source}")]
pub struct ListenError {
    /// Which.
    pub what: String,
    /// The system's error.
    pub source: io::Error,
}

/// What listens.
pub struct Doors {
    /// SOCKS5 and HTTP.
    pub server: Option<ProxyServer>,
    /// The local ports, one for each target.
    pub forwards: Vec<ForwardServer>,
    thaws: Thaws,
}

impl Doors {
    /// Opens all ports.
    pub async fn bind(config: &DoorsConfig, preflight: &Preflight) -> Result<Self, ListenError> {
        let log = Arc::<ThrottledLog>::default();
        let (limits, thaws) = (Limits::new(Arc::clone(&log)), Thaws::default());
        let outbound = Outbound::new(preflight, config.outbound);
        let server = match config.server {
            None => None,
            Some(server) => {
                let listen = server.listen;
                let bound = ProxyServer::bind(server, &outbound, &limits, &log, &thaws).await;
                Some(bound.map_err(|source| {
                    let what = format!("the proxy on {listen}");
                    ListenError { what, source }
                })?)
            }
        };
        let mut forwards = Vec::new();
        for forward in &config.forwards {
            let bound = ForwardServer::bind(forward, &outbound, &limits, &log, &thaws).await;
            forwards.push(bound.map_err(|source| {
                let what = format!("the local port {} for {}", forward.local_port, forward.target);
                ListenError { what, source }
            })?);
        }
        Ok(Self {
            server,
            forwards,
            thaws,
        })
    }

    /// Where thaws are announced.
    pub fn thaws(&self) -> Thaws {
        self.thaws.clone()
    }

    /// Serves until it is dropped, which ends the connections.
    pub async fn serve(self) {
        let mut serving = JoinSet::new();
        if let Some(server) = self.server {
            serving.spawn(server.serve());
        }
        for forward in self.forwards {
            serving.spawn(forward.serve());
        }
        while serving.join_next().await.is_some() {}
        // Nothing listens: there is nothing that could end.
        std::future::pending().await
    }
}
