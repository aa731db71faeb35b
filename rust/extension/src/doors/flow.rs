//! Bytes both ways between a client and its target, and when that ends: also because the target's side died in a freeze.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    pin, select,
    sync::watch,
    time::{Instant, sleep},
};

use crate::doors::{half_close::is_held, outbound::Upstream};

/// The buffer of each direction.
const BUFFER_BYTES: usize = 16 * 1024;
/// The pauses between two looks at whether a client that sends no more is gone.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a target may then be silent before it is told: it may wait for the end of what the client sends.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// After a pause this long no NAT or firewall between here and the target knows a flow any more (AWS's NAT gateway: 350 s;
/// five minutes is the shortest that RFC 5382 section 5 allows for idle connections in part).
pub const FORGOTTEN: Duration = Duration::from_secs(300);

/// What the last thaw left dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Thaw {
    /// Flows over another path than this one are dead.
    path: Option<u64>,
    /// Flows from before are dead.
    since: Option<SystemTime>,
}

/// Announces thaws to the flows. Clones share it.
#[derive(Debug, Clone)]
pub struct Thaws(watch::Sender<Thaw>);

impl Default for Thaws {
    fn default() -> Self {
        Self(watch::Sender::new(Thaw::default()))
    }
}

impl Thaws {
    /// The environment was perhaps frozen, from `paused` on until `now` at most; the path's generation was `before` then and
    /// is `path` now. Resets the flows that this has killed.
    pub fn announce(&self, before: u64, path: u64, paused: SystemTime, now: SystemTime) {
        let long = now.duration_since(paused).is_ok_and(|pause| pause >= FORGOTTEN);
        if before != path || long {
            self.0.send_modify(|thaw| {
                thaw.path = Some(path);
                if long {
                    thaw.since = Some(now);
                }
            });
        }
    }

    /// Waits until a thaw has killed the flows over `path` that were opened at `opened`.
    pub(crate) fn killed(&self, path: Option<u64>, opened: SystemTime) -> impl Future<Output = ()> + Send + use<> {
        let mut thaws = self.0.subscribe();
        // A thaw that was announced before this flow was opened does not concern it, and its path is another one's.
        thaws.mark_unchanged();
        async move {
            loop {
                if thaws.changed().await.is_err() {
                    return std::future::pending().await;
                }
                let thaw = *thaws.borrow_and_update();
                let dead = path.is_some_and(|path| thaw.path.is_some_and(|now| now != path));
                let forgotten = thaw.since.is_some_and(|since| opened < since);
                if dead || (path.is_some() && forgotten) {
                    return;
                }
            }
        }
    }
}

/// How a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides have said all.
    Closed,
    /// A thaw killed it: the client was reset.
    Reset,
}

/// Carries bytes between `client` and `upstream` until both have ended, or a thaw has killed the flow. What `head` holds was
/// read from the client before.
pub(crate) async fn carry(mut client: TcpStream, upstream: Upstream, head: &[u8], thaws: &Thaws) -> io::Result<End> {
    let Upstream { mut stream, path } = upstream;
    let killed = thaws.killed(path, SystemTime::now());
    let end = select! {
        end = copy(&mut client, &mut stream, head) => end.map(|()| End::Closed),
        () = killed => Ok(End::Reset),
    };
    if let Ok(End::Reset) = end {
        // An end would look like the target's own.
        client.set_zero_linger()?;
    }
    end
}

async fn copy(client: &mut TcpStream, target: &mut TcpStream, head: &[u8]) -> io::Result<()> {
    let ends = (client.peer_addr()?, client.local_addr()?);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_target, mut to_target) = target.split();
    let (asked, answered) = (AtomicBool::new(false), AtomicBool::new(false));
    let up = async {
        to_target.write_all(head).await?;
        pass(&mut from_client, &mut to_target, &asked).await
    };
    let down = async {
        pass(&mut from_target, &mut to_client, &answered).await?;
        to_client.shutdown().await
    };
    pin!(up, down);
    select! {
        ended = &mut down => {
            ended?;
            up.await
        }
        ended = &mut up => {
            ended?;
            select! {
                ended = &mut down => ended,
                // tailscaled tells the target, and then drops whatever the target still sends.
                over = until_over(ends, &answered) => over,
            }
        }
    }
}

/// Passes bytes on until they end; `passed` shows that there were some.
async fn pass(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, passed: &AtomicBool) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        passed.store(true, Relaxed);
        to.write_all(&buffer[..length]).await?;
    }
}

/// Waits until a client that sends no more is gone, or the target has been silent for a while.
async fn until_over((client, server): (SocketAddr, SocketAddr), answered: &AtomicBool) -> io::Result<()> {
    let mut pause = FIRST_LOOK;
    let mut silent_since = Instant::now();
    while is_held(client, server)? && silent_since.elapsed() < SILENCE_LIMIT {
        answered.store(false, Relaxed);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if answered.load(Relaxed) {
            silent_since = Instant::now();
        }
    }
    Ok(())
}
