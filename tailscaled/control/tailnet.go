package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tailscale.com/net/tsaddr"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/opt"
)

// theUser owns every machine.
const theUser = tailcfg.UserID(1)

// tailnet is the machines and what each of them is to know of the others.
type tailnet struct {
	domain  string
	derpMap *tailcfg.DERPMap

	mu      sync.Mutex
	members map[tailcfg.NodeID]*member
	byKey   map[key.NodePublic]*member
	lastID  tailcfg.NodeID // never used again, and neither is the address that belongs to it
	records []tailcfg.DNSRecord
	// requireLogs: as a tailnet with network flow logs, which refuses nodes that run without logs.
	requireLogs bool
	// settings is the version of what all nodes are told about the tailnet itself.
	settings uint64
	version  uint64
	changed  chan struct{} // closed, and replaced, by each change
}

// member is a machine of the tailnet.
type member struct {
	node      *tailcfg.Node
	routes    []netip.Prefix
	ephemeral bool
	// synthetic: there is no such machine, the tailnet only says so.
	synthetic bool
	version   uint64 // of the tailnet, at the member's last change
	// streams is how many map streams were begun: only the last one is served.
	streams uint64
	online  bool
}

func newTailnet(domain string, derpMap *tailcfg.DERPMap) *tailnet {
	return &tailnet{
		domain: domain, derpMap: derpMap,
		members: map[tailcfg.NodeID]*member{}, byKey: map[key.NodePublic]*member{},
		changed: make(chan struct{}),
	}
}

// touch makes the streams tell of m's change, or of the tailnet's settings where m is nil. t.mu is held.
func (t *tailnet) touch(m *member) {
	t.version++
	if m == nil {
		t.settings = t.version
	} else {
		m.version = t.version
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// add gives a machine its number, name and addresses. t.mu is held, and the caller touches the member.
func (t *tailnet) add(m *member, hostname string) {
	t.lastID++
	id := t.lastID
	v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(id >> 8), byte(id)}), 32)
	v6 := netip.PrefixFrom(tsaddr.Tailscale4To6(v4.Addr()), 128)
	m.node.ID = id
	m.node.StableID = tailcfg.StableNodeID(fmt.Sprintf("TESTBED%08x", int64(id)))
	m.node.Name = hostname + "." + t.domain + "."
	m.node.Addresses = []netip.Prefix{v4, v6}
	m.node.User = theUser
	t.members[id] = m
	t.byKey[m.node.Key] = m
}

// remove has the tailnet forget a machine. t.mu is held.
func (t *tailnet) remove(m *member) {
	delete(t.members, m.node.ID)
	delete(t.byKey, m.node.Key)
	t.touch(m)
}

// expire ends a machine's key: the machine must log in again. t.mu is held.
func (t *tailnet) expire(m *member) {
	m.node.KeyExpiry = time.Now().Add(-time.Minute)
	t.touch(m)
}

func (t *tailnet) expired(m *member) bool {
	return !m.node.KeyExpiry.IsZero() && m.node.KeyExpiry.Before(time.Now())
}

// sorted is all members by their numbers. t.mu is held.
func (t *tailnet) sorted() []*member {
	all := make([]*member, 0, len(t.members))
	for _, m := range t.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *member) int { return cmp.Compare(a.node.ID, b.node.ID) })
	return all
}

// view is the member as it is told to others, or to itself. t.mu is held.
func (t *tailnet) view(m *member, toItself bool) *tailcfg.Node {
	n := m.node.Clone()
	n.PrimaryRoutes = m.routes
	n.AllowedIPs = slices.Concat(n.Addresses, m.routes)
	if toItself {
		n.Capabilities = append(n.Capabilities, tailcfg.NodeAttrDisableUPnP)
		if t.requireLogs {
			n.Capabilities = append(n.Capabilities, tailcfg.CapabilityDataPlaneAuditLogs)
		}
		return n
	}
	online := m.online
	n.Online = &online
	return n
}

// told is what a map stream has told its node.
type told struct {
	version uint64
	peers   map[tailcfg.NodeID]bool
}

// news is what self is to be told beyond what it was told. Nil: nothing. gone: the tailnet does not know self any more.
func (t *tailnet) news(self *member, before told) (response *tailcfg.MapResponse, now told, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.members[self.node.ID] != self {
		return nil, before, true
	}
	first := before.version == 0
	now = told{version: t.version, peers: make(map[tailcfg.NodeID]bool, len(t.members))}
	response = &tailcfg.MapResponse{}
	var peers []*tailcfg.Node
	for _, m := range t.sorted() {
		if m == self {
			continue
		}
		now.peers[m.node.ID] = true
		if m.version > before.version || !before.peers[m.node.ID] {
			peers = append(peers, t.view(m, false))
		}
	}
	for id := range before.peers {
		if !now.peers[id] {
			response.PeersRemoved = append(response.PeersRemoved, id)
		}
	}
	selfChanged := self.version > before.version || t.settings > before.version
	if !first && !selfChanged && len(peers) == 0 && len(response.PeersRemoved) == 0 {
		return nil, now, false
	}
	if selfChanged || first {
		response.Node = t.view(self, true)
		// Proxied is MagicDNS: the nodes' own resolver answers for the names below the domain.
		response.DNSConfig = &tailcfg.DNSConfig{Proxied: true, Domains: []string{t.domain}, ExtraRecords: t.records}
	}
	if !first {
		response.PeersChanged = peers
		return response, now, false
	}
	response.Peers = peers
	response.DERPMap = t.derpMap
	response.Domain = t.domain
	response.CollectServices = opt.NewBool(false)
	response.PacketFilter = tailcfg.FilterAllowAll
	response.UserProfiles = []tailcfg.UserProfile{{ID: theUser, LoginName: loginName(t.domain), DisplayName: "Test"}}
	clock := time.Now()
	response.ControlTime = &clock
	return response, now, false
}

func loginName(domain string) string { return "test@" + domain }
