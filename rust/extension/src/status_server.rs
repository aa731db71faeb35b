//! Answers the proxy's questions: may it go there, under which address, and if not, why not.

use std::{io, net::IpAddr, path::Path, sync::Arc, time::Duration};

use status::{Answer, Ask};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    link::Link,
    local_api::{LocalApi, LocalApiError},
    netmap::{Netmap, Uncovered},
    tailnet::{Phase, Tailnet, settled},
};

/// How long a question may take to arrive once its connection is there.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// The longest wait that a question may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long the daemon may take to resolve a name or tell its peers.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(4);
/// How long after its start the network may still be settling: dials that fail at once then are worth another try.
const SETTLING: Duration = Duration::from_secs(3);
/// How many questions are answered at a time; more wait in the listener's queue.
const AT_ONCE: usize = 64;

/// The status endpoint.
pub struct StatusServer {
    listener: UnixListener,
    responder: Responder,
}

/// What an answer is made from.
#[derive(Clone)]
struct Responder {
    api: LocalApi,
    link: Arc<Link>,
    phase: watch::Receiver<Phase>,
    uncovered: Uncovered,
}

impl StatusServer {
    /// Listens on `socket`, in place of one that an earlier environment left.
    pub fn bind(socket: &Path, tailnet: &Tailnet, uncovered: Uncovered) -> io::Result<Self> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            listener: UnixListener::bind(socket)?,
            responder: Responder {
                api: tailnet.api().clone(),
                link: Arc::clone(tailnet.link()),
                phase: tailnet.phase(),
                uncovered,
            },
        })
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let mut answering = JoinSet::new();
        loop {
            while answering.len() >= AT_ONCE {
                answering.join_next().await;
            }
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    answering.spawn(self.responder.clone().serve_one(stream));
                }
                Err(error) => tracing::error!("a question of the proxy was lost: {error}"),
            }
            while answering.try_join_next().is_some() {}
        }
    }
}

impl Responder {
    async fn serve_one(mut self, mut stream: UnixStream) {
        let ask = match timeout(ASK_LIMIT, status::read_line(&mut stream)).await {
            Ok(Ok(ask)) => ask,
            Ok(Err(error)) => return tracing::warn!("a question of the proxy cannot be understood: {error}"),
            Err(_) => return tracing::warn!("a question of the proxy did not arrive"),
        };
        let answer = self.answer(&ask).await;
        if let Err(error) = status::write_line(&mut stream, &answer).await {
            tracing::debug!("the proxy did not wait for its answer: {error}");
        }
    }

    async fn answer(&mut self, ask: &Ask) -> Answer {
        let wait = Duration::from_millis(ask.wait_ms).min(LONGEST_WAIT);
        let since = match settled(&mut self.phase, wait).await {
            Phase::Up { since } => since,
            Phase::Down { reason } => return Answer::Unavailable { message: reason },
            Phase::Starting { after: None } => {
                return Answer::Unavailable {
                    message: "the login to the tailnet is still under way".into(),
                };
            }
            Phase::Starting { after: Some(reason) } => {
                return Answer::Unavailable {
                    message: format!("{reason}; tailscaled is being started again"),
                };
            }
        };
        // One who asks right after a freeze may do so before the extension's own event tells of it.
        if let Err(error) = self.link.freshen().await {
            return Answer::Unavailable {
                message: error.to_string(),
            };
        }
        match timeout(LOOK_UP_LIMIT, self.look_up(&ask.host)).await {
            Ok(Ok(Ok(addresses))) => self.go(addresses, since).await,
            Ok(Ok(Err(refusal))) => refusal,
            Ok(Err(error)) => Answer::Unavailable {
                message: error.to_string(),
            },
            Err(_) => Answer::Unavailable {
                message: "tailscaled does not answer".into(),
            },
        }
    }

    async fn go(&self, addresses: Vec<IpAddr>, since: Instant) -> Answer {
        if let Some(address) = addresses.first() {
            self.link.note(*address).await;
        }
        Answer::Go {
            addresses,
            settling: since.elapsed() < SETTLING,
        }
    }

    /// The addresses of `host` that belong to the tailnet, or the refusal.
    async fn look_up(&self, host: &str) -> Result<Result<Vec<IpAddr>, Answer>, LocalApiError> {
        let netmap = self.api.netmap().await?;
        let candidates = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolve(&netmap.qualified(host)).await?,
        };
        if candidates.is_empty() {
            let message = format!("the name '{host}' is unknown to the tailnet's resolver");
            return Ok(Err(Answer::UnknownName { message }));
        }
        Ok(allowed(&netmap, candidates, self.uncovered).map_err(|message| Answer::NotAllowed { message }))
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, LocalApiError> {
        let (v4, v6) = tokio::join!(self.api.addresses(name, "A"), self.api.addresses(name, "AAAA"));
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// Of a name's addresses, those that lead into the tailnet; where none does, why the first does not.
fn allowed(netmap: &Netmap, candidates: Vec<IpAddr>, uncovered: Uncovered) -> Result<Vec<IpAddr>, String> {
    let mut refusal = None;
    let mut addresses = Vec::new();
    for address in candidates {
        match netmap.check(address, uncovered) {
            Ok(()) => addresses.push(address.to_canonical()),
            Err(reason) => refusal = refusal.or(Some(reason)),
        }
    }
    match refusal {
        Some(reason) if addresses.is_empty() => Err(reason),
        _ => Ok(addresses),
    }
}
