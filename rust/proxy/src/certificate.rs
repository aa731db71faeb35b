//! The public key in an X.509 certificate of any version: what TLS verifies signatures with, and the one thing that is
//! read of a certificate that need not be trusted. (webpki reads version 3 alone.)

/// DER's tag of a sequence, and of the field that holds a certificate's version (RFC 5280 section 4.1).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The certificate's SubjectPublicKeyInfo, as DER; `None` if it is not a certificate.
pub(crate) fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = content(certificate, SEQUENCE)?;
    let (mut fields, _) = content(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        (_, fields) = element(fields)?;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        (_, fields) = element(fields)?;
    }
    let (key, _) = element(fields)?;
    (key.first() == Some(&SEQUENCE)).then_some(key)
}

/// The content of the first element, whose tag must be `tag`, and what follows it.
fn content(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (header, length) = header(der)?;
    let end = header.checked_add(length)?;
    (der[0] == tag).then_some((der.get(header..end)?, der.get(end..)?))
}

/// The first element whole, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, length) = header(der)?;
    der.split_at_checked(header.checked_add(length)?)
}

/// How long the tag and the length of the first element are, and how long its content is.
fn header(der: &[u8]) -> Option<(usize, usize)> {
    let first = *der.get(1)?;
    if first < 0x80 {
        return Some((2, first.into()));
    }
    let octets = usize::from(first & 0x7f);
    let length = der.get(2..2 + octets).filter(|_| (1..=4).contains(&octets))?;
    let length = length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
    Some((2 + octets, length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{CertifiedKey, PublicKeyData, generate_simple_self_signed};

    use super::*;

    #[test]
    fn the_key_of_a_certificate_is_found() {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["db".to_owned()]).unwrap();
        let key = signing_key.subject_public_key_info();
        assert_eq!(public_key(cert.der()), Some(&key[..]));
    }

    #[test]
    fn what_is_no_certificate_has_no_key_and_does_no_harm() {
        let CertifiedKey { cert, .. } = generate_simple_self_signed(["db".to_owned()]).unwrap();
        for end in 0..cert.der().len() / 2 {
            assert_eq!(public_key(&cert.der()[..end]), None);
        }
        for der in [
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..],
            &[0x30, 0x89],
            &[0x30, 0x80, 0],
            &[0x30, 2, 0x30, 0],
        ] {
            assert_eq!(public_key(der), None);
        }
    }
}
