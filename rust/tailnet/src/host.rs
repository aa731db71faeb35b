//! The hosts that a request can be for, as they are written: addresses and names.

use std::{fmt, net::IpAddr};

/// A target's address or name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name for the tailnet's resolver, in lower case.
    Name(String),
}

impl Host {
    /// Reads a host as URLs have it: IPv6 with or without brackets. `None` if it is neither an address nor a name that a
    /// tailnet's resolver can be asked for.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = inner.parse() {
            return Some(Self::Address(address));
        }
        is_name(text).then(|| Self::Name(text.trim_end_matches('.').to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The rule of the WHATWG's URL standard, "ends in a number": what it says of is an IPv4 address or nothing.
pub fn ends_in_a_number(value: &str) -> bool {
    let last = value.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hex = hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether `value` can be a name for the tailnet's resolver: labels of letters, digits, hyphens and underscores, the
/// last of which no resolver takes for the end of an address.
pub fn is_name(value: &str) -> bool {
    if ends_in_a_number(value) {
        return false;
    }
    let name = value.strip_suffix('.').unwrap_or(value);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}
