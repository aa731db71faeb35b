//! Selects the exit node: pings it, then routes through it all that no peer and no route covers.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use crate::localapi::{
    client::{LocalApi, Ping},
    netmap::Netmap,
};

/// How long one selection may take, whatever the ping settings: INIT has 10 s for everything.
const LIMIT: Duration = Duration::from_secs(4);

/// The exit node that was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitNode {
    /// Its address in the tailnet, or its name, short or full.
    pub node: String,
    /// Nothing may leave while it cannot be used.
    pub required: bool,
    /// How long one ping may take.
    pub ping_timeout: Duration,
    /// How many pings are sent before it counts as unreachable.
    pub pings: u32,
}

impl ExitNode {
    /// Pings the node, and has tailscaled use it once it has answered. Returns its stable ID, or why it cannot be used.
    pub async fn select(&self, api: &LocalApi, netmap: &watch::Receiver<Netmap>) -> Result<String, String> {
        match timeout(LIMIT, self.ping_and_use(api, netmap)).await {
            Ok(result) => result,
            Err(_) => Err(format!("it did not answer within {} s", LIMIT.as_secs())),
        }
    }

    async fn ping_and_use(&self, api: &LocalApi, netmap: &watch::Receiver<Netmap>) -> Result<String, String> {
        let (id, address) = netmap.borrow().exit_candidate(&self.node)?;
        let mut last = String::new();
        for _ in 0..self.pings {
            match timeout(self.ping_timeout, api.ping(address, Ping::Disco)).await {
                Ok(Ok(())) => {
                    api.use_exit_node(&id).await.map_err(|error| error.to_string())?;
                    return Ok(id);
                }
                Ok(Err(error)) => last = format!(" ({error})"),
                Err(_) => {}
            }
        }
        let (pings, ms) = (self.pings, self.ping_timeout.as_millis());
        Err(format!("it answered none of {pings} pings of {ms} ms{last}"))
    }
}
