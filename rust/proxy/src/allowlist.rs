//! The targets that the function's owner allows: `TS_ALLOWED_TARGETS`. It narrows what the tailnet's guard lets
//! through, and never widens it. A name that nobody allowed is not even looked up.

use tailnet::target_list::TargetList;

use crate::{error::ProxyError, target::Target};

/// The allowed targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowlist(TargetList);

impl Allowlist {
    /// Reads the list; the error is the entry that cannot be understood.
    pub fn parse(list: &str) -> Result<Self, String> {
        TargetList::parse(list).map(Self)
    }

    /// Whether `target` is in the list; the error is for the caller.
    pub fn check(&self, target: &Target) -> Result<(), ProxyError> {
        if self.0.holds(&target.host, target.port) {
            return Ok(());
        }
        Err(ProxyError::TargetNotAllowed(format!(
            "{target} is not among the targets that this proxy allows (TS_ALLOWED_TARGETS)"
        )))
    }
}
