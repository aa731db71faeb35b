//! Lists of targets, as an owner writes them: addresses, networks and names, with or without ports.
//!
//! A target is matched as a request names it: an address by addresses and networks, a name by names. So what a name
//! resolves to decides nothing here.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;

use crate::host::{Host, is_name};

/// What an entry must be.
pub const EXPECTED: &str = "a list separated by commas of addresses, networks such as 10.1.0.0/16 (no bits set after \
                            the prefix), names, *.suffix for all names below one, or <local> for all names without a \
                            dot, each with :port or :from-to after it if need be, IPv6 in brackets before a port";
const LOCAL: &str = "<local>";

/// A list of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetList(Vec<Rule>);

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
    /// Every name without a dot, but this machine's own.
    Local,
}

impl TargetList {
    /// Reads the list; the error is the entry that cannot be understood.
    pub fn parse(list: &str) -> Result<Self, String> {
        let rule = |entry: &str| Rule::parse(entry.trim()).ok_or_else(|| entry.trim().to_owned());
        list.split(',').map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the list has the target.
    pub fn holds(&self, host: &Host, port: u16) -> bool {
        self.0.iter().any(|rule| rule.holds(host, port))
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

    fn holds(&self, host: &Host, port: u16) -> bool {
        let host = match (&self.host, host) {
            (HostRule::Network(network), Host::Address(address)) => network.contains(&address.to_canonical()),
            (HostRule::Name(name), Host::Name(asked)) => name == asked,
            (HostRule::Suffix(suffix), Host::Name(asked)) => asked.len() > suffix.len() && asked.ends_with(suffix),
            (HostRule::Local, Host::Name(asked)) => !asked.contains('.') && asked != "localhost",
            _ => false,
        };
        host && self.ports.contains(&port)
    }
}

impl HostRule {
    fn parse(host: &str) -> Option<Self> {
        if host == LOCAL {
            return Some(Self::Local);
        }
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

    fn holds(list: &str, host: &str, port: u16) -> bool {
        let host = Host::parse(host).unwrap();
        TargetList::parse(list).unwrap().holds(&host, port)
    }

    #[test]
    fn addresses_are_allowed_by_addresses_and_networks() {
        for host in ["10.1.2.3", "::ffff:10.1.2.3"] {
            assert!(holds("100.64.0.2, 10.1.0.0/16", host, 80), "{host}");
        }
        assert!(holds("fd7a:115c:a1e0::/48", "[fd7a:115c:a1e0::2]", 80));
        assert!(holds("::ffff:10.1.2.3", "10.1.2.3", 80));
        for host in ["10.2.0.1", "100.64.0.3", "fd7a:115c:a1e0::2"] {
            assert!(!holds("100.64.0.2,10.1.0.0/16", host, 80), "{host}");
        }
    }

    #[test]
    fn names_are_allowed_as_they_are_written_or_by_what_they_end_in() {
        for host in ["db", "DB.", "a.svc.net", "a.b.svc.net"] {
            assert!(holds("db,*.Svc.net", host, 80), "{host}");
        }
        for host in ["db.svc", "svc.net", "asvc.net", "x.svc.net.evil"] {
            assert!(!holds("db,*.svc.net", host, 80), "{host}");
        }
        // Not by the address that they have.
        assert!(!holds("100.64.0.0/10", "db", 80) && !holds("db", "100.64.0.2", 80));
    }

    #[test]
    fn names_without_a_dot_have_a_word_of_their_own() {
        assert!(holds("<local>", "db", 80) && holds("<local>:80", "DB", 80));
        for host in ["db.example.ts.net", "localhost", "100.64.0.1"] {
            assert!(!holds("<local>", host, 80), "{host}");
        }
        assert!(!holds("<local>:80", "db", 81));
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
            assert!(holds(list, host, port), "{host} {port}");
        }
        for (host, port) in [
            ("10.1.2.3", 80),
            ("db", 7999),
            ("db", 8101),
            ("fd7a::1", 80),
            ("fd7b::2", 99),
        ] {
            assert!(!holds(list, host, port), "{host} {port}");
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
            let error = TargetList::parse(&format!("db, {entry}")).unwrap_err();
            assert_eq!(error, entry);
        }
    }
}
