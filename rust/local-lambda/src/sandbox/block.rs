//! The addresses that one local-lambda has for its environments: a /24 of its own in its network namespace, so that
//! several can run side by side.

use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::network::{Addresses, ip, remove};
use crate::error::Error;

/// The third bytes that there are: 169.254.100.0/24 to 169.254.127.0/24.
const BLOCKS: std::ops::RangeInclusive<u8> = 100..=127;

/// A block, free for others when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Block {
    third: u8,
    /// An abstract socket's name belongs to the network namespace: nobody else there can bind it meanwhile.
    _claim: UnixListener,
}

impl Block {
    /// Takes the first block that nobody has. Interfaces in it that a killed local-lambda left are removed: they go by
    /// themselves when the last process of their environment is gone, which takes a moment.
    pub(crate) fn signed() -> Result<Self, Error> {
        for third in BLOCKS {
            let name = SocketAddr::from_abstract_name(format!("local-lambda-169.254.{third}.0"))?;
            match UnixListener::bind_addr(&name) {
                Ok(signed) => {
                    let block = Self { third, _claim: signed };
                    block.clear()?;
                    return Ok(block);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error.into()),
            }
        }
        let all = "169.254.100.0/24 to 169.254.127.0/24 are all in use by other local-lambdas";
        Err(Error(all.into()))
    }

    /// The addresses of environment number `environment` in `slot`, which counts from 0 to 63. The interface is named
    /// after the environment, as a slot's former one may still be on its way out.
    pub(crate) fn addresses(&self, slot: u8, environment: u64) -> Addresses {
        let base = 4 * (slot % 64);
        Addresses {
            inside: Ipv4Addr::new(169, 254, self.third, base + 2),
            outside: Ipv4Addr::new(169, 254, self.third, base + 1),
            // A device name has 15 bytes at most.
            interface: format!("{}{}", self.prefix(), environment % 100_000),
        }
    }

    fn prefix(&self) -> String {
        format!("lambda{}-", self.third)
    }

    fn clear(&self) -> Result<(), Error> {
        let listed = ip("list the interfaces", "link show type veth\n")?;
        for name in device_names(&listed).filter(|name| name.starts_with(&self.prefix())) {
            tracing::info!(name, "an interface that was left behind is removed");
            remove(name)?;
        }
        Ok(())
    }
}

/// "4: lambda100-1@if2: <BROADCAST,...", and below it a line that begins with blanks.
fn device_names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| {
        let (_, rest) = line.split_once(": ").filter(|_| !line.starts_with(' '))?;
        rest.split(['@', ':']).next()
    })
}
