//! What an environment knows of the invocation that it runs.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::JobError;
use crate::invocation::{Answer, StreamBroken};
use crate::lambda_api::calls::Delivery;

/// The invocation that an environment is busy with.
pub(super) struct Current {
    pub(super) delivery: Delivery,
    /// The caller, until it has its answer or the beginning of one.
    pub(super) reply: Option<oneshot::Sender<Result<Answer, JobError>>>,
    /// To end a streamed answer before its end.
    pub(super) stream: Option<oneshot::Sender<StreamBroken>>,
    pub(super) begun: Instant,
    pub(super) init: Option<Duration>,
    pub(super) told: bool,
}
