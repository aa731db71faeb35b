//! Carries packets between two TUN devices in two network namespaces, and holds each for half a round trip, or loses it.
//!
//! Each device has a thread that reads and one that writes. They are threads of their own, at the highest priority, because
//! a task in the test's runtime could be late by more than what is measured. The delay is constant, so that the packets'
//! order is that of their deadlines, and a plain queue between the two threads is the timer queue.

use std::{
    fs::File,
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use tokio::sync::watch;
use tokio_tun::Tun;

use super::{Distance, random::SplitMix64};
use crate::{Error, error::failed};

/// More than any packet: the devices' MTU is 1500.
const MAX_PACKET: usize = 2048;

const NO_DEVICE: &str =
    "a TUN device cannot be made, which needs /dev/net/tun (docker run --device=/dev/net/tun) and CAP_NET_ADMIN";

/// A packet and when it leaves.
type Held = (Instant, Vec<u8>);

/// When packets leave one direction of the link, or that they are lost.
struct Shaper {
    delay: Duration,
    loss: f64,
    random: SplitMix64,
}

impl Shaper {
    /// `direction` makes the two directions lose different packets.
    fn new(distance: &Distance, direction: u64) -> Self {
        Self {
            delay: distance.round_trip / 2,
            loss: distance.loss,
            random: SplitMix64::new(direction + 1),
        }
    }

    /// When a packet that arrives now comes out at the other end. `None`: it does not. Each direction loses the same ones
    /// each time.
    fn schedule(&mut self) -> Option<Instant> {
        (self.random.fraction() >= self.loss).then(|| Instant::now() + self.delay)
    }
}

/// The running relay. Dropping it removes the devices.
#[derive(Debug)]
pub(super) struct Relay {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Makes a device called `name` in each of both namespaces, and carries packets between them.
    pub(super) fn start(name: &str, namespaces: [File; 2], distance: &Distance) -> Result<Self, Error> {
        let stop = watch::Sender::new(false);
        let [one, other] = namespaces;
        let (from_one, to_other) = mpsc::channel();
        let (from_other, to_one) = mpsc::channel();
        let (one, reading_one) = open(name, one, Shaper::new(distance, 0), from_one, stop.subscribe())?;
        let (other, reading_other) = open(name, other, Shaper::new(distance, 1), from_other, stop.subscribe())?;
        let write = |device: Arc<Tun>, held: mpsc::Receiver<Held>| thread::spawn(move || write(&device, &held));
        let threads = vec![write(other, to_other), write(one, to_one), reading_one, reading_other];
        Ok(Self { stop, threads })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // The devices' names are free for the next link only when the threads are gone.
        for thread in self.threads.drain(..) {
            // A panic in one of them has printed its own message.
            let _ = thread.join();
        }
    }
}

/// Makes a device, and a thread that reads from it: the device belongs to the namespace of the thread that opens it, and to
/// that thread's runtime.
fn open(
    name: &str,
    namespace: File,
    shaper: Shaper,
    queue: mpsc::Sender<Held>,
    stop: watch::Receiver<bool>,
) -> Result<(Arc<Tun>, JoinHandle<()>), Error> {
    let (opened, device) = mpsc::sync_channel(1);
    let name = name.to_owned();
    let thread = thread::spawn(move || {
        prefer_this_thread();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let device = runtime.and_then(|runtime| {
            let device = runtime.block_on(async { open_device(&name, &namespace) })?;
            Ok((runtime, device))
        });
        match device {
            Ok((runtime, device)) => {
                // Where nobody takes it, there is nothing to carry either.
                let _ = opened.send(Ok(Arc::clone(&device)));
                runtime.block_on(read(&device, shaper, &queue, stop));
            }
            Err(error) => drop(opened.send(Err(error))),
        }
    });
    let device = device
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the relay's thread ended")));
    Ok((device.map_err(failed(NO_DEVICE))?, thread))
}

fn open_device(name: &str, namespace: &File) -> io::Result<Arc<Tun>> {
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    let devices = Tun::builder()
        .name(name)
        .close_on_exec()
        .build()
        .map_err(io::Error::other)?;
    let device = devices.into_iter().next();
    device
        .map(Arc::new)
        .ok_or_else(|| io::Error::other("no device was made"))
}

async fn read(device: &Tun, mut shaper: Shaper, queue: &mpsc::Sender<Held>, mut stop: watch::Receiver<bool>) {
    let mut buffer = [0; MAX_PACKET];
    loop {
        let length = tokio::select! {
            received = device.recv(&mut buffer) => match received {
                Ok(length) => length,
                // The device is gone.
                Err(_) => return,
            },
            _ = stop.changed() => return,
        };
        let packet = &buffer[..length];
        if let Some(due) = shaper.schedule()
            && queue.send((due, packet.to_owned())).is_err()
        {
            return;
        }
    }
}

/// Ends when the reader has.
fn write(device: &Tun, held: &mpsc::Receiver<Held>) {
    prefer_this_thread();
    while let Ok((due, packet)) = held.recv() {
        // None for those that became due while this thread waited for an earlier one.
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            thread::sleep(early);
        }
        // A device whose queue is full drops packets, as an interface does.
        let _ = device.try_send(&packet);
    }
}

/// Others may want the processor at the same moment. Without the right to it, the relay works all the same.
fn prefer_this_thread() {
    let _ = rustix::process::setpriority_process(None, -20);
}
