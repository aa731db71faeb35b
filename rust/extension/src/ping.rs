//! Pings through the tailnet: they tell whether anybody can be reached, and leave WireGuard and the targets alone.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};

use crate::local_api::{LocalApi, LocalApiError, Ping};

/// Pings all of `addresses` at once, and returns how long the first answer took; `None` if none can be pinged. The
/// daemon waits long for an answer: the caller sets the limit.
pub(crate) async fn any(api: &LocalApi, addresses: &[IpAddr]) -> Option<Duration> {
    let mut pings = JoinSet::new();
    for address in addresses.iter().copied() {
        let api = api.clone();
        pings.spawn(async move {
            let began = Instant::now();
            api.ping(address, Ping::Path).await.map(|()| began.elapsed())
        });
    }
    while let Some(ping) = pings.join_next().await {
        match ping {
            Ok(Ok(round_trip)) => return Some(round_trip),
            Ok(Err(error)) => tracing::debug!("a ping failed: {error}"),
            Err(error) => tracing::error!("a ping was lost: {error}"),
        }
    }
    None
}

/// Sends one ping after the other, `pause` apart, waits for an answer to any of them, and returns how long it took.
pub(crate) async fn until_answered(
    api: &LocalApi,
    address: IpAddr,
    pause: Duration,
) -> Result<Duration, LocalApiError> {
    let mut pings = JoinSet::new();
    loop {
        let api = api.clone();
        pings.spawn(async move {
            let began = Instant::now();
            api.ping(address, Ping::Path).await.map(|()| began.elapsed())
        });
        match timeout(pause, pings.join_next()).await {
            Ok(Some(Ok(outcome))) => return outcome,
            Ok(Some(Err(error))) => tracing::error!("a ping was lost: {error}"),
            Ok(None) | Err(_) => {}
        }
    }
}
