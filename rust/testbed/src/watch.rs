//! What the function does beside its requests, seen from outside: registrations at the control server, and TCP flows.

use std::collections::BTreeSet;

use crate::{Error, nat, stack::TestStack};

/// What there was when it was made.
#[derive(Debug)]
pub struct Watch {
    registrations: u64,
    flows: BTreeSet<u16>,
}

impl Watch {
    /// Notes what there is now.
    pub async fn start(stack: &TestStack) -> Result<Self, Error> {
        Ok(Self {
            registrations: registrations(stack).await?,
            flows: nat::flows().await?,
        })
    }

    /// Registrations since, and TCP flows that are new.
    pub async fn seen(&self, stack: &TestStack) -> Result<(u64, usize), Error> {
        let new_flows = nat::flows().await?.difference(&self.flows).count();
        Ok((registrations(stack).await? - self.registrations, new_flows))
    }
}

async fn registrations(stack: &TestStack) -> Result<u64, Error> {
    Ok(stack.backends.control.counts("lambda-proxy").await?.registrations())
}
