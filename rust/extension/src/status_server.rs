//! Answers the proxy's questions: may it go there, under which address, and if not, why not.

use std::{io, net::IpAddr, path::Path, time::Duration};

use status::{Answer, Ask};
use tokio::{
    join,
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    local_api::LocalApiError,
    netmap::{Netmap, Uncovered},
    tailnet::Handle,
    trouble::NO_ANSWER,
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
    tailnet: Handle,
    uncovered: Uncovered,
    /// When the environment began to join the tailnet.
    began: Instant,
}

impl StatusServer {
    /// Listens on `socket`, in place of one that an earlier environment left.
    pub fn bind(socket: &Path, tailnet: Handle, uncovered: Uncovered) -> io::Result<Self> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            listener: UnixListener::bind(socket)?,
            responder: Responder {
                tailnet,
                uncovered,
                began: Instant::now(),
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
        let wait = ask.wait().min(LONGEST_WAIT);
        match ask {
            Ask::Target { host, .. } => self.target(host, wait).await,
            Ask::Path { .. } => match self.tailnet.ready(wait).await {
                Ok(_) => Answer::Alive,
                Err(message) => Answer::Unavailable { message },
            },
        }
    }

    async fn target(&mut self, host: &str, wait: Duration) -> Answer {
        // One who asks right after a freeze may do so before the extension's own event tells of it. What the daemon
        // knows does not depend on the link: it is asked meanwhile.
        let asked = Instant::now();
        let api = self.tailnet.api().clone();
        let (ready, netmap) = join!(self.tailnet.ready(wait), in_time(api.netmap()));
        let since = match ready {
            Ok(since) => since,
            Err(message) => return Answer::Unavailable { message },
        };
        // What it knew before the login was nothing.
        let netmap = if since < asked {
            netmap
        } else {
            in_time(api.netmap()).await
        };
        let found = match netmap {
            Ok(netmap) => in_time(self.look_up(&netmap, host)).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(Ok(addresses)) => self.go(addresses, since, wait / 2).await,
            Ok(Err(refusal)) => refusal,
            Err(LocalApiError::Silent { .. }) => {
                self.tailnet.suspect();
                Answer::Unavailable {
                    message: NO_ANSWER.into(),
                }
            }
            Err(error) => Answer::Unavailable {
                message: error.to_string(),
            },
        }
    }

    async fn go(&self, addresses: Vec<IpAddr>, since: Instant, wait: Duration) -> Answer {
        let settling = since.elapsed() < SETTLING;
        if let Some(address) = addresses.first() {
            if let Err(error) = self.open_path(*address, since, settling, wait).await {
                tracing::warn!("{address} is dialled all the same: {error}");
            }
            self.tailnet.link().note(*address).await;
        }
        let ready_ms = since.saturating_duration_since(self.began).as_millis();
        Answer::Go {
            addresses,
            settling,
            ready_ms: u64::try_from(ready_ms).unwrap_or(u64::MAX),
        }
    }

    async fn open_path(
        &self,
        address: IpAddr,
        since: Instant,
        settling: bool,
        wait: Duration,
    ) -> Result<(), LocalApiError> {
        let link = self.tailnet.link();
        if settling {
            link.meet(address, since.into_std(), wait).await?;
        }
        link.freshen_session(address).await
    }

    /// The addresses of `host` that belong to the tailnet, or the refusal.
    async fn look_up(&self, netmap: &Netmap, host: &str) -> Result<Result<Vec<IpAddr>, Answer>, LocalApiError> {
        let candidates = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolve(&netmap.qualified(host)).await?,
        };
        if candidates.is_empty() {
            let message = format!("the name '{host}' is unknown to the tailnet's resolver");
            return Ok(Err(Answer::UnknownName { message }));
        }
        Ok(allowed(netmap, candidates, self.uncovered).map_err(|message| Answer::NotAllowed { message }))
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, LocalApiError> {
        let (v4, v6) = tokio::join!(
            self.tailnet.api().addresses(name, "A"),
            self.tailnet.api().addresses(name, "AAAA")
        );
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// A daemon that takes longer than [`LOOK_UP_LIMIT`] may be stuck.
async fn in_time<T>(answer: impl Future<Output = Result<T, LocalApiError>>) -> Result<T, LocalApiError> {
    let silent = |_| LocalApiError::Silent { limit: LOOK_UP_LIMIT };
    timeout(LOOK_UP_LIMIT, answer).await.map_err(silent)?
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
