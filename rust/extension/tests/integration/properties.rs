//! Whatever tailscaled gives, or a store of secrets: no panic, no contradiction, and no secret in a message.

use proptest::prelude::*;

use crate::fuzzed;

/// JSON as it might be, with fields that matter.
fn notifications() -> impl Strategy<Value = Vec<u8>> {
    let address = prop_oneof![
        Just("\"100.64.0.2\"".to_owned()),
        Just("\"100.64.0.3/32\"".to_owned()),
        Just("\"10.0.0.0/8\"".to_owned()),
        Just("\"0.0.0.0/0\"".to_owned()),
        Just("\"fd7a::1\"".to_owned()),
        "\"[0-9a-f.:/]{0,12}\"",
    ];
    let list = prop::collection::vec(address, 0..3).prop_map(|list| format!("[{}]", list.join(",")));
    let list = prop_oneof![list, Just("null".to_owned())];
    let machine = || (0u64..4, list.clone(), list.clone(), "[a-c.]{0,5}");
    let node = machine().prop_map(|(id, addresses, allowed, name)| {
        format!(r#"{{"ID":{id},"Name":"{name}","Addresses":{addresses},"AllowedIPs":{allowed},"StableID":"n{id}"}}"#)
    });
    let peer = machine().prop_map(|(id, addresses, allowed, name)| {
        format!(
            r#""k{id}":{{"NodeID":{id},"ID":"n{id}","DNSName":"{name}","TailscaleIPs":{addresses},"AllowedIPs":{allowed}}}"#
        )
    });
    let notification = prop_oneof![
        prop::collection::vec(node.clone(), 0..4)
            .prop_map(|nodes| format!(r#"{{"PeersChanged":[{}]}}"#, nodes.join(","))),
        prop::collection::vec(peer, 0..4)
            .prop_map(|peers| format!(r#"{{"InitialStatus":{{"Self":null,"Peer":{{{}}}}}}}"#, peers.join(","))),
        node.prop_map(|node| format!(r#"{{"SelfChange":{node}}}"#)),
        (0u64..4, any::<i64>()).prop_map(|(id, region)| format!(
            r#"{{"PeersRemoved":[{id}],"PeerChangedPatch":[{{"NodeID":{id},"DERPRegion":{region},"Online":null}}]}}"#
        )),
        any::<i16>().prop_map(|state| format!(
            r#"{{"State":{state},"Health":{{"Warnings":{{"login-state":{{"Text":null}}}}}}}}"#
        )),
        ".{0,20}",
    ];
    prop::collection::vec(notification, 0..8).prop_map(|lines| lines.join("\n").into_bytes())
}

proptest! {
    #[test]
    fn any_notifications_leave_a_netmap_without_contradictions(bytes in notifications()) {
        fuzzed::bus(&bytes);
    }

    #[test]
    fn any_bytes_are_addresses_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzed::dns(&bytes);
        fuzzed::bus(&bytes);
    }

    #[test]
    fn no_secret_is_shown_whatever_is_wrong_with_it(
        field in "[a-z]{0,3}",
        text in "(tskey-client-|\\{\"a\":\")?[ -~]{0,120}\"?\\}?",
    ) {
        fuzzed::secret(format!("{field}\n{text}").as_bytes());
    }
}
