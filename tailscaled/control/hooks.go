package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"tailscale.com/tailcfg"
)

// node is one machine of the tailnet.
type node struct {
	ID        int64        `json:"id"`
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	Tags      []string     `json:"tags"`
	// Online: it holds a map stream open, so control would hear of its end.
	Online    bool `json:"online"`
	Expired   bool `json:"expired"`
	Ephemeral bool `json:"ephemeral"`
}

// orders is the union of the requests' bodies: each hook reads fields of its own.
type orders struct {
	// An auth key.
	Key string `json:"key"`
	authKey
	// A name of the resolver's.
	Name    string `json:"name"`
	Address string `json:"address"`
	// A refusal.
	Words string `json:"words"`
	// The limit of registrations.
	Reject            int `json:"reject"`
	RetryAfterSeconds int `json:"retryAfterSeconds"`
	// A silence.
	Millis int64 `json:"millis"`
}

// hooks is what tests see of the tailnet, and do to it:
//
//	GET  /testbed/nodes                 the nodes of the tailnet but for a crowd, as []node
//	GET  /testbed/counts                registrations and log-outs, as {hostname: {what: count}}
//	POST /testbed/nodes/{id}/expire     ends the node's key: it must log in again
//	POST /testbed/nodes/{id}/remove     forgets the node: its polls are answered with 404, and its peers know it no more
//	PUT  /testbed/nodes/{id}/routes     ["10.0.0.0/8",...]: the routes that its peers take through it
//	GET  /testbed/derp-map              where DERP and STUN are, as a tailcfg.DERPMap
//	POST /testbed/names                 {"name":S,"address":A}: one more name for the tailnet's resolver
//	PUT  /testbed/keys                  {"key":S,"reusable":B,"ephemeral":B}: one more auth key
//	POST /testbed/keys/revoke           {"key":S}: refused from now on
//	POST /testbed/keys/purge            {"key":S}: unknown from now on
//	PUT  /testbed/refusal/{what}        what becomes of nodes that want to join, for requests that begin after the answer:
//	       nothing       they may
//	       everything    each request is answered with 503
//	       unapproved    an administrator must approve them first
//	       person        a person must log in
//	       without-logs  they must send their logs to Tailscale: see tailnet.requireLogs
//	       in-words      they are refused in these words: {"words":S}
//	POST /testbed/approve-all           approves the nodes that wait for it
//	PUT  /testbed/register-limit        {"reject":N,"retryAfterSeconds":S}: the next N registrations get a 429
//	PUT  /testbed/silence               {"millis":N}: takes connections and says nothing for so long; 0 ends it
//	POST /testbed/crowd                 a crowd: machines that nobody is behind
func (c *control) hooks() http.Handler {
	t := c.tailnet
	mux := http.NewServeMux()
	tells := func(path string, what func() any) {
		mux.HandleFunc("GET /testbed/"+path, func(w http.ResponseWriter, _ *http.Request) {
			t.mu.Lock()
			defer t.mu.Unlock()
			answerJSON(w, what())
		})
	}
	tells("nodes", func() any { return t.nodes() })
	tells("counts", func() any { return c.tallies })
	tells("derp-map", func() any { return t.derpMap })

	takes := func(pattern string, do func(orders)) {
		mux.HandleFunc(pattern, taking(t, func(_ *http.Request, o orders) error { do(o); return nil }))
	}
	takes("POST /testbed/names", func(o orders) {
		// The resolver takes the type from the value.
		t.records = append(t.records, tailcfg.DNSRecord{Name: o.Name, Value: o.Address})
		t.touch(nil)
	})
	takes("PUT /testbed/keys", func(o orders) { c.keys[o.Key] = &o.authKey })
	takes("POST /testbed/keys/revoke", func(o orders) { c.keys[o.Key].revoked = true })
	takes("POST /testbed/keys/purge", func(o orders) { delete(c.keys, o.Key) })
	takes("PUT /testbed/register-limit", func(o orders) { c.reject, c.retryAfter = o.Reject, o.RetryAfterSeconds })
	takes("PUT /testbed/silence", func(o orders) {
		c.silentUntil.Store(time.Now().Add(time.Duration(o.Millis) * time.Millisecond).UnixNano())
	})
	takes("POST /testbed/approve-all", func(orders) {
		for _, m := range t.members {
			m.node.MachineAuthorized = true
			t.touch(m)
		}
	})
	mux.HandleFunc("PUT /testbed/refusal/{what}", taking(t, func(r *http.Request, o orders) error {
		c.refusal, c.words = r.PathValue("what"), o.Words
		t.requireLogs = c.refusal == "without-logs"
		t.touch(nil)
		return nil
	}))
	mux.HandleFunc("POST /testbed/crowd", taking(t, func(_ *http.Request, crowd crowd) error { t.join(crowd); return nil }))

	mux.HandleFunc("POST /testbed/nodes/{id}/expire", toNode(t, func(m *member, _ struct{}) { t.expire(m) }))
	mux.HandleFunc("POST /testbed/nodes/{id}/remove", toNode(t, func(m *member, _ struct{}) { t.remove(m) }))
	mux.HandleFunc("PUT /testbed/nodes/{id}/routes", toNode(t, func(m *member, routes []netip.Prefix) {
		m.routes = routes
		t.touch(m)
	}))
	return mux
}

// taking is a handler of requests with a body, which holds the tailnet's lock. An error is the test's.
func taking[T any](t *tailnet, do func(*http.Request, T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		var body T
		err := json.NewDecoder(r.Body).Decode(&body)
		if err == nil {
			err = do(r, body)
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("%s: %v", r.URL.Path, err), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// toNode is a handler of requests whose path names a node.
func toNode[T any](t *tailnet, do func(*member, T)) http.HandlerFunc {
	return taking(t, func(r *http.Request, body T) error {
		id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
		m := t.members[tailcfg.NodeID(id)]
		if m == nil {
			return fmt.Errorf("there is no such node")
		}
		do(m, body)
		return nil
	})
}

// nodes is the members but for a crowd. t.mu is held.
func (t *tailnet) nodes() []node {
	nodes := []node{}
	for _, m := range t.sorted() {
		if m.synthetic {
			continue
		}
		entry := node{
			ID: int64(m.node.ID), Name: m.node.Name, Tags: m.node.Tags, Online: m.online,
			Expired: t.expired(m), Ephemeral: m.ephemeral,
		}
		for _, prefix := range m.node.Addresses {
			entry.Addresses = append(entry.Addresses, prefix.Addr())
		}
		nodes = append(nodes, entry)
	}
	return nodes
}
