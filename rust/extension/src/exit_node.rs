//! The exit node: through which machine of the tailnet all else leaves, once it has answered.

use std::{net::IpAddr, time::Duration};

use tokio::time::timeout;

use crate::local_api::{LocalApi, LocalApiError, Ping};

/// How long the choice may take in all, whatever the settings of a ping: INIT has 10 s for everything.
const LIMIT: Duration = Duration::from_secs(4);

/// The exit node that was asked for, and how to find out whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitNode {
    /// Its address in the tailnet, or its name, short or full.
    pub node: String,
    /// Nothing may leave while it cannot be reached.
    pub required: bool,
    /// How long one ping may take.
    pub ping_timeout: Duration,
    /// How often it is pinged before it is given up.
    pub pings: u32,
}

/// A machine that offers to be an exit node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its stable id, as the daemon's settings name it.
    pub id: String,
    /// Where it is pinged.
    pub address: IpAddr,
}

impl ExitNode {
    /// Pings the node, and has the daemon use it once it answered. Says why it cannot be used, if so.
    pub async fn take(&self, api: &LocalApi) -> Result<(), String> {
        match timeout(LIMIT, self.find_and_use(api)).await {
            Ok(result) => result,
            Err(_) => Err(format!("it did not answer within {} s", LIMIT.as_secs())),
        }
    }

    async fn find_and_use(&self, api: &LocalApi) -> Result<(), String> {
        let words = |error: LocalApiError| error.to_string();
        let candidate = api.netmap().await.map_err(words)?.exit_candidate(&self.node)?;
        self.ping(api, candidate.address).await?;
        api.use_exit_node(&candidate.id).await.map_err(words)
    }

    async fn ping(&self, api: &LocalApi, address: IpAddr) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..self.pings {
            match timeout(self.ping_timeout, api.ping(address, Ping::Path)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = format!(" ({error})"),
                Err(_) => {}
            }
        }
        let (pings, ms) = (self.pings, self.ping_timeout.as_millis());
        Err(format!("it answered none of {pings} pings of {ms} ms{last}"))
    }
}
