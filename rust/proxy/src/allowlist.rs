//! The targets that the function's owner allows: `TS_ALLOWED_TARGETS`. It narrows what the tailnet's guard lets
//! through, and never widens it.
//!
//! A target is matched as the caller wrote it: an address by addresses and networks, a name by names. So what a name
//! resolves to decides nothing here, and a name that nobody allowed is not even looked up.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;

use crate::{
    error::ProxyError,
    target::{Host, Target, is_name},
};

/// What an entry must be.
pub const EXPECTED: &str = "a list separated by commas of addresses, networks such as 10.1.0.0/16 (no bits set after \
                            the prefix), names, or *.suffix for all names below one, each with :port or :from-to \
                            after it if need be, IPv6 in brackets before a port";

/// The allowed targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowlist(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    host: HostRule,
    ports: RangeInclusive<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostRule {
    Network(IpNet),
    Name(String),
    /// With its leading dot.
    Suffix(String),
}

impl Allowlist {
    /// Reads the list; the error is the entry that cannot be understood.
    pub fn parse(list: &str) -> Result<Self, String> {
        let rule = |entry: &str| Rule::parse(entry.trim()).ok_or_else(|| entry.trim().to_owned());
        list.split(',').map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `target` is in the list; the error is for the caller.
    pub fn check(&self, target: &Target) -> Result<(), ProxyError> {
        if self.0.iter().any(|rule| rule.allows(target)) {
            return Ok(());
        }
        Err(ProxyError::TargetNotAllowed(format!(
            "{target} is not among the targets that this proxy allows (TS_ALLOWED_TARGETS)"
        )))
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        let (host, ports) = split(entry)?;
        Some(Self {
            host: HostRule::parse(host)?,
            ports,
        })
    }

    fn allows(&self, target: &Target) -> bool {
        let host = match (&self.host, &target.host) {
            (HostRule::Network(network), Host::Address(address)) => network.contains(&address.to_canonical()),
            (HostRule::Name(name), Host::Name(asked)) => name == asked,
            (HostRule::Suffix(suffix), Host::Name(asked)) => asked.len() > suffix.len() && asked.ends_with(suffix),
            _ => false,
        };
        host && self.ports.contains(&target.port)
    }
}

impl HostRule {
    fn parse(host: &str) -> Option<Self> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Network(address.to_canonical().into()));
        }
        if let Ok(network) = host.parse::<IpNet>() {
            return (network.trunc() == network).then_some(Self::Network(network));
        }
        let name = |text: &str| is_name(text).then(|| text.trim_end_matches('.').to_ascii_lowercase());
        match host.strip_prefix("*.") {
            Some(suffix) => name(suffix).map(|suffix| Self::Suffix(format!(".{suffix}"))),
            None => name(host).map(Self::Name),
        }
    }
}

/// Parts the host from its ports, which are all where none are given.
fn split(entry: &str) -> Option<(&str, RangeInclusive<u16>)> {
    let (host, rest) = match entry.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (host.contains(':').then_some(host)?, rest)
        }
        // More than one colon is IPv6 without a port.
        None if entry.matches(':').count() == 1 => entry.split_at(entry.find(':')?),
        None => (entry, ""),
    };
    if rest.is_empty() {
        return Some((host, 1..=u16::MAX));
    }
    let ports = rest.strip_prefix(':')?;
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    let (from, to) = (port(from)?, port(to)?);
    (from <= to).then_some((host, from..=to))
}

fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::event::Headers;

    fn allows(list: &str, host: &str, port: u16) -> bool {
        let headers = [("ts-target-ip", host.to_owned()), ("ts-target-port", port.to_string())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let target = Target::parse(&Headers(headers)).unwrap();
        Allowlist::parse(list).unwrap().check(&target).is_ok()
    }

    #[test]
    fn addresses_are_allowed_by_addresses_and_networks() {
        for host in ["10.1.2.3", "::ffff:10.1.2.3"] {
            assert!(allows("100.64.0.2, 10.1.0.0/16", host, 80), "{host}");
        }
        assert!(allows("fd7a:115c:a1e0::/48", "[fd7a:115c:a1e0::2]", 80));
        assert!(allows("::ffff:10.1.2.3", "10.1.2.3", 80));
        for host in ["10.2.0.1", "100.64.0.3", "fd7a:115c:a1e0::2"] {
            assert!(!allows("100.64.0.2,10.1.0.0/16", host, 80), "{host}");
        }
    }

    #[test]
    fn names_are_allowed_as_they_are_written_or_by_what_they_end_in() {
        for host in ["db", "DB.", "a.svc.net", "a.b.svc.net"] {
            assert!(allows("db,*.Svc.net", host, 80), "{host}");
        }
        for host in ["db.svc", "svc.net", "asvc.net", "x.svc.net.evil"] {
            assert!(!allows("db,*.svc.net", host, 80), "{host}");
        }
        // Not by the address that they have.
        assert!(!allows("100.64.0.0/10", "db", 80) && !allows("db", "100.64.0.2", 80));
    }

    #[test]
    fn ports_narrow_an_entry() {
        let list = "10.1.0.0/16:443, db:8000-8100, [fd7a::1]:5432, [fd7a::/64]:1-9, fd7b::1";
        for (host, port) in [
            ("10.1.2.3", 443),
            ("db", 8000),
            ("db", 8100),
            ("fd7a::1", 5432),
            ("fd7a::2", 9),
            ("fd7b::1", 99),
        ] {
            assert!(allows(list, host, port), "{host} {port}");
        }
        for (host, port) in [
            ("10.1.2.3", 80),
            ("db", 7999),
            ("db", 8101),
            ("fd7a::1", 80),
            ("fd7b::2", 99),
        ] {
            assert!(!allows(list, host, port), "{host} {port}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_returned() {
        for entry in [
            "",
            "*",
            "*.",
            "a b",
            "10.1.2.3/16",
            "10.0.0.0/33",
            "db:",
            "db:0",
            "db:x",
            "db:9-8",
            "db:+1",
            "[db]:80",
            "[fd7a::1]80",
            "[fd7a::1",
            "10.1",
            "0x7f.1",
            "http://db",
            "a.*.b",
        ] {
            let error = Allowlist::parse(&format!("db, {entry}")).unwrap_err();
            assert_eq!(error, entry);
        }
    }
}
