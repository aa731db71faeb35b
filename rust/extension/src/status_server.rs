//! Answers the proxy's questions: may it go there, under which address, and if not, why not.

use std::{io, net::IpAddr, path::Path, time::Duration};

use status::{Answer, Ask};
use tokio::{
    net::{UnixListener, UnixStream},
    select,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    guide::{Early, Guide, NoWay, Way},
    netmap::Uncovered,
};

/// How long a question may take to arrive once its connection is there.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// The longest wait that a question may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The pause after a question was lost: for want of descriptors, the next would be lost as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
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
    guide: Guide,
    uncovered: Uncovered,
}

impl StatusServer {
    /// Listens on `socket`, in place of one that an earlier environment left.
    pub fn bind(socket: &Path, guide: Guide, uncovered: Uncovered) -> io::Result<Self> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            listener: UnixListener::bind(socket)?,
            responder: Responder { guide, uncovered },
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
                Err(error) => {
                    tracing::error!("a question of the proxy was lost: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
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
        let (early, mut told) = mpsc::channel(1);
        let answer = self.answer(&ask, early);
        tokio::pin!(answer);
        loop {
            let (answer, last) = select! {
                biased;
                answer = &mut answer => (answer, true),
                Some(provisional) = told.recv() => (provisional, false),
            };
            if let Err(error) = status::write_line(&mut stream, &answer).await {
                tracing::debug!("the proxy did not wait for its answer: {error}");
                return;
            }
            if last {
                return;
            }
        }
    }

    async fn answer(&mut self, ask: &Ask, early: mpsc::Sender<Answer>) -> Answer {
        let wait = ask.wait().min(LONGEST_WAIT);
        let answer = match ask {
            Ask::Target {
                host, early: wanted, ..
            } => {
                let early: &dyn Early = if *wanted { &Provisional(early) } else { &() };
                self.guide.target(host, self.uncovered, wait, early).await.map(go)
            }
            Ask::Hung { address } => {
                self.guide.hung(*address).await;
                return Answer::Alive;
            }
            Ask::Path { .. } => self.guide.path(wait).await.map(|()| Answer::Alive),
        };
        answer.unwrap_or_else(refusal)
    }
}

/// Passes on what is told early. There is room for one, and no need for more.
struct Provisional(mpsc::Sender<Answer>);

impl Early for Provisional {
    fn tell(&self, addresses: Vec<IpAddr>, sources: Option<Vec<IpAddr>>) {
        let _ = self.0.try_send(Answer::Provisional { addresses, sources });
    }
}

fn go(way: Way) -> Answer {
    Answer::Go {
        addresses: way.addresses,
        sources: way.sources,
        settling: way.settling,
        ready_ms: u64::try_from(way.ready.as_millis()).unwrap_or(u64::MAX),
        anew: way.anew,
    }
}

fn refusal(no_way: NoWay) -> Answer {
    match no_way {
        NoWay::NotAllowed(message) => Answer::NotAllowed { message },
        NoWay::UnknownName(message) => Answer::UnknownName { message },
        NoWay::Unavailable(message) | NoWay::NoWord(message) => Answer::Unavailable { message },
    }
}
