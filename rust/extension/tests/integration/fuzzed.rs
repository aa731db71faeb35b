//! What must hold for any bytes at all that tailscaled gives, or a store of secrets. The fuzz targets include this file.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use extension::{
    auth::{oauth::ClientSecret, secret::Secret, stored_key::pick},
    localapi::{bus::Notify, dns, netmap::Netmap},
};

/// How much of a secret may be in a message by chance.
const BY_CHANCE: usize = 60;

/// Notifications of the LocalAPI's bus, a line each: they are applied one after the other.
pub(crate) fn bus(bytes: &[u8]) {
    let mut netmap = Netmap::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(mut notify) = serde_json::from_slice::<Notify>(line) else {
            continue;
        };
        if let Some(health) = &notify.health {
            // Only a login that failed can have failed on the way.
            assert!(health.control_unreachable().is_none() || health.login_error().is_some());
        }
        netmap.apply(notify.take_netmap_change());
        assert!(notify.take_netmap_change().initial.is_none(), "it is taken once");
    }
    assert_eq!(netmap.peers().count(), netmap.len());
    let addresses: Vec<IpAddr> = netmap.peers().flat_map(|peer| peer.addresses.clone()).collect();
    for address in addresses {
        let owner = netmap.peer_for(address);
        // One that took over another's address, and went, leaves it without an owner.
        if let Some(owner) = owner {
            let routed = owner.allowed.iter().any(|route| route.contains(&address));
            assert!(routed || owner.addresses.contains(&address), "{address} of {owner:?}");
        }
    }
}

/// The answer of the LocalAPI's resolver: base64, or what is inside it.
pub(crate) fn dns(bytes: &[u8]) {
    for message in [
        String::from_utf8_lossy(bytes).into_owned(),
        BASE64_STANDARD.encode(bytes),
    ] {
        if let Ok(addresses) = dns::addresses(&message) {
            assert!(addresses.len() <= message.len());
        }
    }
}

/// A secret's text, after a line that names a field of it.
pub(crate) fn secret(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (field, text) = text.split_once('\n').unwrap_or(("", &text));
    if text.len() >= BY_CHANCE && field.contains(text) {
        // The field's name is no secret, and is shown.
        return;
    }
    for field in [None, Some(field)] {
        match pick(text, field) {
            Ok(secret) => {
                assert!(!secret.is_empty() && secret.expose() == secret.expose().trim());
                if let Some(Err(error)) = ClientSecret::parse(&secret, &["tag:a".to_owned()]) {
                    hides(&error.to_string(), secret.expose());
                }
            }
            Err(reason) => hides(&reason, text),
        }
    }
    if let Some(Err(error)) = ClientSecret::parse(&Secret::new(text), &[]) {
        hides(&error.to_string(), text);
    }
}

fn hides(message: &str, secret: &str) {
    assert!(secret.len() < BY_CHANCE || !message.contains(secret), "{message}");
}
