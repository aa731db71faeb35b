//! Where a function runs: mount, pid, network, ipc and uts namespaces of its own, as a user without rights.
//!
//! local-lambda runs itself again as the environment's pid 1 (no unsafe code is needed for that); both talk over pipes.

mod block;
mod cgroup;
mod hierarchy;
pub mod identity;
pub mod keeper;
mod mounts;
mod network;
mod output;
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

pub use cgroup::CgroupError;
pub use network::{Addresses, NetworkError};
pub use scratch::{Scratch, ScratchError};

use crate::config::{Freeze, Function};
use block::Block;
use cgroup::{EnvironmentGroups, Groups};
use keeper::Keeper;
use protocol::Command;

use start::Slot;
pub(crate) use start::{Started, start};

/// Why an environment cannot be started or governed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Its network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Its control groups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its namespaces.
    #[error("no namespaces can be made: {0}; start local-lambda as root, or with `unshare -Urnm`")]
    NoNamespace(nix::errno::Errno),
    /// Its root.
    #[error("the environment cannot be furnished: {0}")]
    Unfit(String),
    /// The pipe to the supervisor, or its process.
    #[error("the environment's supervisor: {0}")]
    Supervisor(#[from] std::io::Error),
    /// The supervisor is gone.
    #[error("the environment's supervisor ended")]
    Gone,
    /// Something took longer than it ever should.
    #[error("{what} took longer than {seconds} s")]
    TooSlow {
        /// What was waited for.
        what: &'static str,
        /// The limit.
        seconds: u64,
    },
}

/// What all environments of this local-lambda share.
#[derive(Debug)]
pub struct Ground {
    scratch: Scratch,
    groups: Groups,
    keeper: Option<Keeper>,
    freezing: Freezing,
    block: Block,
    slots: Mutex<Slots>,
}

/// How environments are frozen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freezing {
    Off,
    Cgroup,
    /// SIGSTOP and SIGCONT, which a process can notice: some system calls return early.
    Signals,
}

impl Ground {
    /// Prepares what the function's configuration asks for.
    ///
    /// # Errors
    /// [`SandboxError::Cgroup`] when the machine lacks what was asked for, [`SandboxError::Network`] when it has no
    /// addresses to give.
    pub fn prepare(function: &Function, scratch: Scratch) -> Result<Self, SandboxError> {
        let block = Block::claim()?;
        let groups = Groups::make(function)?;
        let parents = groups.parents();
        let keeper = if parents.is_empty() {
            None
        } else {
            Some(Keeper::start(&parents)?)
        };
        let freezing = match function.freeze {
            Freeze::Off => Freezing::Off,
            Freeze::Auto | Freeze::Cgroup if groups.can_freeze() => Freezing::Cgroup,
            _ => Freezing::Signals,
        };
        Ok(Self {
            scratch,
            groups,
            keeper,
            freezing,
            block,
            slots: Mutex::default(),
        })
    }

    /// The unpacked code.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Removes what would stay behind. All environments must be gone.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn clear(self) -> Result<(), SandboxError> {
        let finished = self.keeper.map_or(Ok(()), Keeper::finish);
        // Only now may another local-lambda take the groups for abandoned.
        drop(self.groups);
        Ok(finished?)
    }
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
    freezing: Freezing,
    addresses: Addresses,
    commands: Option<pipe::Sender>,
    gone: oneshot::Receiver<()>,
    groups: EnvironmentGroups,
    _slot: Slot,
}

/// When a freeze takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frozen {
    /// It is switched off.
    Never,
    /// It has.
    Now,
    /// When the supervisor reports that all are stopped.
    WhenReported,
}

impl Sandbox {
    /// Its addresses.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The id here of a process that the supervisor started.
    pub(crate) fn host_pid(&self, inside: u32) -> Option<u32> {
        process_ids::seen_from_here(self.pid, inside)
    }

    /// Tells the supervisor something; its answer comes as a report.
    pub(crate) async fn tell(&mut self, command: &Command) -> Result<(), SandboxError> {
        if matches!(command, Command::Spawn(_)) {
            self.groups.enter(self.pid)?;
        }
        self.send(command).await
    }

    /// To be called when a spawn was reported: the supervisor itself must not be frozen with what it started.
    pub(crate) fn spawned(&self) -> Result<(), SandboxError> {
        Ok(self.groups.leave(self.pid)?)
    }

    /// Stops every process.
    pub(crate) async fn freeze(&mut self) -> Result<Frozen, SandboxError> {
        match self.freezing {
            Freezing::Off => Ok(Frozen::Never),
            Freezing::Cgroup => {
                self.groups.freeze().await?;
                Ok(Frozen::Now)
            }
            Freezing::Signals => {
                self.tell(&Command::StopAll).await?;
                Ok(Frozen::WhenReported)
            }
        }
    }

    /// Lets every process go on.
    pub(crate) async fn thaw(&mut self) -> Result<(), SandboxError> {
        match self.freezing {
            Freezing::Off => Ok(()),
            Freezing::Cgroup => Ok(self.groups.thaw()?),
            Freezing::Signals => self.tell(&Command::ContinueAll).await,
        }
    }

    async fn send(&mut self, line: &impl Serialize) -> Result<(), SandboxError> {
        let line = serde_json::to_string(line).map_err(std::io::Error::from)? + "\n";
        let commands = self.commands.as_mut().ok_or(SandboxError::Gone)?;
        Ok(commands.write_all(line.as_bytes()).await?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn slots_are_used_in_turn_and_never_twice() {
        let mut slots = Slots::default();
        let first = slots.take().unwrap();
        slots.give_back(first);
        assert_ne!(slots.take(), Some(first));
        let all: std::collections::HashSet<_> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(all.len(), 63);
        assert!(all.contains(&first));
    }
}
