//! How often it was asked to do what disturbs connections or the control server.

use std::ops::Sub;

/// What its LocalAPI was asked to do, in all lives.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// `break-derp-conns`.
    pub(crate) derp_reconnects: usize,
    /// Switched off, and on again.
    pub(crate) renewals: usize,
    /// Control clients that were detached.
    pub(crate) disconnects: usize,
    /// Registrations with the auth key.
    pub(crate) logins: usize,
    /// Registrations by the node key.
    pub(crate) registrations: usize,
    /// Log-outs that the control server heard of.
    pub(crate) log_outs: usize,
}

impl Counts {
    /// Nothing was done.
    pub(crate) const NONE: Self = Self {
        derp_reconnects: 0,
        renewals: 0,
        disconnects: 0,
        logins: 0,
        registrations: 0,
        log_outs: 0,
    };
    /// The DERP connections were made anew, and the control client after them.
    pub(crate) const MILD_STEP: Self = Self {
        derp_reconnects: 1,
        registrations: 1,
        ..Self::NONE
    };
    /// The WireGuard sessions were renewed while no control client was attached.
    pub(crate) const STRONG_STEP: Self = Self {
        renewals: 1,
        disconnects: 1,
        registrations: 1,
        ..Self::NONE
    };
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            derp_reconnects: self.derp_reconnects - before.derp_reconnects,
            renewals: self.renewals - before.renewals,
            disconnects: self.disconnects - before.disconnects,
            logins: self.logins - before.logins,
            registrations: self.registrations - before.registrations,
            log_outs: self.log_outs - before.log_outs,
        }
    }
}
