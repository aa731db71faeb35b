//! Where a request wants to go: `ts-target-ip`, `ts-target-port`, `ts-https`.

use std::{collections::HashSet, fmt, net::Ipv6Addr};

use http::uri::Authority;
use tailnet::host::{Host, ends_in_a_number, is_name};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{error::ProxyError, event::Headers};

/// A target, as the caller named it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its address or name.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The name that its certificate must be for, where TLS is spoken to it.
    pub tls: Option<ServerName<'static>>,
}

impl Target {
    /// Reads the target from the request's headers.
    pub fn parse(headers: &Headers) -> Result<Self, ProxyError> {
        refuse_repeated(headers)?;
        let host = required(
            headers,
            "ts-target-ip",
            "an IPv4 address, an IPv6 address or a MagicDNS name",
        )?;
        let port = required(headers, "ts-target-port", "a port from 1 to 65535")?;
        let port = parse_port(port)?;
        let https = match headers.get("ts-https") {
            None => port == 443,
            Some("true") => true,
            Some("false") => false,
            Some(value) => return Err(invalid("ts-https", value, "true or false")),
        };
        let host = parse_host(host)?;
        let ts_host = headers.get("ts-host").map(parse_ts_host).transpose()?;
        let tls = if https {
            Some(server_name(&host, ts_host.as_ref())?)
        } else {
            None
        };
        Ok(Self { host, port, tls })
    }

    /// The value of the `host` header: the port is left out where it is the scheme's own (RFC 9110 section 7.2).
    pub fn authority(&self) -> String {
        let default = if self.tls.is_some() { 443 } else { 80 };
        if self.port == default {
            self.host.to_string()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An event of the service's has each name once; one of another invoker's may not, and then what is checked might not be
/// what is sent (RFC 9112 section 3.2 on `host`).
fn refuse_repeated(headers: &Headers) -> Result<(), ProxyError> {
    let mut seen = HashSet::new();
    let is_own = |name: &&String| name.get(..3).is_some_and(|prefix| prefix.eq_ignore_ascii_case("ts-"));
    let own = headers.0.iter().map(|(name, _)| name).filter(is_own);
    match own
        .map(|name| name.to_ascii_lowercase())
        .find(|name| !seen.insert(name.clone()))
    {
        None => Ok(()),
        Some(name) => Err(ProxyError::InvalidRequest(format!(
            "the header {} is in the event more than once: it must be there once at most",
            name.escape_default()
        ))),
    }
}

fn required<'a>(headers: &'a Headers, name: &str, what: &str) -> Result<&'a str, ProxyError> {
    let value = headers.get(name).map(str::trim).filter(|value| !value.is_empty());
    value.ok_or_else(|| ProxyError::InvalidRequest(format!("the header {name} is missing: it must be {what}")))
}

fn invalid(name: &str, value: &str, what: &str) -> ProxyError {
    ProxyError::InvalidRequest(format!(
        "the header {name} is '{}': it must be {what}",
        value.escape_default()
    ))
}

fn parse_port(value: &str) -> Result<u16, ProxyError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(invalid("ts-target-port", value, "a port from 1 to 65535")),
    }
}

fn parse_host(value: &str) -> Result<Host, ProxyError> {
    let bracketed = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = bracketed {
        return inner
            .parse::<Ipv6Addr>()
            .map(|address| Host::Address(address.into()))
            .map_err(|_| invalid("ts-target-ip", value, "an IPv6 address where it has brackets"));
    }
    if let Ok(address) = value.parse() {
        return Ok(Host::Address(address));
    }
    if ends_in_a_number(value) {
        // `127.1`, `2130706433`, `0x7f.0.0.1`: old resolvers take them for addresses, and so hide where they lead.
        return Err(ProxyError::TargetNotAllowed(format!(
            "the header ts-target-ip is '{}': write an IPv4 address as four decimal numbers",
            value.escape_default()
        )));
    }
    if is_name(value) {
        return Ok(Host::Name(value.trim_end_matches('.').to_ascii_lowercase()));
    }
    Err(invalid(
        "ts-target-ip",
        value,
        "an IPv4 address, an IPv6 address or a MagicDNS name",
    ))
}

/// The host to ask for (RFC 9110 section 7.2). The value is not shown: what is no host may hold a password.
fn parse_ts_host(value: &str) -> Result<Authority, ProxyError> {
    let authority = value.trim().parse::<Authority>().ok();
    let legal = |authority: &Authority| {
        let port = authority.as_str().len() - authority.host().len();
        let bracketed = authority
            .host()
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        // A list (`a,b`) is how the service joins a header that came twice.
        !authority.host().is_empty()
            && !authority.as_str().contains(['@', ','])
            && bracketed.is_none_or(|inner| inner.parse::<Ipv6Addr>().is_ok())
            && (port == 0 || authority.port_u16().is_some())
    };
    authority.filter(legal).ok_or_else(bad_ts_host)
}

fn bad_ts_host() -> ProxyError {
    ProxyError::InvalidRequest(
        "the header ts-host must be one host name or address, with or without a port, and nothing else".to_owned(),
    )
}

/// The name to verify: the host that the request is for, else the target itself.
fn server_name(host: &Host, ts_host: Option<&Authority>) -> Result<ServerName<'static>, ProxyError> {
    let Some(ts_host) = ts_host else {
        return match host {
            Host::Address(address) => Ok(ServerName::from(*address)),
            Host::Name(name) => {
                let expected = "a name that a certificate can be for";
                ServerName::try_from(name.clone()).map_err(|_| invalid("ts-target-ip", name, expected))
            }
        };
    };
    let name = ts_host.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(name).map_err(|_| bad_ts_host())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn target(pairs: &[(&str, &str)]) -> Result<Target, ProxyError> {
        Target::parse(&Headers(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        ))
    }

    fn host(value: &str) -> Result<Host, ProxyError> {
        target(&[("ts-target-ip", value), ("ts-target-port", "80")]).map(|target| target.host)
    }

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!(
            host("100.64.0.2").unwrap(),
            Host::Address("100.64.0.2".parse().unwrap())
        );
        for value in ["fd7a:115c:a1e0::2", "[fd7a:115c:a1e0::2]"] {
            assert_eq!(
                host(value).unwrap(),
                Host::Address("fd7a:115c:a1e0::2".parse().unwrap())
            );
        }
        for value in ["db", "DB", "db.", "my_db-1.tail.ts.net"] {
            assert_eq!(
                host(value).unwrap(),
                Host::Name(value.trim_end_matches('.').to_lowercase())
            );
        }
    }

    #[test]
    fn odd_spellings_of_an_address_are_refused() {
        for value in [
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "1.2.3.256",
        ] {
            assert!(
                matches!(host(value), Err(ProxyError::TargetNotAllowed(_))),
                "{value}: {:?}",
                host(value)
            );
        }
    }

    #[test]
    fn what_is_neither_address_nor_name_is_invalid() {
        for value in [
            "a b",
            "a..b",
            "http://x",
            "[1.2.3.4]",
            "fe80::1%eth0",
            "x:80",
            "bücher",
            &"a".repeat(64),
        ] {
            assert!(
                matches!(host(value), Err(ProxyError::InvalidRequest(_))),
                "{value}: {:?}",
                host(value)
            );
        }
    }

    #[test]
    fn ports_are_strict() {
        for port in ["0", "65536", "-1", "+80", "8o", "80.0"] {
            let error = target(&[("ts-target-ip", "db"), ("ts-target-port", port)])
                .unwrap_err()
                .to_string();
            assert!(error.contains("ts-target-port") && error.contains(port), "{error}");
        }
    }

    #[test]
    fn a_missing_header_is_named() {
        let error = target(&[("ts-target-port", "80")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the header ts-target-ip is missing: it must be an IPv4 address, an IPv6 address or a MagicDNS name"
        );
        assert!(
            target(&[("ts-target-ip", "db")])
                .unwrap_err()
                .to_string()
                .contains("ts-target-port is missing")
        );
    }

    #[test]
    fn a_header_of_the_proxys_own_that_comes_twice_is_refused_and_named() {
        for (name, other) in [
            ("ts-target-ip", "TS-Target-IP"),
            ("ts-host", "ts-host"),
            ("ts-https", "Ts-Https"),
        ] {
            let pairs = [
                ("ts-target-ip", "db"),
                ("ts-target-port", "80"),
                (name, "false"),
                (other, "false"),
            ];
            let error = target(&pairs).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("more than once"), "{error}");
        }
        let others = [
            ("ts-target-ip", "db"),
            ("ts-target-port", "80"),
            ("x-a", "1"),
            ("X-A", "2"),
        ];
        assert!(target(&others).is_ok());
    }

    #[test]
    fn https_is_the_default_on_port_443_only() {
        let https = |more: &[(&str, &str)]| {
            target(&[&[("ts-target-ip", "db")], more].concat()).map(|target| (target.tls.is_some(), target.authority()))
        };
        assert_eq!(https(&[("ts-target-port", "443")]).unwrap(), (true, "db".into()));
        assert_eq!(https(&[("ts-target-port", "8443")]).unwrap(), (false, "db:8443".into()));
        assert_eq!(
            https(&[("ts-target-port", "443"), ("ts-https", "false")]).unwrap(),
            (false, "db:443".into())
        );
        assert_eq!(
            https(&[("ts-target-port", "80"), ("ts-https", "true")]).unwrap(),
            (true, "db:80".into())
        );
        assert!(https(&[("ts-target-port", "80"), ("ts-https", "yes")]).is_err());
    }

    #[test]
    fn the_certificate_must_be_for_the_host_that_is_asked_for() {
        let name = |more: &[(&str, &str)]| {
            let pairs = [&[("ts-target-ip", "100.64.0.2"), ("ts-target-port", "443")], more].concat();
            target(&pairs).map(|target| target.tls.map(|name| name.to_str().into_owned()))
        };
        assert_eq!(name(&[]).unwrap().as_deref(), Some("100.64.0.2"));
        assert_eq!(
            name(&[("ts-host", "db.example.com:8443")]).unwrap().as_deref(),
            Some("db.example.com")
        );
        assert_eq!(name(&[("ts-host", "[fd7a::2]:1")]).unwrap().as_deref(), Some("fd7a::2"));
        assert_eq!(name(&[("ts-https", "false")]).unwrap(), None);
        assert!(name(&[("ts-host", "a b")]).is_err());
    }

    #[test]
    fn the_host_to_ask_for_is_one_host_whatever_the_scheme() {
        for https in ["true", "false"] {
            let with = |host: &str| {
                target(&[
                    ("ts-target-ip", "db"),
                    ("ts-target-port", "80"),
                    ("ts-https", https),
                    ("ts-host", host),
                ])
            };
            for host in [
                "db.example.com",
                "db.example.com:8443",
                "[fd7a::2]:1",
                "192.0.2.1",
                " db ",
            ] {
                assert!(with(host).is_ok(), "{host}: {:?}", with(host));
            }
            for host in [
                "",
                " ",
                "a b, c",
                "a, b",
                "a,b",
                "user:s3cret@db",
                "@db",
                "db:",
                "db:x",
                "db:99999",
                "[db]",
                "[192.0.2.1]:80",
                ":80",
                "http://db",
                "db/x",
            ] {
                let error = with(host).unwrap_err();
                assert!(matches!(error, ProxyError::InvalidRequest(_)), "{host}: {error}");
                assert!(!error.to_string().contains("s3cret"), "{error}");
            }
        }
    }

    #[test]
    fn an_ipv6_authority_has_brackets() {
        let pairs = [("ts-target-ip", "fd7a:115c:a1e0::2"), ("ts-target-port", "8080")];
        assert_eq!(target(&pairs).unwrap().authority(), "[fd7a:115c:a1e0::2]:8080");
    }
}
