//! Where the function stands with the tailnet.

use std::time::{Duration, SystemTime};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::trouble::Trouble;

/// Where the function stands with the tailnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// On its way up.
    Starting {
        /// What makes it take longer than it should, if something does.
        note: Option<String>,
    },
    /// In the tailnet.
    Up {
        /// Since when.
        since: Instant,
        /// The same by the wall clock, which goes on in a freeze.
        at: SystemTime,
    },
    /// Not in the tailnet, and waiting will not change it soon.
    Down(Trouble),
}

impl Phase {
    /// Whether it is the login of `since` that holds.
    pub(crate) fn is_up_since(&self, since: Instant) -> bool {
        matches!(self, Self::Up { since: own, .. } if *own == since)
    }

    /// Why there is no tailnet in this phase, for a caller.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Up { .. } => None,
            Self::Down(trouble) => Some(trouble.to_string()),
            Self::Starting { note: None } => Some("the login to the tailnet is still under way".to_owned()),
            Self::Starting { note: Some(note) } => Some(note.clone()),
        }
    }
}

/// Waits while the tailnet is on its way up, for `limit` at most, and says where it stands then.
pub async fn settled(phase: &mut watch::Receiver<Phase>, limit: Duration) -> Phase {
    // Either end of the wait is fine: the phase that is current then is the answer.
    let _ = timeout(limit, phase.wait_for(|phase| !matches!(phase, Phase::Starting { .. }))).await;
    phase.borrow().clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STARTING: Phase = Phase::Starting { note: None };

    #[tokio::test]
    async fn the_wait_for_a_slow_tailnet_ends_at_its_limit() {
        tokio::time::pause();
        let (_phases, mut phase) = watch::channel(STARTING);
        assert_eq!(settled(&mut phase, Duration::from_secs(8)).await, STARTING);
    }

    #[tokio::test]
    async fn the_wait_ends_when_the_tailnet_is_up() {
        let (phases, mut phase) = watch::channel(STARTING);
        let waiting = tokio::spawn(async move { settled(&mut phase, Duration::from_secs(8)).await });
        let up = Phase::Up {
            since: Instant::now(),
            at: SystemTime::now(),
        };
        phases.send_replace(up.clone());
        assert_eq!(waiting.await.unwrap(), up);
    }

    #[tokio::test]
    async fn a_known_trouble_is_told_at_once() {
        let down = Phase::Down(Trouble::NeedsApproval);
        let (_phases, mut phase) = watch::channel(down.clone());
        assert_eq!(settled(&mut phase, Duration::from_secs(3600)).await, down);
    }
}
