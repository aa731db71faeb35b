//! Which of a host's addresses may be dialled.

use std::net::IpAddr;

use crate::netmap::{Netmap, Uncovered};

/// What was found under a host.
#[derive(Debug)]
pub(crate) struct Found {
    /// What may be dialled; not empty.
    pub(crate) addresses: Vec<IpAddr>,
    /// The tailnet covers these addresses.
    pub(crate) covered: bool,
    /// The function's own addresses in the tailnet, one of which a connection must come from; `None` if it may leave by the
    /// function's own network.
    pub(crate) sources: Option<Vec<IpAddr>>,
}

impl Found {
    /// Of a host's addresses, those that the tailnet covers; if there are none, the others where they may be dialled; and if
    /// they may not, why the first may not.
    pub(crate) fn among(candidates: &[IpAddr], netmap: &Netmap, uncovered: Uncovered) -> Result<Self, String> {
        let (addresses, covered) = match permitted(candidates, netmap, Uncovered::Refuse) {
            Ok(addresses) => (addresses, true),
            Err(reason) if uncovered == Uncovered::Refuse => return Err(reason),
            Err(_) => (permitted(candidates, netmap, uncovered)?, false),
        };
        Ok(Self {
            addresses,
            covered,
            sources: (uncovered == Uncovered::Refuse).then(|| netmap.own_addresses().to_vec()),
        })
    }
}

fn permitted(candidates: &[IpAddr], netmap: &Netmap, uncovered: Uncovered) -> Result<Vec<IpAddr>, String> {
    let mut refusal = None;
    let mut addresses = Vec::new();
    for address in candidates {
        match netmap.check(*address, uncovered) {
            Ok(()) => addresses.push(address.to_canonical()),
            Err(reason) => refusal = refusal.or(Some(reason)),
        }
    }
    match refusal {
        Some(reason) if addresses.is_empty() => Err(reason),
        _ => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(candidates: &[&str], uncovered: Uncovered) -> Result<(Vec<String>, bool), String> {
        let netmap = br#"{"TailscaleIPs":["100.64.0.1"],"Peer":{"nodekey:a":{"AllowedIPs":["100.64.0.2/32"]}}}"#;
        let candidates: Vec<IpAddr> = candidates.iter().map(|address| address.parse().unwrap()).collect();
        Found::among(&candidates, &Netmap::parse(netmap).unwrap(), uncovered)
            .map(|found| (found.addresses.iter().map(IpAddr::to_string).collect(), found.covered))
    }

    #[test]
    fn what_the_tailnet_covers_comes_before_what_may_leave_by_another_way() {
        let (inside, outside) = ("100.64.0.2", "203.0.113.7");
        for uncovered in [Uncovered::Refuse, Uncovered::Allow] {
            assert_eq!(
                found(&[outside, inside], uncovered),
                Ok((vec![inside.to_owned()], true))
            );
            assert!(
                found(&["127.0.0.1", "100.64.0.1"], uncovered)
                    .unwrap_err()
                    .contains("loopback")
            );
        }
        let alone = found(&["127.0.0.1", outside], Uncovered::Allow);
        assert_eq!(alone, Ok((vec![outside.to_owned()], false)));
        assert!(
            found(&[outside], Uncovered::Refuse)
                .unwrap_err()
                .contains("not in the tailnet")
        );
    }
}
