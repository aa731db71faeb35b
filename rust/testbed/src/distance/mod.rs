//! Distance between the function and everything else: a link with a round-trip time and a loss rate.
//!
//! The kernels that tests run on may lack `netem`. So the function gets a network namespace of its own, in which
//! local-lambda runs, and a [`relay`] between two TUN devices is its only way to the control server, DERP, AWS and the
//! targets, which stay with the test. The test's own questions to the control server and to AWS take no time on the link,
//! and neither do its calls of the Function URL: they come through [`Link::forward`].

mod random;
mod relay;

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsRawFd,
    path::Path,
    sync::mpsc,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use tokio::{
    process::Command,
    runtime::{self, Runtime},
    task,
};

use crate::{Error, error::failed, network::ip, port_forwarder::pass_on, process::command};
pub use random::SplitMix64;
use relay::Relay;

/// The function's side of the link (TEST-NET-2, RFC 5737): the source address of what local-lambda's host itself sends.
pub const FUNCTION_SIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// Both ends' device.
const DEVICE: &str = "distance";

const NO_NAMESPACE: &str = "the function's network namespace";

/// The function's side: packets of its environments are passed on.
const FUNCTION_SET_UP: &str = "\
link set lo up
link set distance up
address add 198.51.100.2/32 dev distance
route add default dev distance
";
/// The side of everything else. The environments' addresses are those of [`crate::nat`].
const REMOTE_SET_UP: &str = "\
link set distance up
route add 198.51.100.2/32 dev distance
route add 169.254.96.0/19 dev distance
";

/// How far the function is from everything else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// How long a packet and its answer are on their way.
    pub round_trip: Duration,
    /// The share of packets that are lost, in each direction.
    pub loss: f64,
}

impl Distance {
    /// A round trip of so many milliseconds, without loss.
    pub const fn of_millis(round_trip: u64) -> Self {
        Self {
            round_trip: Duration::from_millis(round_trip),
            loss: 0.0,
        }
    }

    /// The same, with a share of lost packets.
    #[must_use]
    pub const fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

/// A distance and its name in tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// `None`: no link at all.
    pub distance: Option<Distance>,
}

const fn profile(name: &'static str, distance: Option<Distance>) -> Profile {
    Profile { name, distance }
}

/// What suites measure at.
pub const PROFILES: [Profile; 6] = [
    profile("near", None),
    profile("30 ms", Some(Distance::of_millis(30))),
    profile("100 ms", Some(Distance::of_millis(100))),
    profile("150 ms", Some(Distance::of_millis(150))),
    profile("300 ms", Some(Distance::of_millis(300))),
    profile("100 ms, 1 % loss", Some(Distance::of_millis(100).with_loss(0.01))),
];

/// The link, and the network namespace of the function at its end. Dropping it takes both away.
#[derive(Debug)]
pub struct Link {
    // Before the namespace that its devices are in.
    _relay: Relay,
    namespace: File,
    side: FunctionSide,
}

/// A runtime whose one thread is in the function's network namespace. `None` while it is dropped.
#[derive(Debug)]
struct FunctionSide(Option<Runtime>);

impl Link {
    /// Opens it. [`crate::network::set_up`] must have been called, and only one link can be open.
    pub fn open(distance: Distance) -> Result<Self, Error> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let side = FunctionSide(Some(runtime));
        let namespace = side.run(enter_new_namespace).map_err(failed(NO_NAMESPACE))?;
        let here = File::open("/proc/thread-self/ns/net").map_err(failed(NO_NAMESPACE))?;
        let there = namespace.try_clone().map_err(failed(NO_NAMESPACE))?;
        let relay = Relay::start(DEVICE, [there, here], &distance)?;
        ip(REMOTE_SET_UP)?;
        // The command `ip` inherits the namespace of the thread that starts it.
        side.run(|| ip(FUNCTION_SET_UP))?;
        Ok(Self {
            _relay: relay,
            namespace,
            side,
        })
    }

    /// As [`command`], on the function's side.
    pub fn command(&self, program: &Path, run_dir: &Path) -> Command {
        let mut command = command(Path::new("nsenter"), run_dir);
        let namespace = self.namespace.as_raw_fd();
        command.arg(format!("--net=/proc/{}/fd/{namespace}", std::process::id()));
        command.arg(program);
        command
    }

    /// Runs a task whose sockets are on the function's side. It ends with the link at the latest.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> task::JoinHandle<T> {
        self.side.spawn(task)
    }

    /// A port on loopback that leads to `to` on the function's side, beside the link: what passes is not delayed.
    pub fn forward(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        self.spawn(async move { pass_on(tokio::net::TcpListener::from_std(listener)?, to).await });
        Ok(address)
    }
}

impl FunctionSide {
    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> task::JoinHandle<T> {
        self.0.as_ref().expect("it is not being dropped").spawn(task)
    }

    /// Does something on its thread, and waits for it.
    fn run<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, outcome) = mpsc::sync_channel(1);
        self.spawn(async move { done.send(what()) });
        outcome.recv().expect("the runtime's thread runs")
    }
}

impl Drop for FunctionSide {
    fn drop(&mut self) {
        // Its thread may not be waited for in a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Moves this thread alone, and has its new namespace pass packets on.
fn enter_new_namespace() -> io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    // Which namespace this file belongs to depends on the thread that opens it.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    File::open("/proc/thread-self/ns/net")
}
