package main

import (
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const goodKey = "tskey-auth-good"

// client is a machine that registers with a control server of its own.
type client struct {
	control *control
	machine key.MachinePublic
	node    key.NodePublic
}

func newClient(kind authKey) *client {
	c := newControl("http://control", newTailnet("tailnet.test", nil), map[string]*authKey{goodKey: &kind})
	return &client{control: c, machine: key.NewMachine().Public(), node: key.NewNode().Public()}
}

func (c *client) register(request tailcfg.RegisterRequest, authKey string) tailcfg.RegisterResponse {
	request.NodeKey = c.node
	request.Hostinfo = &tailcfg.Hostinfo{Hostname: "client"}
	if authKey != "" {
		request.Auth = &tailcfg.RegisterResponseAuth{AuthKey: authKey}
	}
	return c.control.register(&request, c.machine)
}

func (c *client) tally() tally { return *c.control.tallies.of("client") }

func TestKnownNodeKeyNeedsNoAuthKey(t *testing.T) {
	c := newClient(authKey{Reusable: true})
	if got := c.register(tailcfg.RegisterRequest{}, goodKey); got.Error != "" || !got.MachineAuthorized {
		t.Fatalf("first login: %+v", got)
	}
	if got := c.register(tailcfg.RegisterRequest{}, ""); got.Error != "" || got.AuthURL != "" {
		t.Fatalf("without a key: %+v", got)
	}
	if got, want := c.tally(), (tally{New: 1, Known: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestBadAuthKeyIsRefusedBesideKnownNodeKey(t *testing.T) {
	for name, test := range map[string]struct {
		kind  authKey
		spoil func(*authKeys)
		want  error
	}{
		"revoked": {authKey{Reusable: true}, func(a *authKeys) { a.revoke(goodKey) }, errRevokedKey},
		"purged":  {authKey{Reusable: true}, func(a *authKeys) { a.purge(goodKey) }, errUnknownKey},
		"used up": {authKey{}, func(*authKeys) {}, errUsedKey},
	} {
		c := newClient(test.kind)
		c.register(tailcfg.RegisterRequest{}, goodKey)
		test.spoil(c.control.keys)
		if got := c.register(tailcfg.RegisterRequest{}, goodKey); got.Error != test.want.Error() {
			t.Errorf("%s: %+v, want %q", name, got, test.want)
		}
		if got := c.register(tailcfg.RegisterRequest{}, ""); got.Error != "" || got.AuthURL != "" {
			t.Errorf("%s, then without a key: %+v", name, got)
		}
	}
}

func TestUnknownNodeKeyWithoutAuthKeyIsSentToLogin(t *testing.T) {
	c := newClient(authKey{})
	if got := c.register(tailcfg.RegisterRequest{}, ""); got.AuthURL == "" {
		t.Errorf("%+v", got)
	}
}

func TestLogOut(t *testing.T) {
	past := tailcfg.RegisterRequest{Expiry: time.Now().Add(-time.Hour)}
	for _, ephemeral := range []bool{true, false} {
		c := newClient(authKey{Reusable: true, Ephemeral: ephemeral})
		c.register(tailcfg.RegisterRequest{}, goodKey)
		c.register(past, "")
		if left := len(c.control.tailnet.members) > 0; left == ephemeral {
			t.Errorf("ephemeral: %v; a member after its log-out: %v", ephemeral, left)
		}
		if got, want := c.tally(), (tally{New: 1, LoggedOut: 1}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		if got := c.register(tailcfg.RegisterRequest{}, ""); (got.AuthURL != "") != ephemeral || got.NodeKeyExpired == ephemeral {
			t.Errorf("ephemeral: %v; then: %+v", ephemeral, got)
		}
	}
}

func TestPeersHearOfChangesAlone(t *testing.T) {
	c := newClient(authKey{Reusable: true})
	tailnet := c.control.tailnet
	c.register(tailcfg.RegisterRequest{}, goodKey)
	self := tailnet.byKey[c.node]
	tailnet.join(crowd{Peers: 5000, Online: 10, Siblings: 20, Hostname: "client"})
	response, before, _ := tailnet.news(self, told{})
	if len(response.Peers) != 5020 {
		t.Fatalf("%d peers", len(response.Peers))
	}
	if response, _, _ := tailnet.news(self, before); response != nil {
		t.Errorf("without a change: %+v", response)
	}
	other := client{control: c.control, machine: key.NewMachine().Public(), node: key.NewNode().Public()}
	other.register(tailcfg.RegisterRequest{}, goodKey)
	response, before, _ = tailnet.news(self, before)
	if len(response.PeersChanged) != 1 || response.Node != nil {
		t.Errorf("after a login: %d peers, self %v", len(response.PeersChanged), response.Node)
	}
	tailnet.remove(tailnet.byKey[other.node])
	response, _, gone := tailnet.news(self, before)
	if gone || len(response.PeersRemoved) != 1 || len(response.PeersChanged) != 0 {
		t.Errorf("after a removal: %+v", response)
	}
	tailnet.remove(self)
	if _, _, gone := tailnet.news(self, before); !gone {
		t.Error("a removed node is still told")
	}
}
