//! Where a function runs: mount, pid, network, ipc and uts namespaces of its own, as a user without rights.
//!
//! local-lambda runs itself again as the environment's pid 1 (no unsafe code is needed for that); both talk over pipes.

mod block;
mod cpu_share;
pub mod identity;
mod mounts;
mod network;
mod process_ids;
pub(crate) mod protocol;
mod scratch;
mod standstill;
mod start;
pub mod supervisor;

use std::sync::Mutex;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::config::Function;
use crate::error::Error;
use block::Block;
use cpu_share::CpuShare;
use network::Addresses;
pub(crate) use scratch::Scratch;
use start::Slot;
pub(crate) use start::{Started, start};

/// What all environments of this local-lambda share.
#[derive(Debug)]
pub(crate) struct SandboxHost {
    pub(crate) scratch: Scratch,
    /// The memory whose share of a core each environment gets, if it is to get no more.
    cpu_of_memory: Option<u32>,
    block: Block,
    slots: Mutex<Slots>,
}

impl SandboxHost {
    /// Prepares what the function's configuration asks for.
    pub(crate) fn prepare(function: &Function, scratch: Scratch) -> Result<Self, Error> {
        let block = Block::signed()?;
        let cpu_of_memory = function.cpu_quota.then_some(function.memory_mb);
        // Made to see whether it can be: better now than at the first request.
        cpu_of_memory.map(CpuShare::make).transpose()?;
        Ok(Self {
            scratch,
            cpu_of_memory,
            block,
            slots: Mutex::default(),
        })
    }
}

/// Why nothing more can be had of an environment.
pub(crate) fn ended() -> Error {
    Error("the environment's supervisor ended".into())
}

/// Which /30 networks are taken. They are used in turn, so that a new environment does not get the one just left.
#[derive(Debug, Default)]
struct Slots {
    taken: u64,
    next: u8,
}

impl Slots {
    fn take(&mut self) -> Option<u8> {
        let free = (0..64)
            .map(|step| (self.next + step) % 64)
            .find(|slot| self.taken & (1 << slot) == 0)?;
        self.taken |= 1 << free;
        self.next = (free + 1) % 64;
        Some(free)
    }

    fn give_back(&mut self, slot: u8) {
        self.taken &= !(1 << slot);
    }
}

/// A running environment, seen from local-lambda. Dropping it ends every process in it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pid: u32,
    addresses: Addresses,
    commands: Option<pipe::Sender>,
    gone: oneshot::Receiver<()>,
    cpu_share: Option<CpuShare>,
    _slot: Slot,
}

impl Sandbox {
    /// The id here of a process that the supervisor started.
    pub(crate) fn host_pid(&self, inside: u32) -> Option<u32> {
        process_ids::seen_from_here(self.pid, inside)
    }

    /// Tells the supervisor something; its answer comes as a report.
    pub(crate) async fn tell(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(line).map_err(std::io::Error::from)? + "\n";
        let commands = self.commands.as_mut().ok_or_else(ended)?;
        Ok(commands.write_all(line.as_bytes()).await?)
    }
}
