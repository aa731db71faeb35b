//! One local port: every connection to it leads to the same target.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::doors::{
    connections::{Limits, Serve},
    flow::{End, Thaws, carry},
    forwards::config::Forward,
    outbound::Outbound,
    target::Target,
    throttled_log::ThrottledLog,
};

/// The listener.
pub struct ForwardServer {
    listener: TcpListener,
    limits: Limits,
    forwarding: Forwarding,
}

impl ForwardServer {
    /// Listens.
    pub(crate) async fn bind(
        forward: &Forward,
        outbound: &Outbound,
        limits: &Limits,
        log: &Arc<ThrottledLog>,
        thaws: &Thaws,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, forward.local_port)).await?,
            limits: limits.clone(),
            forwarding: Forwarding {
                local_port: forward.local_port,
                target: Arc::new(forward.target.clone()),
                outbound: outbound.clone(),
                log: Arc::clone(log),
                thaws: thaws.clone(),
            },
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped, which ends the connections.
    pub(crate) async fn serve(self) {
        self.limits.accept(self.listener, self.forwarding).await;
    }
}

#[derive(Clone)]
struct Forwarding {
    local_port: u16,
    target: Arc<Target>,
    outbound: Outbound,
    log: Arc<ThrottledLog>,
    thaws: Thaws,
}

impl Serve for Forwarding {
    /// A client whose target cannot be reached is reset: it knows no other protocol in which to be told.
    async fn serve(self, client: TcpStream) {
        let Self {
            local_port,
            target,
            outbound,
            ..
        } = &self;
        let began = Instant::now();
        let upstream = match outbound.open(&target.host, target.port).await {
            Ok(upstream) => upstream,
            Err(refusal) => {
                self.log.warn(format!(
                    "no connection from local port {local_port} to {target}: {refusal}"
                ));
                return reset(&client);
            }
        };
        let opening = began.elapsed();
        let ended = match carry(client, upstream, &[], &self.thaws).await {
            Ok(End::Closed) => "closed".to_owned(),
            Ok(End::Reset) => "reset, because a freeze had killed it".to_owned(),
            Err(error) => format!("broken: {error}"),
        };
        tracing::info!(
            "local port {local_port} to {target}: opened in {} ms, {ended} after {:.1} s",
            opening.as_millis(),
            began.elapsed().as_secs_f64()
        );
    }

    async fn reject(self, client: TcpStream) {
        reset(&client);
    }
}

fn reset(client: &TcpStream) {
    if let Err(error) = client.set_zero_linger() {
        tracing::debug!("a client went away: {error}");
    }
}
