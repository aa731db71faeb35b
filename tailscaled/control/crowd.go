package main

import (
	"fmt"
	"net/netip"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// crowd is machines that the tailnet knows and that nobody is behind.
type crowd struct {
	// Peers are unlike the function, and offline but for the first Online.
	Peers  int `json:"peers"`
	Online int `json:"online"`
	// Siblings are other environments of a function, frozen: by the control server's word they are online.
	Siblings int      `json:"siblings"`
	Hostname string   `json:"hostname"`
	Tags     []string `json:"tags"`
}

// join makes the crowd members, all at once. t.mu is held.
func (t *tailnet) join(c crowd) {
	var last *member
	for number := range c.Peers {
		last = t.addSynthetic(fmt.Sprintf("peer-%d", number+1), nil, number < c.Online)
	}
	for range c.Siblings {
		last = t.addSynthetic(c.Hostname, c.Tags, true)
	}
	if last != nil {
		t.touch(last)
	}
}

// addSynthetic adds a machine that does not answer. t.mu is held.
func (t *tailnet) addSynthetic(hostname string, tags []string, online bool) *member {
	derp := 1
	info := &tailcfg.Hostinfo{OS: "linux", Hostname: hostname, NetInfo: &tailcfg.NetInfo{PreferredDERP: derp}}
	m := &member{synthetic: true, online: online, version: t.version + 1, node: &tailcfg.Node{
		Machine:           key.NewMachine().Public(),
		Key:               key.NewNode().Public(),
		DiscoKey:          key.NewDisco().Public(),
		MachineAuthorized: true,
		Hostinfo:          info.View(),
		HomeDERP:          derp,
		Tags:              tags,
	}}
	if !online {
		seen := time.Now().Add(-time.Hour)
		m.node.LastSeen = &seen
	}
	t.add(m, hostname)
	// Addresses of a benchmark's network (RFC 2544), which lead nowhere.
	address := netip.AddrFrom4([4]byte{198, 18, byte(m.node.ID >> 8), byte(m.node.ID)})
	m.node.Endpoints = []netip.AddrPort{netip.AddrPortFrom(address, 41641)}
	return m
}
