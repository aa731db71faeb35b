package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// serveRegister answers a login or a log-out.
func (c *control) serveRegister(w http.ResponseWriter, r *http.Request, machine key.MachinePublic) {
	var request tailcfg.RegisterRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, fmt.Sprintf("not a RegisterRequest: %v", err), http.StatusBadRequest)
		return
	}
	c.tailnet.mu.Lock()
	if c.reject > 0 {
		c.reject--
		w.Header().Set("Retry-After", strconv.Itoa(c.retryAfter))
		c.tailnet.mu.Unlock()
		http.Error(w, "too many registrations", http.StatusTooManyRequests)
		return
	}
	if request.Followup != "" {
		c.tailnet.mu.Unlock()
		// Nobody ever visits the page.
		<-r.Context().Done()
		return
	}
	response := c.register(&request, machine)
	c.tailnet.mu.Unlock()
	answerJSON(w, response)
}

// register decides on a login or a log-out. The tailnet's lock is held.
func (c *control) register(request *tailcfg.RegisterRequest, machine key.MachinePublic) tailcfg.RegisterResponse {
	t, hostname := c.tailnet, request.Hostinfo.Hostname
	count := func(what string) {
		if c.tallies[hostname] == nil {
			c.tallies[hostname] = map[string]int{}
		}
		c.tallies[hostname][what]++
	}
	accept := tailcfg.RegisterResponse{
		User:  tailcfg.User{ID: theUser, DisplayName: "Test"},
		Login: tailcfg.Login{ID: tailcfg.LoginID(theUser), Provider: "testbed", LoginName: loginName(t.domain)},
	}
	known := t.byKey[request.NodeKey]
	if !request.Expiry.IsZero() && request.Expiry.Before(time.Now()) {
		count("loggedOut")
		// An ephemeral machine is gone at once, another one must log in again.
		switch {
		case known != nil && known.ephemeral:
			t.remove(known)
		case known != nil:
			t.expire(known)
		}
		return accept
	}
	var text string
	if request.Auth != nil {
		text = request.Auth.AuthKey
	}
	if words := c.refusalOf(text, known, machine); words != "" {
		count("refused")
		return tailcfg.RegisterResponse{Error: words}
	}
	switch {
	case known != nil && t.expired(known):
		count("expired")
		accept.NodeKeyExpired = true
		return accept
	case known != nil && text == "":
		count("known")
	case known != nil:
		count("knownWithKey")
	case text == "" || c.refusal == "person":
		count("askedForLogin")
		accept.AuthURL = c.url + "/a/" + request.NodeKey.ShortString()
		return accept
	default:
		with := c.keys[text]
		with.used = true
		known = t.byKey[request.OldNodeKey]
		if known != nil && known.node.Machine == machine {
			count("rotated")
			delete(t.byKey, known.node.Key)
			known.node.Key, known.node.KeyExpiry = request.NodeKey, time.Time{}
			t.byKey[request.NodeKey] = known
			t.touch(known)
		} else {
			count("new")
			known = t.admit(request, machine, with.Ephemeral || request.Ephemeral, c.refusal != "unapproved")
		}
	}
	log.Printf("registered: node %d, %s", known.node.ID, known.node.Name)
	accept.MachineAuthorized = known.node.MachineAuthorized
	return accept
}

// refusalOf is the words, Tailscale's own, in which a login is refused, if it is. A key that is not good is refused also beside
// a node key that is (tailscale/tailscale#16987, #19501).
func (c *control) refusalOf(text string, known *member, machine key.MachinePublic) string {
	with := c.keys[text]
	switch {
	case known != nil && known.node.Machine != machine:
		return "the node key belongs to another machine"
	case c.refusal == "in-words":
		return c.words
	case text == "":
		return ""
	case with == nil:
		return "invalid key: unable to validate API key"
	case with.revoked:
		return "invalid key: API key does not exist"
	case with.used && !with.Reusable:
		return "authkey already used"
	}
	return ""
}

// admit makes a machine a member. t.mu is held.
func (t *tailnet) admit(request *tailcfg.RegisterRequest, machine key.MachinePublic, ephemeral, approved bool) *member {
	info := request.Hostinfo
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
