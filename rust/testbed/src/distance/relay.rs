//! Carries packets between two TUN devices in two network namespaces, and holds each for as long as the shaper says.
//!
//! Each device has a thread that reads and one that writes. They are threads of their own, at the highest priority, because
//! a task in the test's runtime could be late by more than what is measured. The delay is constant, so that the packets'
//! order is that of their deadlines, and a plain queue between the two threads is the timer queue.

use std::{
    fs::File,
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::sched::{CloneFlags, setns};
use tokio::sync::watch;
use tokio_tun::Tun;

use super::{Distance, shaper::Shaper};
use crate::{Error, error::failed};

/// More than any packet: the devices' MTU is 1500.
const MAX_PACKET: usize = 2048;

const NO_DEVICE: &str =
    "a TUN device cannot be made, which needs /dev/net/tun (docker run --device=/dev/net/tun) and CAP_NET_ADMIN";

/// A packet and when it leaves.
type Held = (Instant, Vec<u8>);

/// The running relay. Dropping it removes the devices.
#[derive(Debug)]
pub(super) struct Relay {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// One end: where packets come from, and where they go to.
struct End {
    device: Arc<Tun>,
    /// Hands the reader its shaper and queue.
    start: mpsc::Sender<(Shaper, mpsc::Sender<Held>)>,
    thread: JoinHandle<()>,
}

impl Relay {
    /// Makes a device called `name` in each of both namespaces, and carries packets between them.
    pub(super) fn start(name: &str, namespaces: [File; 2], distance: &Distance) -> Result<Self, Error> {
        let stop = watch::Sender::new(false);
        let [one, other] = namespaces;
        let one = End::open(name, one, stop.subscribe())?;
        let other = End::open(name, other, stop.subscribe())?;
        let threads = vec![
            carry(&one.start, Arc::clone(&other.device), Shaper::new(distance, 0)),
            carry(&other.start, Arc::clone(&one.device), Shaper::new(distance, 1)),
            one.thread,
            other.thread,
        ];
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

impl End {
    /// The device belongs to the namespace of the thread that opens it, and to that thread's runtime.
    fn open(name: &str, namespace: File, stop: watch::Receiver<bool>) -> Result<Self, Error> {
        let (opened, device) = mpsc::sync_channel(1);
        let (start, started) = mpsc::channel();
        let name = name.to_owned();
        let thread = thread::spawn(move || {
            prefer_this_thread();
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let device = match runtime.block_on(async { open_device(&name, &namespace) }) {
                Ok(device) => device,
                Err(error) => return drop(opened.send(Err(error))),
            };
            // Where nobody takes it, there is nothing to carry either.
            let _ = opened.send(Ok(Arc::clone(&device)));
            if let Ok((shaper, queue)) = started.recv() {
                runtime.block_on(read(&device, shaper, &queue, stop));
            }
        });
        let device = device
            .recv()
            .map_err(|_| io::Error::other("the relay's thread ended"))
            .and_then(|device| device)
            .map_err(failed(NO_DEVICE))?;
        Ok(Self { device, start, thread })
    }
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

/// Gives the packets of the end that `start` belongs to a way to `device`.
fn carry(start: &mpsc::Sender<(Shaper, mpsc::Sender<Held>)>, device: Arc<Tun>, shaper: Shaper) -> JoinHandle<()> {
    let (queue, held) = mpsc::channel();
    // Never an error: the reader waits for it.
    let _ = start.send((shaper, queue));
    thread::spawn(move || {
        prefer_this_thread();
        write(&device, &held);
    })
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
        if let Some(due) = shaper.schedule(Instant::now(), length)
            && queue.send((due, packet.to_owned())).is_err()
        {
            return;
        }
    }
}

/// Ends when the reader has.
fn write(device: &Tun, held: &mpsc::Receiver<Held>) {
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
