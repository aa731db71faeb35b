//! The steps that bring a dead path back, from the mildest to the strongest.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::sleep;

use crate::localapi::{client::LocalApi, error::LocalApiError};

/// The least time between two strong steps: they disturb all connections, and WireGuard itself tries again after 5 s.
const STRONG_PAUSE: Duration = Duration::from_secs(5);
/// The least time between two mild steps.
const MILD_PAUSE: Duration = Duration::from_secs(1);
/// The same where nobody who was asked has ever answered: all of them may be off.
const GUESS_PAUSE: Duration = Duration::from_secs(30);

/// How often tailscaled is asked to switch on, and the pause in between.
const SWITCH_ON_ATTEMPTS: usize = 5;
const SWITCH_ON_PAUSE: Duration = Duration::from_millis(200);

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// New connections to the DERP servers.
    ReconnectDerp,
    /// New WireGuard sessions with all peers, and new connections to the DERP servers: tailscaled is switched off and on.
    /// There is no call that renews one session.
    RenewSessions,
}

impl Step {
    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReconnectDerp => "reconnect-derp",
            Self::RenewSessions => "renew-sessions",
        }
    }
}

/// When the last steps were taken, by the wall clock: two freezes may come close together for the monotonic one, and each
/// may kill the links.
#[derive(Debug, Default)]
pub(crate) struct StepLimiter {
    last: Mutex<[Option<SystemTime>; 2]>,
}

impl StepLimiter {
    /// Forgets the steps: they were another tailscaled's.
    pub(crate) fn reset(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
    }

    /// Whether a mild step may be taken now on the mere guess that it helps; if so, it counts as taken.
    pub(crate) fn try_acquire_guess(&self, now: SystemTime) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let may = is_over(last[0], GUESS_PAUSE, now);
        if may {
            last[0] = Some(now);
        }
        may
    }

    /// Whether `step` may be taken now; if so, it counts as taken.
    pub(crate) fn try_acquire(&self, step: Step, now: SystemTime) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let [mild, strong] = &mut *last;
        match step {
            Step::ReconnectDerp if is_over(*mild, MILD_PAUSE, now) => *mild = Some(now),
            Step::RenewSessions if is_over(*strong, STRONG_PAUSE, now) => (*mild, *strong) = (Some(now), Some(now)),
            _ => return false,
        }
        true
    }
}

/// Whether the pause since `last` is over. A clock that was set back says nothing: that counts as over.
fn is_over(last: Option<SystemTime>, pause: Duration, now: SystemTime) -> bool {
    last.and_then(|last| now.duration_since(last).ok())
        .is_none_or(|since| since >= pause)
}

/// A peer drops the first message of a session that arrives within 20 ms of another one (wireguard-go's
/// `HandshakeInitationRate`), and no other is sent for 5 s. This is how long tailscaled stays off where the message of the
/// sessions that are given up may be on its way still: it may have waited for the DERP connection.
pub(crate) const HANDSHAKE_QUIET: Duration = Duration::from_millis(25);

/// Takes `step`; tailscaled stays off for `quiet` if it is switched off. The path is a new one from then on; packets wait
/// until its connections are there.
pub(crate) async fn take(api: &LocalApi, step: Step, quiet: Duration) -> Result<(), LocalApiError> {
    match step {
        Step::ReconnectDerp => {
            api.reconnect_derp().await?;
            api.restun().await
        }
        Step::RenewSessions => {
            let api = api.clone();
            // A task of its own: a caller that goes away must not leave tailscaled switched off.
            let renewed = tokio::spawn(async move {
                detach_control(&api).await?;
                // If this one fails, it may still take effect later.
                let off = api.set_running(false).await;
                // A timer takes up to a millisecond more than it is given.
                if !quiet.is_zero() {
                    sleep(quiet).await;
                }
                switch_on(&api).await?;
                off
            });
            renewed
                .await
                .unwrap_or_else(|lost| Err(std::io::Error::other(lost).into()))
        }
    }
}

/// Switches tailscaled on, again and again if need be: nothing else would.
async fn switch_on(api: &LocalApi) -> Result<(), LocalApiError> {
    let mut attempts = 1;
    loop {
        match api.set_running(true).await {
            Err(error) if attempts < SWITCH_ON_ATTEMPTS => {
                tracing::warn!("tailscaled is switched off, and has to be asked again to switch on: {error}");
            }
            result => return result,
        }
        attempts += 1;
        sleep(SWITCH_ON_PAUSE).await;
    }
}

/// Detaches the control client without waiting for its end: a change of the preferences would wait for a lock that it may
/// hold for up to 45 s.
pub(crate) async fn detach_control(api: &LocalApi) -> Result<(), LocalApiError> {
    let stopping = api.clone();
    tokio::spawn(async move {
        if let Err(error) = stopping.disconnect_control().await {
            tracing::debug!("the old control client does not stop: {error}");
        }
    });
    // tailscaled takes its calls in order: when this one is answered, the client is detached.
    api.awake().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_spaced_out_and_a_strong_one_counts_as_a_mild_one_too() {
        let limiter = StepLimiter::default();
        let mut now = SystemTime::UNIX_EPOCH;
        assert!(limiter.try_acquire(Step::ReconnectDerp, now) && !limiter.try_acquire(Step::ReconnectDerp, now));
        assert!(limiter.try_acquire(Step::RenewSessions, now) && !limiter.try_acquire(Step::RenewSessions, now));
        now += MILD_PAUSE;
        assert!(limiter.try_acquire(Step::ReconnectDerp, now) && !limiter.try_acquire(Step::RenewSessions, now));
        now += STRONG_PAUSE - MILD_PAUSE;
        assert!(limiter.try_acquire(Step::RenewSessions, now) && !limiter.try_acquire(Step::ReconnectDerp, now));
        assert!(!limiter.try_acquire_guess(now));
        assert!(limiter.try_acquire_guess(now + GUESS_PAUSE));
    }
}
