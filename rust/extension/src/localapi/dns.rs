//! The addresses in a DNS message, which is what the LocalAPI's resolver answers with.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use simple_dns::{Packet, rdata::RData};
use thiserror::Error;

/// A message that is none.
#[derive(Debug, Error)]
pub enum DnsError {
    /// The LocalAPI wraps the message in base64.
    #[error("the DNS message is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The message itself.
    #[error("the DNS message cannot be read: {0}")]
    Message(#[from] simple_dns::SimpleDnsError),
}

/// The A and AAAA records of a DNS message given in base64. Records of other types (a CNAME before them) are passed over.
pub fn addresses(message: &str) -> Result<Vec<IpAddr>, DnsError> {
    let bytes = BASE64_STANDARD.decode(message)?;
    let packet = Packet::parse(&bytes)?;
    let address = |data: &RData<'_>| match data {
        RData::A(record) => Some(IpAddr::from(record.address.to_be_bytes())),
        RData::AAAA(record) => Some(IpAddr::from(record.address.to_be_bytes())),
        _ => None,
    };
    Ok(packet
        .answers
        .iter()
        .filter_map(|record| address(&record.rdata))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use simple_dns::{CLASS, Name, ResourceRecord, rdata};

    use super::*;

    #[test]
    fn both_kinds_of_address_are_found() {
        let mut packet = Packet::new_reply(1);
        let name = Name::new("db.tail.net").unwrap();
        for data in [
            RData::CNAME(rdata::CNAME(Name::new("real.tail.net").unwrap())),
            RData::A(rdata::A { address: 0x6440_0002 }),
            RData::AAAA(rdata::AAAA {
                address: 0xfd7a_115c_a1e0_0000_0000_0000_0000_0002,
            }),
        ] {
            packet
                .answers
                .push(ResourceRecord::new(name.clone(), CLASS::IN, 60, data));
        }
        let message = BASE64_STANDARD.encode(packet.build_bytes_vec().unwrap());
        let expected: [IpAddr; 2] = ["100.64.0.2".parse().unwrap(), "fd7a:115c:a1e0::2".parse().unwrap()];
        assert_eq!(addresses(&message).unwrap(), expected);
    }

    #[test]
    fn rubbish_is_an_error_not_an_empty_answer() {
        assert!(addresses("%%%").is_err());
        assert!(addresses(&BASE64_STANDARD.encode([1, 2, 3])).is_err());
    }
}
