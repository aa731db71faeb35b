//! A proxy of the user's own between the function and AWS: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as the SDKs read them.

use std::{fmt, io, net::IpAddr};

use http::{HeaderValue, Request, Uri, header};
use http_body_util::Empty;
use hyper::{client::conn::http1, upgrade::Parts};
use hyper_util::{
    client::proxy::matcher::{Intercept, Matcher},
    rt::TokioIo,
};
use tokio::net::TcpStream;

use crate::Variables;

/// The variables, the one that is looked at first before the other.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Which requests go through a proxy. By default none does.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    https: Option<String>,
    http: Option<String>,
    no: Option<String>,
}

impl ProxyVariables {
    /// The proxies in `variables`, except those that are this environment itself: `own_ports` on loopback lead into the
    /// tailnet, which is joined with the help of these very requests.
    pub fn read(variables: &Variables<impl Fn(&str) -> Option<String>>, own_ports: &[u16]) -> Self {
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| variables.text(name));
        let foreign = |names| first(names).filter(|value| !leads_to_own_port(value, own_ports));
        Self {
            https: foreign(HTTPS),
            http: foreign(HTTP),
            no: first(NO),
        }
    }

    /// The proxy for a request to `uri`, if there is one.
    pub(crate) fn intercept(&self, uri: &Uri) -> Option<Intercept> {
        if self.https.is_none() && self.http.is_none() {
            return None;
        }
        let builder = Matcher::builder()
            .https(self.https.clone().unwrap_or_default())
            .http(self.http.clone().unwrap_or_default())
            .no(self.no.clone().unwrap_or_default());
        builder.build().intercept(uri)
    }
}

/// They may hold a password.
impl fmt::Debug for ProxyVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyVariables")
            .field("https", &self.https.is_some())
            .field("http", &self.http.is_some())
            .finish_non_exhaustive()
    }
}

/// Whether a proxy variable, with or without a scheme and credentials, names a loopback host and one of these ports.
pub fn leads_to_own_port(value: &str, own_ports: &[u16]) -> bool {
    let authority = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let loopback = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|host| host.to_canonical().is_loopback() || host.is_unspecified());
    loopback && port.parse().is_ok_and(|port: u16| own_ports.contains(&port))
}

/// Opens a tunnel through `proxy` to `host` and `port`.
pub(crate) async fn tunnel(proxy: &Intercept, host: &str, port: u16) -> io::Result<TcpStream> {
    let uri = proxy.uri();
    if uri.scheme_str() != Some("http") {
        let scheme = uri.scheme_str().unwrap_or_default();
        return Err(io::Error::other(format!(
            "the proxy variable names a proxy by {scheme}, and only http:// is supported; fix: name it so, or except this host in NO_PROXY"
        )));
    }
    let proxy_host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((proxy_host, uri.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let authority = format!("{host}:{port}");
    let mut request = Request::connect(&authority)
        .header(header::HOST, &authority)
        .body(Empty::<&[u8]>::new())
        .map_err(io::Error::other)?;
    if let Some(credentials) = proxy.basic_auth() {
        let credentials: HeaderValue = credentials.clone();
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, credentials);
    }
    let asked = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        if !status.is_success() {
            return Err(io::Error::other(format!(
                "the proxy {proxy_host} answers CONNECT with {status}"
            )));
        }
        hyper::upgrade::on(response).await.map_err(io::Error::other)
    };
    let connection = async { connection.with_upgrades().await.map_err(io::Error::other) };
    let (upgraded, ()) = tokio::try_join!(asked, connection)?;
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(Parts { io, read_buf, .. }) if read_buf.is_empty() => Ok(io.into_inner()),
        _ => Err(io::Error::other(format!(
            "the proxy {proxy_host} speaks before it is spoken to"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn proxies(pairs: &[(&str, &str)]) -> ProxyVariables {
        let find = |name: &str| {
            let pair = pairs.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| (*value).to_owned())
        };
        ProxyVariables::read(&Variables::new(find), &[1055, 1056, 3128])
    }

    #[test]
    fn a_proxy_of_the_users_own_is_used_unless_the_host_is_excepted() {
        let proxies = proxies(&[
            ("https_proxy", "http://user:s3cret@proxy.corp.example:3128"),
            ("NO_PROXY", "localhost,.amazonaws.com"),
        ]);
        let through = |uri: &'static str| proxies.intercept(&Uri::from_static(uri));
        let api = through("https://api.tailscale.com/").unwrap();
        assert_eq!(api.uri().host(), Some("proxy.corp.example"));
        assert!(api.basic_auth().is_some());
        assert!(through("https://secretsmanager.eu-west-1.amazonaws.com/").is_none());
        assert!(through("http://api.tailscale.com/").is_none());
        assert!(!format!("{proxies:?}").contains("s3cret"));
    }

    #[test]
    fn a_proxy_that_is_this_environment_is_no_proxy() {
        for value in [
            "socks5://localhost:1055",
            "socks5h://user:word@LOCALHOST:1055/",
            "http://127.0.0.1:3128",
            "127.1.2.3:1055",
            "localhost.:1055",
            "http://[::1]:1055",
            "http://[::ffff:127.0.0.1]:1055",
            "0.0.0.0:1056",
        ] {
            assert_eq!(
                proxies(&[("HTTPS_PROXY", value), ("HTTP_PROXY", value)]),
                ProxyVariables::default(),
                "{value}"
            );
        }
        for value in [
            "http://proxy.example.com:1055",
            "http://127.0.0.1:8080",
            "localhost",
            "",
            "http://10.0.0.1:1055",
        ] {
            assert!(!leads_to_own_port(value, &[1055, 1056]), "{value}");
        }
    }

    #[tokio::test]
    async fn a_tunnel_is_opened_with_the_proxys_credentials() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://user:word@{}", listener.local_addr().unwrap());
        let proxy = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut said = [0; 5];
            stream.read_exact(&mut said).await.unwrap();
            (String::from_utf8(head).unwrap(), said)
        });
        let proxies = proxies(&[("HTTPS_PROXY", &address)]);
        let intercept = proxies.intercept(&Uri::from_static("https://aws.example/")).unwrap();
        let mut stream = tunnel(&intercept, "aws.example", 443).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let (head, said) = proxy.await.unwrap();
        assert!(head.starts_with("CONNECT aws.example:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: Basic dXNlcjp3b3Jk\r\n"), "{head}");
        assert_eq!(&said, b"hello");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_or_is_of_another_kind_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream
                .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                .await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        for (value, reason) in [
            (address.as_str(), "407"),
            ("socks5://127.0.0.2:1", "only http:// is supported"),
        ] {
            let intercept = proxies(&[("HTTPS_PROXY", value)]).intercept(&Uri::from_static("https://aws.example/"));
            let error = tunnel(&intercept.unwrap(), "aws.example", 443).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{value}: {error}");
        }
    }
}
