package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"sync"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// tally counts what machines of one name asked for.
type tally struct {
	// New machines, admitted by an auth key.
	New int `json:"new"`
	// Rotated: a known machine came with another node key, admitted by an auth key.
	Rotated int `json:"rotated"`
	// Known node keys, that came without an auth key.
	Known int `json:"known"`
	// KnownWithKey: known node keys that came with an auth key, though they need none.
	KnownWithKey int `json:"knownWithKey"`
	// Refused, in words.
	Refused int `json:"refused"`
	// Expired: known node keys that had expired.
	Expired int `json:"expired"`
	// AskedForLogin: those that were sent to a page where a person logs in.
	AskedForLogin int `json:"askedForLogin"`
	// LoggedOut, by themselves.
	LoggedOut int `json:"loggedOut"`
}

// tallies are by hostname.
type tallies struct {
	mu     sync.Mutex
	byName map[string]*tally
}

func (t *tallies) of(hostname string) *tally {
	if t.byName[hostname] == nil {
		t.byName[hostname] = &tally{}
	}
	return t.byName[hostname]
}

// count adds to the number that which chooses.
func (t *tallies) count(hostname string, which func(*tally) *int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*which(t.of(hostname))++
}

// serveRegister answers a login or a log-out.
func (c *control) serveRegister(w http.ResponseWriter, r *http.Request, machine key.MachinePublic) {
	if reject, retryAfter := c.faults.limitRegister(); reject {
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "too many registrations", http.StatusTooManyRequests)
		return
	}
	var request tailcfg.RegisterRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, fmt.Sprintf("not a RegisterRequest: %v", err), http.StatusBadRequest)
		return
	}
	if request.Followup != "" {
		// Nobody ever visits the page.
		<-r.Context().Done()
		return
	}
	answerJSON(w, c.register(&request, machine))
}

// register decides on a login or a log-out.
func (c *control) register(request *tailcfg.RegisterRequest, machine key.MachinePublic) tailcfg.RegisterResponse {
	t := c.tailnet
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.byKey[request.NodeKey]
	var hostname string
	switch {
	case known != nil:
		hostname = known.node.Hostinfo.Hostname()
	case request.Hostinfo != nil:
		hostname = request.Hostinfo.Hostname
	}
	count := func(which func(*tally) *int) { c.tallies.count(hostname, which) }
	refuse := func(words string) tailcfg.RegisterResponse {
		count(func(t *tally) *int { return &t.Refused })
		return tailcfg.RegisterResponse{Error: words}
	}
	accept := tailcfg.RegisterResponse{
		User:  tailcfg.User{ID: theUser, DisplayName: "Test"},
		Login: tailcfg.Login{ID: tailcfg.LoginID(theUser), Provider: "testbed", LoginName: loginName(t.domain)},
	}
	if known != nil && known.node.Machine != machine {
		return refuse("the node key belongs to another machine")
	}
	if !request.Expiry.IsZero() && request.Expiry.Before(time.Now()) {
		count(func(t *tally) *int { return &t.LoggedOut })
		if known != nil {
			t.logOut(known)
		}
		return accept
	}
	if words := c.faults.refusal(); words != "" {
		return refuse(words)
	}

	var with authKey
	text := authKeyOf(request)
	if text != "" {
		var err error
		if with, err = c.keys.check(text); err != nil {
			return refuse(err.Error())
		}
	}
	switch {
	case known != nil && t.expired(known):
		count(func(t *tally) *int { return &t.Expired })
		accept.NodeKeyExpired = true
		return accept
	case known != nil && text == "":
		count(func(t *tally) *int { return &t.Known })
	case known != nil:
		count(func(t *tally) *int { return &t.KnownWithKey })
	case text == "" || c.faults.wantsPerson():
		count(func(t *tally) *int { return &t.AskedForLogin })
		accept.AuthURL = c.url + "/a/" + request.NodeKey.ShortString()
		return accept
	default:
		c.keys.use(text)
		known = t.byKey[request.OldNodeKey]
		if known != nil && known.node.Machine == machine {
			count(func(t *tally) *int { return &t.Rotated })
			t.rotate(known, request.NodeKey)
		} else {
			count(func(t *tally) *int { return &t.New })
			known = t.admit(request, machine, with.Ephemeral || request.Ephemeral, !c.faults.wantsApproval())
		}
	}
	log.Printf("registered: node %d, %s", known.node.ID, known.node.Name)
	accept.MachineAuthorized = known.node.MachineAuthorized
	return accept
}

func authKeyOf(request *tailcfg.RegisterRequest) string {
	if request.Auth == nil {
		return ""
	}
	return request.Auth.AuthKey
}

// admit makes a machine a member. t.mu is held.
func (t *tailnet) admit(request *tailcfg.RegisterRequest, machine key.MachinePublic, ephemeral, approved bool) *member {
	info := request.Hostinfo
	if info == nil {
		info = &tailcfg.Hostinfo{}
	}
	m := &member{ephemeral: ephemeral, node: &tailcfg.Node{
		Machine:           machine,
		Key:               request.NodeKey,
		MachineAuthorized: approved,
		Cap:               request.Version,
		Tags:              info.RequestTags, // whoever has a key may have any
	}}
	m.takeInfo(info)
	t.add(m, info.Hostname)
	t.touch(m)
	return m
}

// rotate gives a machine another node key. t.mu is held.
func (t *tailnet) rotate(m *member, to key.NodePublic) {
	delete(t.byKey, m.node.Key)
	m.node.Key = to
	m.node.KeyExpiry = time.Time{}
	t.byKey[to] = m
	t.touch(m)
}

// logOut: an ephemeral machine is gone at once, another one must log in again. t.mu is held.
func (t *tailnet) logOut(m *member) {
	if m.ephemeral {
		t.remove(m)
		return
	}
	m.node.KeyExpiry = time.Now().Add(-time.Minute)
	t.touch(m)
}
