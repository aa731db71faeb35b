//! The tailnet that all contenders of a part share: a target in it, and a bare tailscaled beside the function.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use aws_credential_types::Credentials;
use serde::Deserialize;
use testbed::{
    Error,
    binaries::architecture,
    distance::Profile,
    function_url::FunctionUrl,
    http_call::json,
    lambda::{Function, LocalLambda},
    nat,
    process::{Process, command},
    stack::{AUTH_KEY, Backends},
    suite::SuiteContext,
};

use crate::{
    contender::{Caller, Contender, Server, Way},
    handler::Handler,
};

/// How long the target may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Where the bare tailscaled's SOCKS5 server listens, on its side of the link.
const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1088);

/// The target's ports.
#[derive(Debug, Deserialize)]
pub(crate) struct Ports {
    http: Vec<u16>,
    https: Vec<u16>,
}

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) machine: Ipv4Addr,
    ports: Arc<Ports>,
    /// How many connections have been opened for one request each.
    opened: usize,
}

impl Target {
    /// The port of the connection for the next request: kept ones lead to the first, and of those that are opened in a row
    /// each leads to another, so that hardly any meets one that still waits in TIME-WAIT. (tailscaled hangs for 5 s then,
    /// and the rest with it.)
    pub(crate) fn port(&mut self, https: bool, closes: bool) -> u16 {
        let ports = if https { &self.ports.https } else { &self.ports.http };
        if !closes {
            return ports[0];
        }
        self.opened += 1;
        ports[self.opened % ports.len()]
    }
}

pub(crate) struct Scene {
    pub(crate) backends: Backends,
    pub(crate) target: Target,
    // Dropping it ends it.
    _server: Process,
}

impl Scene {
    /// A tailnet at a distance.
    pub(crate) async fn open(context: &SuiteContext, profile: Profile) -> Result<Self, Error> {
        nat::reset().await?;
        Self::around(context.backends_at(profile.distance).await?).await
    }

    /// A tailnet that is there already.
    pub(crate) async fn around(backends: Backends) -> Result<Self, Error> {
        let dist = backends.binaries.root.join("tailscaled/dist").join(architecture());
        let program = dist.join("bench-target");
        let mut command = command(&program, &backends.run_dir);
        // It ends when its input does.
        command.stdin(Stdio::piped());
        let (process, mut lines) = Process::spawn_reading("the bench's target", &mut command)?;
        let line = process.ready(START_LIMIT, "its ports", lines.recv()).await?;
        let ports = json("the bench's target", line.unwrap_or_default().as_bytes())?;
        let machine = backends.target.node.address();
        Ok(Self {
            backends,
            target: Target {
                machine,
                ports: Arc::new(ports),
                opened: 0,
            },
            _server: process,
        })
    }

    /// Deploys a handler whose environments are not frozen; `adjust` may change it before.
    pub(crate) async fn deploy(
        &self,
        handler: Handler,
        adjust: impl FnOnce(&mut Function),
    ) -> Result<Contender, Error> {
        let caller = Credentials::new("AKIDBENCHCALLER", "bench-caller-secret", None, None, "testbed");
        let backends = &self.backends;
        let mut function = Function {
            environment: backends.function_environment(),
            callers: vec![caller.clone()],
            settings: [("freeze".to_owned(), false.into())].into(),
        };
        handler.configure(&mut function, &backends.binaries);
        adjust(&mut function);
        let (run_dir, link) = (&backends.run_dir, backends.link.as_ref());
        let lambda = LocalLambda::start(&backends.binaries, &function, run_dir, link).await?;
        let address = lambda.address().to_owned();
        let way = Way::Url(FunctionUrl { address, caller });
        let caller = Caller::new(handler.name(), way, self.target.clone());
        Ok(Contender::new(caller, Server::Function(handler, lambda)))
    }

    /// The path without a function: a tailscaled of its own, on the function's side of the link.
    pub(crate) async fn direct(&self) -> Result<Contender, Error> {
        let node = self.backends.machine_beside_function("direct", SOCKS, AUTH_KEY);
        let (node, socks) = node.await?;
        let caller = Caller::new("direct", Way::Socks(socks), self.target.clone());
        Ok(Contender::new(caller, Server::Direct(node.process)))
    }

    /// The direct path, the empty handler, and all that forward; each has answered once.
    pub(crate) async fn contenders(&self, adjust: impl Fn(&mut Function)) -> Result<Vec<Contender>, Error> {
        let mut contenders = vec![self.direct().await?];
        for handler in [Handler::Empty].into_iter().chain(Handler::forwarding()) {
            contenders.push(self.deploy(handler, &adjust).await?);
        }
        for contender in &mut contenders {
            contender.warm_up().await?;
        }
        Ok(contenders)
    }

    /// Ends everything.
    pub(crate) async fn close(self, contenders: Vec<Contender>) {
        for contender in contenders {
            contender.stop().await;
        }
        self.backends.stop().await;
    }
}
