//! What the proxy asks of the extension, and where.
//!
//! The extension alone owns the tailnet: it starts, watches and revives tailscaled. Before the proxy dials, it asks
//! here whether it may go to a host and under which addresses; and when it is only kept warm, for the path to be kept
//! alive. One question and one answer a connection over a unix socket, each a line of JSON.

use std::{io, net::IpAddr, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

/// Where the extension listens, inside the execution environment.
pub const SOCKET: &str = "/tmp/tailscale-extension.sock";

/// The longest line that either side reads: a name is at most 253 bytes, a message a few hundred.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// The proxy's question. Where it has one, `wait_ms` is how long the extension may wait for a tailnet that is on its way up
/// before it says that there is none, in ms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Ask {
    /// May a connection be opened to this host, and where to?
    Target {
        /// An address, or a name that the tailnet's resolver knows.
        host: String,
        /// See above.
        wait_ms: u64,
        /// Whether a [provisional answer](Answer::Provisional) may come before the answer.
        #[serde(default)]
        early: bool,
    },
    /// A dial to this address hangs. What may be to blame on the way there is looked at, and made anew if it is.
    Hung {
        /// What is dialled.
        address: IpAddr,
    },
    /// Is the path to the tailnet alive? Where it is not, it is made anew first.
    Path {
        /// See above.
        wait_ms: u64,
    },
}

impl Ask {
    /// How long the extension may wait.
    pub fn wait(&self) -> Duration {
        match self {
            Self::Target { wait_ms, .. } | Self::Path { wait_ms } => Duration::from_millis(*wait_ms),
            Self::Hung { .. } => Duration::ZERO,
        }
    }
}

/// The extension's word on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Answer {
    /// The tailnet covers the host; after a freeze the path there is still being looked at, and another answer follows. A
    /// dial that gets through meanwhile proves the path.
    Provisional {
        /// See [`Go`](Self::Go).
        addresses: Vec<IpAddr>,
        /// See [`Go`](Self::Go).
        sources: Option<Vec<IpAddr>>,
    },
    /// The tailnet is up and covers the host.
    Go {
        /// What to dial, in the order to try.
        addresses: Vec<IpAddr>,
        /// The function's own addresses in the tailnet, one of which a connection must come from; `None` if it may leave by
        /// the function's own network.
        sources: Option<Vec<IpAddr>>,
        /// The tailnet came up only a moment ago: a dial that fails at once is worth another try.
        settling: bool,
        /// How long the environment's login took until the tailnet was up, in ms.
        ready_ms: u64,
        /// The path was made anew while this was asked: what was dialled meanwhile may be lost.
        anew: bool,
    },
    /// The path to the tailnet is alive.
    Alive,
    /// The host is not the tailnet's, or it is the function itself.
    NotAllowed {
        /// Why, for the caller.
        message: String,
    },
    /// The tailnet's resolver does not know the name.
    UnknownName {
        /// Which name, and what the resolver said.
        message: String,
    },
    /// The function is not in the tailnet.
    Unavailable {
        /// Why, and where to mend it.
        message: String,
    },
}

/// Asks the extension behind `socket`; `io::ErrorKind::TimedOut` if no answer came within `limit`.
pub async fn ask(socket: &Path, ask: &Ask, limit: Duration) -> io::Result<Answer> {
    timeout(limit, exchange(socket, ask))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn exchange(socket: &Path, ask: &Ask) -> io::Result<Answer> {
    Question::put(socket, ask).await?.next().await
}

/// A question that was put, to be answered once or, after a provisional answer, twice.
#[derive(Debug)]
pub struct Question(BufReader<UnixStream>);

impl Question {
    /// Asks the extension behind `socket`.
    pub async fn put(socket: &Path, ask: &Ask) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        write_line(&mut stream, ask).await?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Waits for the next answer. The caller sets the limit.
    pub async fn next(&mut self) -> io::Result<Answer> {
        line(&mut self.0).await
    }
}

/// Reads one line and takes it for a `T`.
pub async fn read_line<T: for<'de> Deserialize<'de>>(stream: &mut UnixStream) -> io::Result<T> {
    line(&mut BufReader::new(stream)).await
}

async fn line<T: for<'de> Deserialize<'de>>(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<T> {
    let mut line = String::new();
    reader.take(MAX_LINE_BYTES).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// Writes `value` as one line.
pub async fn write_line(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_words_on_the_wire_stay_what_they_are() {
        let ask = Ask::Target {
            host: "db.example.ts.net".into(),
            wait_ms: 5000,
            early: true,
        };
        assert_eq!(
            serde_json::to_string(&ask).unwrap(),
            r#"{"ask":"target","host":"db.example.ts.net","wait_ms":5000,"early":true}"#
        );
        let path = serde_json::to_string(&Ask::Path { wait_ms: 1 }).unwrap();
        assert_eq!(path, r#"{"ask":"path","wait_ms":1}"#);
        let go = Answer::Go {
            addresses: vec!["100.64.0.2".parse().unwrap()],
            sources: Some(vec!["100.64.0.1".parse().unwrap()]),
            settling: true,
            ready_ms: 45,
            anew: false,
        };
        let line = r#"{"verdict":"go","addresses":["100.64.0.2"],"sources":["100.64.0.1"],"settling":true,"ready_ms":45,"anew":false}"#;
        assert_eq!(serde_json::to_string(&go).unwrap(), line);
        assert_eq!(serde_json::from_str::<Answer>(line).unwrap(), go);
    }

    #[tokio::test]
    async fn an_extension_that_is_not_there_is_an_error_at_once() {
        let ask_it = Ask::Path { wait_ms: 0 };
        let error = ask(Path::new("/nonexistent/socket"), &ask_it, Duration::from_secs(5))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
