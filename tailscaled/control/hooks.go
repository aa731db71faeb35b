package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

// hooks is what tests see of the tailnet, and do to it:
//
//	GET  /testbed/nodes                 the nodes that ever logged in, as []node
//	POST /testbed/nodes/{id}/expire     ends the node's key: it must log in again
//	GET  /testbed/derp-map              where DERP and STUN are, as a tailcfg.DERPMap
//	PUT  /testbed/nodes/{id}/routes     ["10.0.0.0/8",...]: the routes that its peers take through it
//	POST /testbed/names                 {"name":S,"address":A}: one more name for the tailnet's resolver
//	POST /testbed/nodes/{id}/remove     forgets the node, so that its peers do
//	PUT  /testbed/refusal/{what}        what becomes of nodes that want to join: see setRefusal; in-words takes {"words":S}
//	POST /testbed/approve-all           approves the nodes that wait for it
//	PUT  /testbed/register-limit        {"reject":N,"retryAfterSeconds":S}: the next N registrations get a 429
type hooks struct {
	control *testcontrol.Server

	mu         sync.Mutex
	polls      map[key.NodePublic]int // open map streams
	removed    map[tailcfg.NodeID]bool
	told       map[tailcfg.NodeID]bool // those whom testcontrol tells nothing by itself any more
	reject     int
	retryAfter int
	down       bool     // answer nothing but 503
	refuser    *refuser // answers instead, where there is one
}

// node is one machine of the tailnet.
type node struct {
	ID        int64        `json:"id"`
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	Tags      []string     `json:"tags"`
	// Online: it holds a map stream open, so control would hear of its end.
	Online  bool `json:"online"`
	Expired bool `json:"expired"`
}

// newHooks puts itself into control, which must not serve yet.
func newHooks(control *testcontrol.Server) *hooks {
	h := &hooks{control: control, polls: map[key.NodePublic]int{}, removed: map[tailcfg.NodeID]bool{}, told: map[tailcfg.NodeID]bool{}}
	control.HoldMapRequest = h.mapRequest
	control.MaybeRateLimitRegister = h.limitRegister
	return h
}

func (h *hooks) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /testbed/nodes", h.listNodes)
	mux.HandleFunc("POST /testbed/nodes/{id}/expire", h.expireNode)
	mux.HandleFunc("GET /testbed/derp-map", h.derpMap)
	mux.HandleFunc("PUT /testbed/nodes/{id}/routes", h.setRoutes)
	mux.HandleFunc("POST /testbed/names", h.addName)
	mux.HandleFunc("POST /testbed/nodes/{id}/remove", h.removeNode)
	mux.HandleFunc("PUT /testbed/refusal/{what}", h.setRefusal)
	mux.HandleFunc("POST /testbed/approve-all", h.approveAll)
	mux.HandleFunc("PUT /testbed/register-limit", h.setRegisterLimit)
	return mux
}

// mapRequest counts a node's open streams, and has testcontrol not find a node that was removed.
func (h *hooks) mapRequest(req *tailcfg.MapRequest) (done func()) {
	if h.isRemoved(req.NodeKey) {
		req.NodeKey = key.NewNode().Public()
		return nil
	}
	if !req.Stream {
		return h.tellOfPeers
	}
	h.countPoll(req.NodeKey, 1)
	return func() { h.countPoll(req.NodeKey, -1) }
}

func (h *hooks) isRemoved(k key.NodePublic) bool {
	n := h.control.Node(k)
	h.mu.Lock()
	defer h.mu.Unlock()
	return n != nil && h.removed[n.ID]
}

func (h *hooks) countPoll(k key.NodePublic, delta int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polls[k] += delta
}

func (h *hooks) limitRegister() (reject bool, retryAfter, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reject == 0 {
		return false, "", ""
	}
	h.reject--
	return true, strconv.Itoa(h.retryAfter), "too many registrations"
}

func (h *hooks) listNodes(w http.ResponseWriter, _ *http.Request) {
	nodes := []node{}
	for _, n := range h.control.AllNodes() {
		h.mu.Lock()
		online := h.polls[n.Key] > 0
		h.mu.Unlock()
		entry := node{
			ID: int64(n.ID), Name: n.Name, Tags: n.Tags, Online: online,
			Expired: !n.KeyExpiry.IsZero() && n.KeyExpiry.Before(time.Now()),
		}
		for _, prefix := range n.Addresses {
			entry.Addresses = append(entry.Addresses, prefix.Addr())
		}
		nodes = append(nodes, entry)
	}
	answerJSON(w, nodes)
}

func (h *hooks) expireNode(w http.ResponseWriter, r *http.Request) {
	n := h.node(w, r)
	if n == nil {
		return
	}
	n.KeyExpiry = time.Now().Add(-time.Minute)
	h.control.UpdateNode(n)
	w.WriteHeader(http.StatusNoContent)
}

// node is the node that the path names. Nil: there is none, and the answer says so.
func (h *hooks) node(w http.ResponseWriter, r *http.Request) *tailcfg.Node {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("id %q: want a node's number", r.PathValue("id")), http.StatusBadRequest)
		return nil
	}
	for _, n := range h.control.AllNodes() {
		if int64(n.ID) == id {
			return n
		}
	}
	http.Error(w, fmt.Sprintf("no node has id %d", id), http.StatusNotFound)
	return nil
}

func (h *hooks) derpMap(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, h.control.DERPMap)
}

func (h *hooks) setRoutes(w http.ResponseWriter, r *http.Request) {
	n := h.node(w, r)
	if n == nil {
		return
	}
	var routes []netip.Prefix
	if err := json.NewDecoder(r.Body).Decode(&routes); err != nil {
		http.Error(w, fmt.Sprintf(`want a list of routes such as ["10.0.0.0/8"]: %v`, err), http.StatusBadRequest)
		return
	}
	h.control.SetSubnetRoutes(n.Key, routes)
	w.WriteHeader(http.StatusNoContent)
}

func (h *hooks) addName(w http.ResponseWriter, r *http.Request) {
	var record struct {
		Name    string     `json:"name"`
		Address netip.Addr `json:"address"`
	}
	if err := json.NewDecoder(r.Body).Decode(&record); err != nil || record.Name == "" || !record.Address.IsValid() {
		http.Error(w, `want {"name":S,"address":A}`, http.StatusBadRequest)
		return
	}
	// The resolver takes the type from the value.
	h.control.AddDNSRecords(tailcfg.DNSRecord{Name: record.Name, Value: record.Address.String()})
	w.WriteHeader(http.StatusNoContent)
}

// removeNode makes the node's peers forget it, and testcontrol not find it; testcontrol itself cannot. From here on these
// peers are told of changes by tellOfPeers alone.
func (h *hooks) removeNode(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("id %q: want a node's number", r.PathValue("id")), http.StatusBadRequest)
		return
	}
	gone := tailcfg.NodeID(id)
	for _, n := range h.control.AllNodes() {
		h.mu.Lock()
		h.removed[gone] = true
		h.told[n.ID] = n.ID != gone
		h.mu.Unlock()
		if n.ID != gone {
			h.control.AddRawMapResponse(n.Key, &tailcfg.MapResponse{PeersRemoved: []tailcfg.NodeID{gone}})
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// tellOfPeers tells those who know of a removal of all nodes that are left.
func (h *hooks) tellOfPeers() {
	h.mu.Lock()
	removed, told := maps.Clone(h.removed), maps.Clone(h.told)
	h.mu.Unlock()
	if len(removed) == 0 {
		return
	}
	left := slices.DeleteFunc(h.control.AllNodes(), func(n *tailcfg.Node) bool { return removed[n.ID] })
	for _, to := range left {
		if told[to.ID] {
			peers := slices.DeleteFunc(slices.Clone(left), func(n *tailcfg.Node) bool { return n.ID == to.ID })
			h.control.AddRawMapResponse(to.Key, &tailcfg.MapResponse{PeersChanged: peers})
		}
	}
}

func (h *hooks) setRegisterLimit(w http.ResponseWriter, r *http.Request) {
	var limit struct {
		Reject            int `json:"reject"`
		RetryAfterSeconds int `json:"retryAfterSeconds"`
	}
	if err := json.NewDecoder(r.Body).Decode(&limit); err != nil || limit.Reject < 0 || limit.RetryAfterSeconds < 0 {
		http.Error(w, `want {"reject":N,"retryAfterSeconds":S}, neither negative`, http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reject, h.retryAfter = limit.Reject, limit.RetryAfterSeconds
	w.WriteHeader(http.StatusNoContent)
}

// setRefusal takes effect for the requests that begin after its answer. The testcontrol.Server's own settings have no
// lock, so a test changes them while nobody logs in.
func (h *hooks) setRefusal(w http.ResponseWriter, r *http.Request) {
	what := r.PathValue("what")
	switch what {
	case "nothing", "everything", "unapproved", "person", "without-logs", "in-words":
	default:
		http.Error(w, fmt.Sprintf("%q: want nothing, everything, unapproved, person, without-logs or in-words", what), http.StatusBadRequest)
		return
	}
	var refuser *refuser
	if what == "in-words" {
		var refusal struct {
			Words string `json:"words"`
		}
		if err := json.NewDecoder(r.Body).Decode(&refusal); err != nil || refusal.Words == "" {
			http.Error(w, `want {"words":S}`, http.StatusBadRequest)
			return
		}
		refuser = newRefuser(refusal.Words)
	}
	h.mu.Lock()
	h.down = what == "everything"
	h.refuser = refuser
	h.mu.Unlock()
	h.control.RequireMachineAuth = what == "unapproved"
	h.control.RequireAuth = what == "person"
	h.control.DefaultNodeCapabilities = nil
	if what == "without-logs" {
		h.control.DefaultNodeCapabilities = &tailcfg.NodeCapMap{tailcfg.CapabilityDataPlaneAuditLogs: nil}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *hooks) approveAll(w http.ResponseWriter, _ *http.Request) {
	for _, n := range h.control.AllNodes() {
		n.MachineAuthorized = true
		h.control.UpdateNode(n)
	}
	w.WriteHeader(http.StatusNoContent)
}

// unlessRefusing is the control server, unless a test has switched it off or put another in its place.
func (h *hooks) unlessRefusing(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	down, refuser := h.down, h.refuser
	h.mu.Unlock()
	switch {
	case down:
		http.Error(w, "switched off by a test", http.StatusServiceUnavailable)
	case refuser != nil:
		refuser.ServeHTTP(w, r)
	default:
		h.control.ServeHTTP(w, r)
	}
}
