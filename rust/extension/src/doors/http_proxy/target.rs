//! What a request is for.

use http::{Method, Uri, uri::Authority};

use crate::doors::target::Target;

impl Target {
    /// The target of a request, or what is wrong with it.
    pub(crate) fn of(method: &Method, uri: &Uri) -> Result<Self, String> {
        if method == Method::CONNECT {
            let authority = uri.authority().filter(|_| uri.scheme().is_none());
            let authority = authority.ok_or_else(|| format!("CONNECT needs host:port, and got '{uri}'"))?;
            return new(authority, authority.port_u16());
        }
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => {
                // `host:` and `host` are the same; `host:99999` has no port that could be dialled.
                let bare = authority.as_str().rsplit('@').next().unwrap_or_default();
                let has_port = bare.rsplit_once(':').is_some_and(|(host, port)| {
                    !port.is_empty() && (!host.contains(':') || host.ends_with(']')) && !bare.ends_with(']')
                });
                new(authority, if has_port { authority.port_u16() } else { Some(80) })
            }
            (Some(scheme), _) => Err(format!(
                "it is for {scheme}, and only http is forwarded; fix: use CONNECT for other schemes"
            )),
            (None, _) => Err(format!(
                "this is a proxy, and the request names no host: '{uri}'; fix: send the whole URL, or use CONNECT"
            )),
        }
    }
}

fn new(authority: &Authority, port: Option<u16>) -> Result<Target, String> {
    let port = port.filter(|port| *port > 0);
    let port = port.ok_or_else(|| format!("'{authority}' has no port from 1 to 65535"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(legal) {
        return Err(format!("'{}' is not a host name", host.escape_debug()));
    }
    Ok(Target {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn target(method: &Method, uri: &str) -> Result<String, String> {
        Target::of(method, &uri.parse().unwrap()).map(|target| target.to_string())
    }

    #[test]
    fn the_host_and_port_are_those_of_the_request_target() {
        for (method, uri, expected) in [
            (Method::CONNECT, "db.example.ts.net:443", "db.example.ts.net:443"),
            (Method::CONNECT, "[fd7a::1]:22", "[fd7a::1]:22"),
            (Method::GET, "http://web/a?b", "web:80"),
            (Method::GET, "http://web:8080", "web:8080"),
            (Method::GET, "http://user:word@[fd7a::1]/", "[fd7a::1]:80"),
            (Method::POST, "http://[fd7a::1]:81/", "[fd7a::1]:81"),
        ] {
            assert_eq!(target(&method, uri).unwrap(), expected);
        }
    }

    #[test]
    fn other_request_targets_are_named_with_the_fix() {
        for (method, uri, reason) in [
            (Method::CONNECT, "web", "no port"),
            (Method::CONNECT, "/", "CONNECT needs host:port"),
            (Method::GET, "/path", "this is a proxy"),
            (Method::GET, "https://web/", "only http is forwarded"),
            (Method::GET, "http://web:0/", "no port"),
            (Method::GET, "http://a$b/", "is not a host name"),
        ] {
            let error = target(&method, uri).unwrap_err();
            assert!(error.contains(reason), "{uri}: {error}");
        }
    }
}
