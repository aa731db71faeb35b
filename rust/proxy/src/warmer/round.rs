//! One round: so many warm-ups at once, and what became of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use crate::warm_up::{LONGEST_HOLD, Warm, WarmUp};
use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use thiserror::Error;

use super::Invoker;

/// How long the first warm-up keeps its environment busy for the others to arrive: their connections are opened side by
/// side, on the share of a core that little memory buys.
const TOGETHER: Duration = Duration::from_millis(500);
/// What each of them adds to that.
const EACH: Duration = Duration::from_millis(10);

/// What became of the warm-ups of a round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// How many there were.
    pub invocations: usize,
    /// The environments that answered.
    pub environments: BTreeSet<String>,
    /// How many of those had to be started.
    pub new: usize,
    /// Why environments are not in the tailnet, and how many each reason keeps out.
    pub troubles: BTreeMap<String, usize>,
    /// Why warm-ups failed, and how many each reason failed.
    pub failures: BTreeMap<String, usize>,
}

/// Warm-ups failed. Who deployed the warmer must mend it, where the reason is not a passing one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{failed} of {invocations} warm-ups failed: {reasons}")]
pub struct WarmUpFailed {
    failed: usize,
    invocations: usize,
    reasons: String,
}

/// Sends `invocations` warm-ups at once, and waits for all answers.
pub async fn round(invoker: &Invoker, invocations: usize) -> Round {
    let warm_up = WarmUp::until(SystemTime::now() + hold(invocations));
    Round::of(join_all((0..invocations).map(|_| invoker.invoke(warm_up))).await)
}

/// How long the environments stay busy, so that each warm-up meets another one. A single one meets nobody.
fn hold(invocations: usize) -> Duration {
    let others = u32::try_from(invocations.saturating_sub(1)).unwrap_or(u32::MAX);
    if others == 0 {
        Duration::ZERO
    } else {
        (TOGETHER + EACH * others).min(LONGEST_HOLD / 2)
    }
}

impl Round {
    fn of(answers: Vec<Result<Warm, String>>) -> Self {
        let mut round = Self {
            invocations: answers.len(),
            ..Self::default()
        };
        for answer in answers {
            match answer {
                Ok(warm) => round.add(warm),
                Err(reason) => *round.failures.entry(reason).or_default() += 1,
            }
        }
        round
    }

    fn add(&mut self, warm: Warm) {
        self.environments.insert(warm.environment);
        self.new += usize::from(warm.new);
        if let Some(trouble) = warm.trouble {
            *self.troubles.entry(trouble).or_default() += 1;
        }
    }

    /// Tells the log.
    ///
    /// # Errors
    /// [`WarmUpFailed`], so that the failures show in the warmer's own metrics.
    pub fn report(&self) -> Result<(), WarmUpFailed> {
        let (warm, wanted, new) = (self.environments.len(), self.invocations, self.new);
        let failed: usize = self.failures.values().sum();
        tracing::info!("{warm} of {wanted} environments are warm, {new} of them new");
        for (trouble, count) in &self.troubles {
            tracing::warn!("{count} of {warm} cannot use the tailnet: {trouble}");
        }
        // Not a failure: the warm-ups were too far apart once, and the next round may do better.
        if warm + failed < wanted {
            tracing::warn!("some warm-ups came when another one was over already, and met its environment");
        }
        if failed == 0 {
            return Ok(());
        }
        let reasons: Vec<String> = self
            .failures
            .iter()
            .map(|(reason, count)| format!("{count} by {reason}"))
            .collect();
        Err(WarmUpFailed {
            failed,
            invocations: self.invocations,
            reasons: reasons.join("; "),
        })
    }
}

/// For Lambda: the warmer's own invocation fails.
impl From<WarmUpFailed> for Diagnostic {
    fn from(error: WarmUpFailed) -> Self {
        Self {
            error_type: "WarmUpFailed".to_owned(),
            error_message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn warm(environment: &str, new: bool, trouble: Option<&str>) -> Result<Warm, String> {
        Ok(Warm {
            environment: environment.to_owned(),
            new,
            trouble: trouble.map(str::to_owned),
        })
    }

    #[test]
    fn environments_are_counted_once_each() {
        let round = Round::of(vec![
            warm("a", true, None),
            warm("b", false, Some("no key")),
            warm("a", false, None),
        ]);
        assert_eq!(
            (round.environments.len(), round.new, round.troubles["no key"]),
            (2, 1, 1)
        );
        assert_eq!(round.report(), Ok(()));
    }

    #[test]
    fn failures_are_told_by_reason() {
        let refused = || Err("AccessDeniedException".to_owned());
        let round = Round::of(vec![refused(), warm("a", false, None), refused()]);
        let message = round.report().unwrap_err().to_string();
        assert_eq!(message, "2 of 3 warm-ups failed: 2 by AccessDeniedException");
    }

    #[test]
    fn environments_are_held_for_others_alone_and_never_beyond_what_the_proxy_allows() {
        assert_eq!(hold(1), Duration::ZERO);
        assert_eq!(hold(3), Duration::from_millis(520));
        assert!(hold(100) > hold(10) && hold(100) < LONGEST_HOLD);
    }
}
