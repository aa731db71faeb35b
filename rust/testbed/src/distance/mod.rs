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
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use tokio::{
    process::Command,
    runtime::{self, Handle},
    sync::oneshot,
    task,
};

use crate::{Error, door::pass_on, error::failed, network::ip, process::command};
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

/// What suites measure at.
pub const PROFILES: [Profile; 6] = [
    Profile {
        name: "near",
        distance: None,
    },
    Profile {
        name: "30 ms",
        distance: Some(Distance::of_millis(30)),
    },
    Profile {
        name: "100 ms",
        distance: Some(Distance::of_millis(100)),
    },
    Profile {
        name: "150 ms",
        distance: Some(Distance::of_millis(150)),
    },
    Profile {
        name: "300 ms",
        distance: Some(Distance::of_millis(300)),
    },
    Profile {
        name: "100 ms, 1 % loss",
        distance: Some(Distance::of_millis(100).with_loss(0.01)),
    },
];

/// The link, and the network namespace of the function at its end. Dropping it takes both away.
#[derive(Debug)]
pub struct Link {
    // Before the namespace that its devices are in.
    _relay: Relay,
    function_side: FunctionSide,
}

impl Link {
    /// Opens it. [`crate::network::set_up`] must have been called, and only one link can be open.
    pub fn open(distance: Distance) -> Result<Self, Error> {
        let function_side = FunctionSide::open()?;
        let here = File::open("/proc/thread-self/ns/net").map_err(failed(NO_NAMESPACE))?;
        let there = function_side.namespace.try_clone().map_err(failed(NO_NAMESPACE))?;
        let relay = Relay::start(DEVICE, [there, here], &distance)?;
        ip(REMOTE_SET_UP)?;
        function_side.set_up()?;
        Ok(Self {
            _relay: relay,
            function_side,
        })
    }

    /// As [`command`], on the function's side.
    pub fn command(&self, program: &Path, run_dir: &Path) -> Command {
        let mut command = command(Path::new("nsenter"), run_dir);
        let namespace = self.function_side.namespace.as_raw_fd();
        command.arg(format!("--net=/proc/{}/fd/{namespace}", std::process::id()));
        command.arg(program);
        command
    }

    /// Runs a task whose sockets are on the function's side. It ends with the link at the latest.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> task::JoinHandle<T> {
        self.function_side.runtime.spawn(task)
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

/// A thread in a network namespace of its own.
#[derive(Debug)]
struct FunctionSide {
    namespace: File,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FunctionSide {
    fn open() -> Result<Self, Error> {
        let (opened, answer) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let prepared = enter_new_namespace().and_then(|namespace| {
                let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
                Ok((namespace, runtime))
            });
            match prepared {
                Ok((namespace, runtime)) => {
                    // Where nobody takes it, `stopped` is at once.
                    let _ = opened.send(Ok((namespace, runtime.handle().clone())));
                    // An error: the other end was dropped, which means the same.
                    let _ = runtime.block_on(stopped);
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        });
        let (namespace, runtime) = answer
            .recv()
            .map_err(|_| io::Error::other("its thread ended"))
            .and_then(|opened| opened)
            .map_err(failed(NO_NAMESPACE))?;
        Ok(Self {
            namespace,
            runtime,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Addresses and routes, once the device is there.
    fn set_up(&self) -> Result<(), Error> {
        let (done, outcome) = mpsc::sync_channel(1);
        // The command `ip` inherits the namespace of the thread that starts it.
        self.runtime.spawn(async move { done.send(ip(FUNCTION_SET_UP)) });
        outcome
            .recv()
            .unwrap_or_else(|_| Err(Error::Other("the function's side has ended".to_owned())))
    }
}

impl Drop for FunctionSide {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has printed its own message.
            let _ = thread.join();
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
