//! The protocol between the extension and its clients: one connection over a unix socket, one request, one response,
//! each a line of JSON that carries the protocol's version.
//!
//! A deadline is an instant, so that it can travel: milliseconds since the Unix epoch, by the wall clock that both
//! sides share.

use std::{
    io,
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{Instant, timeout_at},
};

use crate::diagnosis::Diagnosis;

/// Where the extension listens, inside the execution environment.
pub const SOCKET: &str = "/tmp/tailscale-extension.sock";

/// The version of this protocol. A proxy and an extension of different releases may speak different ones.
pub const VERSION: u32 = 1;

/// The path of what the tailnet does not cover: it leads out by the function's own network, whatever becomes of the tailnet's.
pub const OUTSIDE: u64 = 0;

/// The code of [`Response::Unavailable`] while the exit node that is required cannot be used.
pub const EXIT_NODE_UNAVAILABLE: &str = "ExitNodeUnavailable";

/// How long an invocation keeps the environment awake for an attempt to log in, or for a look at the path.
pub const INVOCATION_LIMIT: Duration = Duration::from_secs(2);

/// The longest line that either side reads: a name is at most 253 bytes, a message a few hundred.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// A request to the extension. `deadline_ms` is when the response is of no more use, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// May a connection to this host be opened, to which addresses and from which? A matter of policy alone: it waits for
    /// a login under way, and probes nothing. Answered with [`Response::Route`] or an error.
    Route {
        /// An IP address, or a name that the tailnet's resolver knows.
        host: String,
        /// See above.
        deadline_ms: u64,
    },
    /// Is the path to this address good? Answered at once if the peer was heard lately, after a round trip otherwise, and
    /// after a repair if the path had died. Answered with [`Response::Verified`] or an error.
    Verify {
        /// The address, one of a route's.
        address: IpAddr,
        /// See above.
        deadline_ms: u64,
    },
    /// A dial to this address stalls: the extension looks at the peer's session. Answered with [`Response::Verified`]
    /// when that is done.
    Stalled {
        /// The address that is dialled.
        address: IpAddr,
        /// See above.
        deadline_ms: u64,
    },
    /// Is the whole path to the tailnet alive? It is repaired first where it is not. Answered with
    /// [`Response::Verified`] or an error.
    KeepAlive {
        /// See above.
        deadline_ms: u64,
    },
    /// The function was invoked, perhaps after a freeze: the extension looks after the path, or after a login that failed
    /// before. Answered with [`Response::Verified`] or an error when it no longer needs the environment awake.
    Invoked {
        /// See above.
        deadline_ms: u64,
    },
    /// How does the function stand in the tailnet, and how does it reach this host? Answered with
    /// [`Response::Diagnosed`], whatever the state.
    Diagnose {
        /// An IP address or a name.
        host: String,
        /// See above.
        deadline_ms: u64,
    },
}

impl Request {
    /// When the response is of no more use.
    pub fn deadline(&self) -> Instant {
        match self {
            Self::Route { deadline_ms, .. }
            | Self::Verify { deadline_ms, .. }
            | Self::Stalled { deadline_ms, .. }
            | Self::KeepAlive { deadline_ms }
            | Self::Invoked { deadline_ms }
            | Self::Diagnose { deadline_ms, .. } => from_epoch_ms(*deadline_ms),
        }
    }
}

/// The extension's response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "response")]
pub enum Response {
    /// A connection may be opened.
    Route {
        /// The addresses to dial, in the order to try them; not empty.
        addresses: Vec<IpAddr>,
        /// The machine's own addresses in the tailnet, one of which the connection must come from; `None` if it may leave by
        /// the function's own network.
        sources: Option<Vec<IpAddr>>,
        /// The generation of the path: see [`Verified`](Self::Verified).
        path: u64,
        /// The round trip to the first address, in microseconds, if it is known.
        round_trip_us: Option<u64>,
        /// The tailnet was joined only a moment ago: a dial that is refused at once is worth another try.
        just_joined: bool,
        /// How long the environment's login took, in milliseconds.
        ready_ms: u64,
        /// The path to the first address was proved a moment ago: [`Request::Verify`] would be answered at once. An
        /// extension that does not say so is asked.
        #[serde(default)]
        verified: bool,
    },
    /// The path is good.
    Verified {
        /// The generation of the path. It grows whenever links or sessions were made anew and with each new login: a
        /// connection that was opened over another generation may be dead, and not show it. [`OUTSIDE`] for an address that
        /// the tailnet does not cover.
        path: u64,
    },
    /// What was found.
    Diagnosed {
        /// All of it.
        diagnosis: Box<Diagnosis>,
    },
    /// The tailnet does not cover the host, or the host is the function itself.
    NotAllowed {
        /// Why.
        message: String,
    },
    /// The tailnet's resolver does not know the name.
    UnknownName {
        /// Which name, and what the resolver said.
        message: String,
    },
    /// The function is not in the tailnet.
    Unavailable {
        /// A stable code for the cause: `AuthKeyRejected`, `ControlUnreachable`, …
        code: String,
        /// What happened, and what fixes it.
        message: String,
        /// When another try may succeed, if that is known.
        retry_after_ms: Option<u64>,
    },
    /// The two sides speak different versions of this protocol.
    VersionMismatch {
        /// The version of the other side; 0 if what it says cannot be understood at all.
        #[serde(rename = "supported")]
        version: u32,
    },
}

/// Why a request could not be read.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The client speaks another version: answer with [`Response::VersionMismatch`] and [`VERSION`].
    #[error("the client speaks version {0} of the protocol, and not version {VERSION}")]
    Version(u32),
    /// It is not a request: answered likewise.
    #[error("the request cannot be understood: {0}")]
    Malformed(serde_json::Error),
    /// The connection broke.
    #[error("the request did not arrive: {0}")]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
struct Message<T> {
    version: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Sends `request` to the extension behind `socket`, and waits for its response: `io::ErrorKind::TimedOut` if there is none
/// by `deadline`, `io::ErrorKind::UnexpectedEof` if the extension closed the connection without one.
pub async fn ask(socket: &Path, request: &Request, deadline: Instant) -> io::Result<Response> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        write_line(&mut stream, request).await?;
        let line = read_line(&mut stream).await?;
        Ok(match parse(&line) {
            Ok(Ok(response)) => response,
            Ok(Err(version)) => Response::VersionMismatch { version },
            Err(_) => Response::VersionMismatch { version: 0 },
        })
    };
    timeout_at(deadline, exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads a client's request.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request, RequestError> {
    let line = read_line(stream).await?;
    parse(&line)
        .map_err(RequestError::Malformed)?
        .map_err(RequestError::Version)
}

/// Writes the response to a client's request.
pub async fn write_response(stream: &mut (impl AsyncWrite + Unpin), response: &Response) -> io::Result<()> {
    write_line(stream, response).await
}

/// `deadline` as it travels.
pub fn epoch_ms(deadline: Instant) -> u64 {
    let at = SystemTime::now() + deadline.saturating_duration_since(Instant::now());
    milliseconds(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The deadline that travelled as `ms`; now, if it has passed.
pub fn from_epoch_ms(ms: u64) -> Instant {
    /// Beyond any invocation, and within what an `Instant` can hold.
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::now() + Duration::from_millis(ms).saturating_sub(now).min(MAX)
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A message of this version, or the version that the other side speaks.
fn parse<T: for<'de> Deserialize<'de>>(line: &str) -> Result<Result<T, u32>, serde_json::Error> {
    let Version { version } = serde_json::from_str(line)?;
    if version != VERSION {
        return Ok(Err(version));
    }
    serde_json::from_str(line).map(|message: Message<T>| Ok(message.body))
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut line = String::new();
    let read = BufReader::new(stream).take(MAX_LINE_BYTES).read_line(&mut line).await?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

async fn write_line(stream: &mut (impl AsyncWrite + Unpin), body: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Message { version: VERSION, body })?;
    line.push(b'\n');
    stream.write_all(&line).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::{io::duplex, net::UnixListener};

    use super::*;

    fn line(body: &impl Serialize) -> String {
        serde_json::to_string(&Message { version: VERSION, body }).unwrap()
    }

    #[test]
    fn the_wire_format_of_version_1_does_not_change() {
        let route = Request::Route {
            host: "db.example.ts.net".into(),
            deadline_ms: 1_700_000_000_000,
        };
        let text = r#"{"version":1,"request":"route","host":"db.example.ts.net","deadline_ms":1700000000000}"#;
        assert_eq!(line(&route), text);
        assert_eq!(parse::<Request>(text).unwrap(), Ok(route));
        for (request, text) in [
            (
                Request::Verify {
                    address: "100.64.0.2".parse().unwrap(),
                    deadline_ms: 1,
                },
                r#"{"version":1,"request":"verify","address":"100.64.0.2","deadline_ms":1}"#,
            ),
            (
                Request::KeepAlive { deadline_ms: 1 },
                r#"{"version":1,"request":"keep_alive","deadline_ms":1}"#,
            ),
            (
                Request::Invoked { deadline_ms: 1 },
                r#"{"version":1,"request":"invoked","deadline_ms":1}"#,
            ),
        ] {
            assert_eq!(line(&request), text);
        }
        let route = Response::Route {
            addresses: vec!["100.64.0.2".parse().unwrap()],
            sources: Some(vec!["100.64.0.1".parse().unwrap()]),
            path: 7,
            round_trip_us: Some(30_500),
            just_joined: true,
            ready_ms: 45,
            verified: false,
        };
        let text = r#"{"version":1,"response":"route","addresses":["100.64.0.2"],"sources":["100.64.0.1"],"path":7,"round_trip_us":30500,"just_joined":true,"ready_ms":45,"verified":false}"#;
        assert_eq!(line(&route), text);
        assert_eq!(parse::<Response>(text).unwrap(), Ok(route.clone()));
        // As an extension said it that did not know the last field.
        let older = text.replace(r#","verified":false"#, "");
        assert_eq!(parse::<Response>(&older).unwrap(), Ok(route));
        let unavailable = Response::Unavailable {
            code: "AuthKeyRejected".into(),
            message: "m".into(),
            retry_after_ms: None,
        };
        assert_eq!(
            line(&unavailable),
            r#"{"version":1,"response":"unavailable","code":"AuthKeyRejected","message":"m","retry_after_ms":null}"#
        );
    }

    #[tokio::test]
    async fn a_client_of_another_version_is_told_from_one_that_sends_no_request() {
        let read = async |line: &str| {
            let (mut client, mut server) = duplex(1024);
            client.write_all(line.as_bytes()).await.unwrap();
            drop(client);
            read_request(&mut server).await.unwrap_err()
        };
        let newer = read("{\"version\":2,\"request\":\"something new\"}\n").await;
        assert!(matches!(newer, RequestError::Version(2)), "{newer}");
        for text in ["{\"ask\":\"path\",\"wait_ms\":1}\n", "[]\n", "x\n"] {
            let error = read(text).await;
            assert!(matches!(error, RequestError::Malformed(_)), "{error}");
        }
        let error = read("").await;
        assert!(matches!(error, RequestError::Io(_)), "{error}");
    }

    #[tokio::test]
    async fn a_response_of_another_version_or_of_none_is_a_version_mismatch() {
        let socket = std::env::temp_dir().join(format!("tailnet-protocol-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let answers = [
            ("{\"version\":9,\"response\":\"unheard of\"}\n", 9),
            ("{\"verdict\":\"alive\"}\n", 0),
            ("{\"version\":1,\"response\":\"version_mismatch\",\"supported\":1}\n", 1),
        ];
        let server = tokio::spawn(async move {
            for (answer, _) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        for (answer, version) in answers {
            let request = Request::KeepAlive { deadline_ms: 0 };
            let response = ask(&socket, &request, Instant::now() + Duration::from_secs(5)).await;
            assert_eq!(response.unwrap(), Response::VersionMismatch { version }, "{answer}");
        }
        server.await.unwrap();
        std::fs::remove_file(&socket).unwrap();
    }

    #[tokio::test]
    async fn an_extension_that_is_missing_is_an_error_at_once() {
        let request = Request::KeepAlive { deadline_ms: 0 };
        let deadline = Instant::now() + Duration::from_secs(5);
        let error = ask(Path::new("/nonexistent/socket"), &request, deadline)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_travels() {
        let deadline = Instant::now() + Duration::from_secs(7);
        let arrived = from_epoch_ms(epoch_ms(deadline));
        let off = deadline.max(arrived) - deadline.min(arrived);
        assert!(off < Duration::from_millis(500), "{off:?}");
        assert_eq!(from_epoch_ms(0), Instant::now());
    }
}
