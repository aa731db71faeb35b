package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"tailscale.com/tailcfg"
)

// hooks is what tests see of the tailnet, and do to it:
//
//	GET  /testbed/nodes                 the nodes of the tailnet but for a crowd, as []node
//	GET  /testbed/counts                registrations and log-outs, as {hostname: tally}
//	POST /testbed/nodes/{id}/expire     ends the node's key: it must log in again
//	POST /testbed/nodes/{id}/remove     forgets the node: its polls are answered with 404, and its peers know it no more
//	PUT  /testbed/nodes/{id}/routes     ["10.0.0.0/8",...]: the routes that its peers take through it
//	GET  /testbed/derp-map              where DERP and STUN are, as a tailcfg.DERPMap
//	POST /testbed/names                 {"name":S,"address":A}: one more name for the tailnet's resolver
//	PUT  /testbed/keys                  {"key":S,"reusable":B,"ephemeral":B}: one more auth key
//	POST /testbed/keys/revoke           {"key":S}: refused from now on
//	POST /testbed/keys/purge            {"key":S}: unknown from now on
//	PUT  /testbed/refusal/{what}        what becomes of nodes that want to join: see faults.refuse; in-words takes {"words":S}
//	POST /testbed/approve-all           approves the nodes that wait for it
//	PUT  /testbed/register-limit        {"reject":N,"retryAfterSeconds":S}: the next N registrations get a 429
//	PUT  /testbed/silence               {"millis":N}: takes connections and says nothing for so long; 0 ends it
//	POST /testbed/crowd                 a crowd: machines that nobody is behind
type hooks struct {
	*control
}

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

func (h hooks) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /testbed/nodes", h.listNodes)
	mux.HandleFunc("GET /testbed/counts", h.counts)
	mux.HandleFunc("POST /testbed/nodes/{id}/expire", h.toNode(func(m *member, _ *http.Request) error {
		m.node.KeyExpiry = time.Now().Add(-time.Minute)
		h.tailnet.touch(m)
		return nil
	}))
	mux.HandleFunc("POST /testbed/nodes/{id}/remove", h.toNode(func(m *member, _ *http.Request) error {
		h.tailnet.remove(m)
		return nil
	}))
	mux.HandleFunc("PUT /testbed/nodes/{id}/routes", h.toNode(func(m *member, r *http.Request) error {
		var routes []netip.Prefix
		if err := json.NewDecoder(r.Body).Decode(&routes); err != nil {
			return fmt.Errorf(`want a list of routes such as ["10.0.0.0/8"]: %w`, err)
		}
		m.routes = routes
		h.tailnet.touch(m)
		return nil
	}))
	mux.HandleFunc("GET /testbed/derp-map", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, h.tailnet.derpMap) })
	mux.HandleFunc("POST /testbed/names", taking(h.addName))
	mux.HandleFunc("PUT /testbed/keys", taking(h.declareKey))
	mux.HandleFunc("POST /testbed/keys/revoke", taking(onKey(h.keys.revoke)))
	mux.HandleFunc("POST /testbed/keys/purge", taking(onKey(h.keys.purge)))
	mux.HandleFunc("PUT /testbed/refusal/{what}", h.setRefusal)
	mux.HandleFunc("POST /testbed/approve-all", h.approveAll)
	mux.HandleFunc("PUT /testbed/register-limit", taking(h.setRegisterLimit))
	mux.HandleFunc("PUT /testbed/silence", taking(func(t period) error { h.faults.beSilent(t.duration()); return nil }))
	mux.HandleFunc("POST /testbed/crowd", taking(func(c crowd) error { h.tailnet.join(c); return nil }))
	return mux
}

// period is a time that a hook is given.
type period struct {
	Millis int64 `json:"millis"`
}

func (p period) duration() time.Duration { return time.Duration(p.Millis) * time.Millisecond }

// taking is a handler of requests with a body. An error is the test's.
func taking[T any](do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		err := json.NewDecoder(r.Body).Decode(&body)
		if err == nil {
			err = do(body)
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("%s: %v", r.URL.Path, err), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// toNode is a handler of requests whose path names a node. The tailnet's lock is held meanwhile.
func (h hooks) toNode(do func(*member, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, fmt.Sprintf("id %q: want a node's number", r.PathValue("id")), http.StatusBadRequest)
			return
		}
		h.tailnet.mu.Lock()
		defer h.tailnet.mu.Unlock()
		m := h.tailnet.members[tailcfg.NodeID(id)]
		if m == nil {
			http.Error(w, fmt.Sprintf("no node has id %d", id), http.StatusNotFound)
			return
		}
		if err := do(m, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (h hooks) listNodes(w http.ResponseWriter, _ *http.Request) {
	h.tailnet.mu.Lock()
	defer h.tailnet.mu.Unlock()
	nodes := []node{}
	for _, m := range h.tailnet.sorted() {
		if m.synthetic {
			continue
		}
		entry := node{
			ID: int64(m.node.ID), Name: m.node.Name, Tags: m.node.Tags, Online: m.online,
			Expired: h.tailnet.expired(m), Ephemeral: m.ephemeral,
		}
		for _, prefix := range m.node.Addresses {
			entry.Addresses = append(entry.Addresses, prefix.Addr())
		}
		nodes = append(nodes, entry)
	}
	answerJSON(w, nodes)
}

func (h hooks) counts(w http.ResponseWriter, _ *http.Request) {
	h.tallies.mu.Lock()
	counts := maps.Clone(h.tallies.byName)
	defer h.tallies.mu.Unlock()
	answerJSON(w, counts)
}

func (h hooks) addName(record struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
}) error {
	if record.Name == "" || !record.Address.IsValid() {
		return fmt.Errorf(`want {"name":S,"address":A}`)
	}
	h.tailnet.mu.Lock()
	defer h.tailnet.mu.Unlock()
	// The resolver takes the type from the value.
	h.tailnet.records = append(h.tailnet.records, tailcfg.DNSRecord{Name: record.Name, Value: record.Address.String()})
	h.tailnet.touch(nil)
	return nil
}

// namedKey is an auth key and its text.
type namedKey struct {
	Key string `json:"key"`
	authKey
}

func (h hooks) declareKey(k namedKey) error {
	if k.Key == "" {
		return fmt.Errorf(`want {"key":S,"reusable":B,"ephemeral":B}`)
	}
	h.keys.declare(k.Key, k.authKey)
	return nil
}

// onKey does something to a key that must be there.
func onKey(do func(string) bool) func(namedKey) error {
	return func(k namedKey) error {
		if !do(k.Key) {
			return fmt.Errorf("there is no auth key %q", k.Key)
		}
		return nil
	}
}

func (h hooks) setRegisterLimit(limit struct {
	Reject            int `json:"reject"`
	RetryAfterSeconds int `json:"retryAfterSeconds"`
}) error {
	if limit.Reject < 0 || limit.RetryAfterSeconds < 0 {
		return fmt.Errorf(`want {"reject":N,"retryAfterSeconds":S}, neither negative`)
	}
	h.faults.limit(limit.Reject, limit.RetryAfterSeconds)
	return nil
}

// setRefusal takes effect for the requests that begin after its answer.
func (h hooks) setRefusal(w http.ResponseWriter, r *http.Request) {
	what := r.PathValue("what")
	taking(func(refusal struct {
		Words string `json:"words"`
	}) error {
		if err := h.faults.refuse(what, refusal.Words); err != nil {
			return err
		}
		h.tailnet.mu.Lock()
		defer h.tailnet.mu.Unlock()
		h.tailnet.requireLogs = what == "without-logs"
		h.tailnet.touch(nil)
		return nil
	})(w, r)
}

func (h hooks) approveAll(w http.ResponseWriter, _ *http.Request) {
	h.tailnet.mu.Lock()
	defer h.tailnet.mu.Unlock()
	for _, m := range h.tailnet.members {
		m.node.MachineAuthorized = true
		h.tailnet.touch(m)
	}
	w.WriteHeader(http.StatusNoContent)
}
