//! Its process and its LocalAPI's socket, as the extension sees them.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use extension::{
    localapi::{
        client::LocalApi,
        transport::{Connection, Transport},
    },
    tailscaled::process::{Program, Running},
};
use futures_util::future::BoxFuture;
use tokio::{
    io::duplex,
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{FakeTailscaled, Life};

impl Program for FakeTailscaled {
    type Running = FakeProcess;

    fn start(&self) -> Result<FakeProcess, String> {
        let mut state = self.state();
        let now = Instant::now();
        state.starts.push(now);
        let (ended, end) = watch::channel(false);
        let (removed, removals) = mpsc::channel(1);
        state.life = Some(Life {
            listens_at: state.plan.listens_after.map(|pause| now + pause),
            listeners: Vec::new(),
            ended,
            removals: removed,
            has_key: false,
            state: 2,
            joined_at: None,
            control: None,
            locked_until: None,
            links_dead: false,
            wakes_at: now,
            links_ready: now,
            told_gone: false,
            sessions: HashMap::new(),
            lost_handshakes: HashMap::new(),
            stale: HashSet::new(),
        });
        Ok(FakeProcess {
            tailscaled: self.clone(),
            lives_for: state.plan.lives_for,
            end,
            removals: Some(removals),
        })
    }

    fn local_api(&self) -> LocalApi {
        LocalApi::with_transport(Arc::new(self.clone()))
    }
}

impl Transport for FakeTailscaled {
    fn ready(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            let listens_at = self.state().life.as_ref().and_then(|life| life.listens_at);
            match listens_at {
                Some(listens_at) => sleep_until(listens_at).await,
                None => std::future::pending().await,
            }
            Ok(())
        })
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            let now = Instant::now();
            let listens = matches!(&self.state().life, Some(Life { listens_at: Some(at), .. }) if *at <= now);
            if !listens {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(self.clone().serve(ours));
            Ok(Box::new(theirs) as Box<dyn Connection>)
        })
    }
}

/// One life, as the supervisor sees it.
pub(crate) struct FakeProcess {
    tailscaled: FakeTailscaled,
    lives_for: Option<Duration>,
    end: watch::Receiver<bool>,
    removals: Option<mpsc::Receiver<()>>,
}

impl Running for FakeProcess {
    fn removals(&mut self) -> mpsc::Receiver<()> {
        self.removals.take().unwrap()
    }

    async fn ended(&mut self) -> String {
        let lifetime = self.lives_for.unwrap_or(Duration::MAX);
        tokio::select! {
            () = sleep(lifetime) => self.tailscaled.die(),
            _ = self.end.wait_for(|ended| *ended) => {}
        }
        "tailscaled ended with exit code 1".into()
    }

    async fn kill(&mut self) -> io::Result<()> {
        self.tailscaled.die();
        Ok(())
    }
}
