//! Pings of a peer, and of others beside it: together they tell a dead link, a dead session and a peer that is off apart.

use std::{net::IpAddr, pin::pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    connectivity::rtt::SLACK,
    localapi::{
        client::{LocalApi, Ping},
        error::LocalApiError,
    },
};

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// An answer came through the WireGuard session.
    Proved,
    /// The peer answers, but not through the session.
    SessionSilent,
    /// Others answer, so the links are alive; the peer does not.
    PeerSilent,
    /// Nobody answers.
    Nobody,
    /// None of them can be pinged: they are not peers, or tailscaled has no path to them at all.
    NotPingable,
}

/// Who answered in a probe.
#[derive(Debug)]
pub(crate) struct Answers {
    /// What that means.
    pub(crate) found: Found,
    /// Those who answered, after which time.
    pub(crate) from: Vec<(IpAddr, Duration)>,
}

/// Pings `address` in both ways, and `witnesses` beside it. Waits for `limit` from the moment on at which tailscaled has
/// answered a simple call: how long it takes to wake up on a busy machine says nothing of the path. An answer through the
/// session may take twice as long, because a session that has to begin takes a round trip more.
pub(crate) async fn probe(
    api: &LocalApi,
    address: IpAddr,
    witnesses: &[IpAddr],
    limit: Duration,
) -> Result<Answers, LocalApiError> {
    let began = Instant::now();
    let mut session = pin!(api.ping(address, Ping::Tsmp));
    let mut session_open = true;
    let mut pings: FuturesUnordered<_> = std::iter::once(&address)
        .chain(witnesses)
        .map(|address| timed(api, *address))
        .collect();
    let mut late = pin!(async {
        api.awake().await?;
        sleep(limit).await;
        Ok::<_, LocalApiError>(())
    });
    let mut from = Vec::new();
    loop {
        select! {
            biased;
            proof = &mut session, if session_open => {
                session_open = false;
                if proof.is_ok() {
                    // It came before the other answer, so it found a session there: it took one round trip.
                    from.push((address, began.elapsed()));
                    return Ok(Answers { found: Found::Proved, from });
                }
            }
            Some((peer, answer)) = pings.next(), if !pings.is_empty() => match answer {
                Ok(took) => {
                    from.push((peer, took));
                    if peer == address {
                        break;
                    }
                }
                Err(error) => tracing::debug!("{peer} cannot be pinged: {error}"),
            },
            late = &mut late => {
                late?;
                let found = if from.is_empty() { Found::Nobody } else { Found::PeerSilent };
                return Ok(Answers { found, from });
            }
            else => return Ok(Answers { found: Found::NotPingable, from }),
        }
        if pings.is_empty() && !session_open && from.is_empty() {
            return Ok(Answers {
                found: Found::NotPingable,
                from,
            });
        }
    }
    // The peer has answered: its answer through the session is due within another round trip. (A ping that could not be sent
    // says nothing of the session.)
    let found = if !session_open || timeout(limit, answered_or_again(api, address, session)).await.is_ok() {
        Found::Proved
    } else {
        Found::SessionSilent
    };
    Ok(Answers { found, from })
}

/// Waits for the answer through the session. If it is late, it may be a packet that was lost: another ping is sent while
/// there is still time for its answer.
async fn answered_or_again(
    api: &LocalApi,
    address: IpAddr,
    first: impl Future<Output = Result<(), LocalApiError>>,
) -> Result<(), LocalApiError> {
    let again = async {
        sleep(SLACK).await;
        api.ping(address, Ping::Tsmp).await
    };
    select! {
        biased;
        answer = first => answer,
        answer = again => answer,
    }
}

async fn timed(api: &LocalApi, address: IpAddr) -> (IpAddr, Result<Duration, LocalApiError>) {
    let began = Instant::now();
    let answer = api.ping(address, Ping::Disco).await;
    (address, answer.map(|()| began.elapsed()))
}

/// How many pings to one peer are under way at a time.
const MAX_PINGS: usize = 16;
/// How long a ping is waited for: one that was lost is never answered, and must make room for another.
const PING_LIMIT: Duration = Duration::from_secs(3);
/// How many failures in a row say that a peer cannot be pinged: a few may be a moment's, in the login.
const MAX_FAILURES: usize = 4;
/// The first pause between two pings; it doubles up to the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(25), Duration::from_millis(200)];

/// Pings `address` again and again until it answers, and returns how long the answered ping took. `None`: it cannot be
/// pinged. The caller sets the limit.
///
/// A peer that does not know this machine yet ignores its pings.
pub(crate) async fn until_answered(api: &LocalApi, address: IpAddr) -> Option<Duration> {
    let mut pings = FuturesUnordered::new();
    let [mut pause, longest] = PAUSES;
    let mut failures = 0;
    loop {
        if pings.len() < MAX_PINGS {
            pings.push(timeout(PING_LIMIT, timed(api, address)));
        }
        let next = Instant::now() + pause;
        pause = (pause * 2).min(longest);
        loop {
            select! {
                Some(ended) = pings.next(), if !pings.is_empty() => match ended {
                    Ok((_, Ok(took))) => return Some(took),
                    Ok((_, Err(error))) => {
                        tracing::debug!("{address} cannot be pinged: {error}");
                        failures += 1;
                        if failures > MAX_FAILURES {
                            return None;
                        }
                    }
                    Err(_) => {}
                },
                () = sleep_until(next) => break,
            }
        }
    }
}
