//! Pings through the tailnet: they tell whether anybody can be reached, and leave WireGuard and the targets alone.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};

use crate::local_api::{LocalApi, LocalApiError, Ping};

/// How many peers are pinged where any will do.
pub(crate) const PEERS: usize = 3;
/// How many failures are taken for a moment's.
const FAILURES: usize = 4;
/// How long the first ping may take: the daemon finds a link by itself after that.
const LINK_LIMIT: Duration = Duration::from_secs(4);

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

/// A ping through WireGuard's session with `address`, under way until the set is dropped.
pub(crate) fn through_session(api: &LocalApi, address: IpAddr) -> JoinSet<Result<(), LocalApiError>> {
    let mut ping = JoinSet::new();
    let api = api.clone();
    ping.spawn(async move { api.ping(address, Ping::Session).await });
    ping
}

/// Pings some of the peers that are there, for the link that this opens: to the DERP server where one of them is reached.
///
/// tailscaled is in the tailnet when it has such a link. By itself it first measures by STUN which DERP server is the
/// nearest, and where UDP is blocked it waits 3 s for that; its own home in the tailnet it then still finds so.
pub(crate) async fn open_link(api: LocalApi) {
    let opened = async {
        let peers: Vec<IpAddr> = api.netmap().await?.online_peers().take(PEERS).collect();
        Ok::<_, LocalApiError>(any(&api, &peers).await)
    };
    match timeout(LINK_LIMIT, opened).await {
        Ok(Ok(Some(round_trip))) => tracing::debug!("a first ping took {:.1} ms", round_trip.as_secs_f64() * 1000.0),
        Ok(Ok(None)) | Err(_) => tracing::debug!("no peer has answered a first ping"),
        Ok(Err(error)) => tracing::debug!("no peer can be pinged yet: {error}"),
    }
}

/// Sends one ping after the other, `pause` apart, waits for an answer to any of them, and returns how long it took. Only
/// some failures in a row say that `address` cannot be pinged: one may be a moment's in the daemon's login.
pub(crate) async fn until_answered(
    api: &LocalApi,
    address: IpAddr,
    pause: Duration,
) -> Result<Duration, LocalApiError> {
    let mut pings = JoinSet::new();
    let mut failures = 0;
    loop {
        let next = Instant::now() + pause;
        let api = api.clone();
        pings.spawn(async move {
            let began = Instant::now();
            api.ping(address, Ping::Path).await.map(|()| began.elapsed())
        });
        match timeout(pause, pings.join_next()).await {
            Ok(Some(Ok(Err(error)))) if failures < FAILURES => {
                tracing::debug!("a ping failed: {error}");
                failures += 1;
                sleep_until(next.into()).await;
            }
            Ok(Some(Ok(outcome))) => return outcome,
            Ok(Some(Err(error))) => tracing::error!("a ping was lost: {error}"),
            Ok(None) | Err(_) => {}
        }
    }
}
