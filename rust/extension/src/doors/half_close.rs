//! Tells a client that sends no more, but still reads, from one that is gone.
//!
//! To us both look the same: the end of what it sends. tailscaled v1.102.5 takes that end for the end of the connection, in
//! both directions (tailscale/tailscale#20883), so it is passed on only when the client is gone.

use std::{io, net::SocketAddr};

/// The kernel's tables of TCP sockets, by the client's own address family.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether a process still holds the client's socket. It must be on this machine.
pub(crate) fn is_held(client: SocketAddr, server: SocketAddr) -> io::Result<bool> {
    for table in TABLES {
        match std::fs::read_to_string(table) {
            Ok(table) if holds(&table, client, server) => return Ok(true),
            // A kernel without IPv6 has no second table.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// Whether a row is for the socket between `client` and `server`, with an inode: an orphan, which no process holds, has none.
fn holds(table: &str, client: SocketAddr, server: SocketAddr) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(parse);
        let remote = fields.next().and_then(parse);
        // Then come state, queues, timer, retransmissions, user and time-out.
        let inode = fields.nth(6);
        local == Some(client) && remote == Some(server) && inode.is_some_and(|inode| inode != "0")
    })
}

/// `0100007F:041F`: the address in words of the machine's own byte order, an IPv4 address in an IPv6 socket as such.
fn parse(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..address.len() / 8)
        .map(|word| {
            let hex = address.get(word * 8..word * 8 + 8)?;
            Some(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes())
        })
        .collect();
    let bytes = words?.concat();
    let address = match (<[u8; 4]>::try_from(&bytes[..]), <[u8; 16]>::try_from(&bytes[..])) {
        (Ok(v4), _) => std::net::IpAddr::from(v4),
        (_, Ok(v6)) => std::net::IpAddr::from(v6).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::Read,
        net::{Shutdown, TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_client_that_only_stopped_sending_is_held_and_one_that_closed_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let stream = TcpStream::connect(server).unwrap();
        let client = stream.local_addr().unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
        assert!(is_held(client, server).unwrap());
        drop(stream);
        assert!(!is_held(client, server).unwrap());
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let v4: SocketAddr = "127.0.0.1:1055".parse().unwrap();
        assert_eq!(parse("0100007F:041F"), cfg!(target_endian = "little").then_some(v4));
        let mapped = parse("0000000000000000FFFF00000100007F:041F");
        assert_eq!(mapped, cfg!(target_endian = "little").then_some(v4));
        for wrong in ["", "0100007F", "01:1", "ZZZZZZZZ:041F"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
