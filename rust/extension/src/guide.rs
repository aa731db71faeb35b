//! What comes before a dial: may it go there, under which addresses, and is the path to them good; if not, why not.

use std::{net::IpAddr, time::Duration};

use tokio::{
    join, select,
    time::{Instant, timeout},
};

use crate::{
    found::Found,
    link::Link,
    local_api::LocalApiError,
    netmap::{Netmap, Uncovered},
    tailnet::Handle,
    trouble::NO_ANSWER,
};

/// How long the daemon may take to resolve a name or tell its peers.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(4);
/// How long after its start the network may still be settling: dials that fail at once then are worth another try.
const SETTLING: Duration = Duration::from_secs(3);

/// How often a way is looked for whose login ends meanwhile.
const ATTEMPTS: usize = 2;

/// Guides dials. Clones share the tailnet.
#[derive(Clone)]
pub struct Guide {
    tailnet: Handle,
    /// When the environment began to join the tailnet.
    began: Instant,
}

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What to dial, in the order to try; not empty.
    pub addresses: Vec<IpAddr>,
    /// The function's own addresses in the tailnet, one of which a connection must come from; `None` if it may leave by the
    /// function's own network.
    pub sources: Option<Vec<IpAddr>>,
    /// A peer, an accepted route or the exit node in use covers them: tailscaled would dial others by the function's own
    /// network.
    pub covered: bool,
    /// The tailnet came up only a moment ago: a dial that fails at once is worth another try.
    pub settling: bool,
    /// How long the environment's login took until the tailnet was up.
    pub ready: Duration,
    /// The path was made anew while the way was looked for.
    pub anew: bool,
}

/// Hears of a way, by its addresses and the sources that a connection must come from, that has not been made good yet.
pub trait Early: Send + Sync {
    /// See [`Way`].
    fn tell(&self, addresses: Vec<IpAddr>, sources: Option<Vec<IpAddr>>);
}

/// One who waits for the way.
impl Early for () {
    fn tell(&self, _: Vec<IpAddr>, _: Option<Vec<IpAddr>>) {}
}

/// Why there is no way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoWay {
    /// The host is not the tailnet's, or it is the function itself.
    NotAllowed(String),
    /// The tailnet's resolver does not know the name.
    UnknownName(String),
    /// The function is not in the tailnet.
    Unavailable(String),
    /// It is, but the daemon did not say what it was asked.
    NoWord(String),
}

impl Guide {
    /// Guides dials into this tailnet, which the environment has just begun to join.
    pub fn new(tailnet: Handle) -> Self {
        Self {
            tailnet,
            began: Instant::now(),
        }
    }

    /// Makes sure that the tailnet can be used now; a tailnet on its way up is waited for, for `wait` at most.
    pub async fn path(&mut self, wait: Duration) -> Result<(), NoWay> {
        self.tailnet.ready(wait).await.map(drop).map_err(NoWay::Unavailable)
    }

    /// The way to `host`, an address or a name, made good for a dial; a tailnet on its way up is waited for, for `wait` at
    /// most. `early` hears, after a freeze, of a way to try before it has been made good.
    pub async fn target(
        &mut self,
        host: &str,
        uncovered: Uncovered,
        wait: Duration,
        early: &dyn Early,
    ) -> Result<Way, NoWay> {
        let end = Instant::now() + wait;
        // Where the login ends by which a way was found, it is looked for once more: the next daemon knows none of its peers
        // at first, and would dial their addresses by the function's own network.
        for _ in 0..ATTEMPTS {
            let left = end.saturating_duration_since(Instant::now());
            if let Some(found) = self.attempt(host, uncovered, left, early).await {
                return found;
            }
        }
        Err(NoWay::Unavailable("the login to the tailnet did not last".into()))
    }

    /// The way to `host`; `None` if the login ended meanwhile.
    async fn attempt(
        &mut self,
        host: &str,
        uncovered: Uncovered,
        wait: Duration,
        early: &dyn Early,
    ) -> Option<Result<Way, NoWay>> {
        // One who asks right after a freeze may do so before the extension's own event tells of it. What the daemon
        // knows does not depend on the link: it is asked meanwhile.
        let asked = Instant::now();
        let api = self.tailnet.api().clone();
        let renewals = self.tailnet.link().renewals();
        let rested = self.tailnet.has_rested();
        let known = async {
            let netmap = in_time(api.netmap()).await;
            if rested && let (Ok(address), Ok(netmap)) = (host.parse(), &netmap) {
                tell_early(netmap, address, uncovered, early);
            }
            netmap
        };
        let (ready, netmap) = join!(self.tailnet.ready(wait), known);
        let since = match ready {
            Ok(since) => since,
            Err(message) => return Some(Err(NoWay::Unavailable(message))),
        };
        let way = async {
            // What it knew before the login was nothing.
            let netmap = if since < asked {
                netmap
            } else {
                in_time(api.netmap()).await
            };
            let netmap = netmap.map_err(|error| self.no_word(error, NO_ANSWER.into()))?;
            let mut way = self.open_way(host, &netmap, uncovered, since, wait / 2).await?;
            way.anew = self.tailnet.link().renewals() != renewals;
            Ok(way)
        };
        select! {
            biased;
            () = self.tailnet.ended(since) => None,
            way = way => Some(way),
        }
    }

    async fn open_way(
        &self,
        host: &str,
        netmap: &Netmap,
        uncovered: Uncovered,
        since: Instant,
        wait: Duration,
    ) -> Result<Way, NoWay> {
        let found = in_time(self.look_up(netmap, host, uncovered)).await.map_err(|error| {
            self.no_word(
                error,
                format!("the tailnet's resolver does not answer for the name '{host}'"),
            )
        })?;
        Ok(self.open(found?, since, wait).await)
    }

    /// What a question to the daemon came to; `silent`, where nothing came back. Then it may be stuck.
    fn no_word(&self, error: LocalApiError, silent: String) -> NoWay {
        if matches!(error, LocalApiError::Silent { .. }) {
            self.tailnet.suspect();
            return NoWay::NoWord(silent);
        }
        NoWay::NoWord(error.to_string())
    }

    /// A dial to `address` hangs: looks at what may be to blame.
    pub async fn hung(&self, address: IpAddr) {
        if let Err(error) = self.tailnet.link().doubt_session(address).await {
            tracing::warn!("a dial to {address} hangs, and the session with it cannot be looked at: {error}");
        }
    }

    async fn open(&self, found: Found, since: Instant, wait: Duration) -> Way {
        let settling = since.elapsed() < SETTLING;
        // What the tailnet does not cover has no path in it.
        if found.covered
            && let Some(address) = found.addresses.first()
        {
            let link = self.tailnet.link();
            if let Err(error) = open_path(link, *address, since, settling, wait).await {
                tracing::warn!("{address} is dialled all the same: {error}");
            }
            link.note(*address).await;
        }
        Way {
            addresses: found.addresses,
            sources: found.sources,
            covered: found.covered,
            settling,
            ready: since.saturating_duration_since(self.began),
            anew: false,
        }
    }

    /// The addresses of `host` that may be dialled, or why there is none.
    async fn look_up(
        &self,
        netmap: &Netmap,
        host: &str,
        uncovered: Uncovered,
    ) -> Result<Result<Found, NoWay>, LocalApiError> {
        let candidates = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolve(&netmap.qualified(host)).await?,
        };
        if candidates.is_empty() {
            let message = format!("the name '{host}' is unknown to the tailnet's resolver");
            return Ok(Err(NoWay::UnknownName(message)));
        }
        Ok(Found::among(&candidates, netmap, uncovered).map_err(NoWay::NotAllowed))
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, LocalApiError> {
        let (v4, v6) = join!(
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

/// A dial to what is covered may be tried before the path has been looked at. (Names are resolved after it: that may take
/// the path.)
fn tell_early(netmap: &Netmap, address: IpAddr, uncovered: Uncovered, early: &dyn Early) {
    if let Ok(found) = Found::among(&[address], netmap, uncovered)
        && found.covered
    {
        early.tell(found.addresses, found.sources);
    }
}

async fn open_path(
    link: &Link,
    address: IpAddr,
    since: Instant,
    settling: bool,
    wait: Duration,
) -> Result<(), LocalApiError> {
    if settling {
        link.meet(address, since.into_std(), wait).await?;
    }
    link.freshen_session(address).await
}

/// A daemon that takes longer than [`LOOK_UP_LIMIT`] may be stuck.
async fn in_time<T>(answer: impl Future<Output = Result<T, LocalApiError>>) -> Result<T, LocalApiError> {
    let silent = |_| LocalApiError::Silent { limit: LOOK_UP_LIMIT };
    timeout(LOOK_UP_LIMIT, answer).await.map_err(silent)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What was told early.
    #[derive(Default)]
    struct Told(std::sync::Mutex<Vec<String>>);

    impl Early for Told {
        fn tell(&self, addresses: Vec<IpAddr>, sources: Option<Vec<IpAddr>>) {
            self.0.lock().unwrap().push(format!("{addresses:?} from {sources:?}"));
        }
    }

    #[test]
    fn only_what_the_tailnet_covers_is_told_early() {
        let netmap = br#"{"TailscaleIPs":["100.64.0.1"],"Peer":{"nodekey:a":{"AllowedIPs":["100.64.0.2/32"]}}}"#;
        let netmap = Netmap::parse(netmap).unwrap();
        for (uncovered, expected) in [
            (Uncovered::Refuse, "[100.64.0.2] from Some([100.64.0.1])"),
            (Uncovered::Allow, "[100.64.0.2] from None"),
        ] {
            let told = Told::default();
            for address in ["203.0.113.7", "127.0.0.1", "100.64.0.1", "100.64.0.2"] {
                tell_early(&netmap, address.parse().unwrap(), uncovered, &told);
            }
            assert_eq!(*told.0.lock().unwrap(), [expected]);
        }
    }
}
