package main

import (
	"encoding/json"
	"log"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/http2"
	"tailscale.com/control/controlhttp/controlhttpserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// control is a control server that behaves as Tailscale's does where it matters to a client: known node keys need no auth
// key, a bad auth key is refused even so, ephemeral machines are gone when they log out, and peers hear of it all by deltas.
//
// tailscale.com/tstest/integration/testcontrol wants its one key each time, forgets nobody, and sends the whole network map at
// each change.
type control struct {
	url     string
	private key.MachinePrivate
	tailnet *tailnet
	// silentUntil is when nodes get answers again, in nanoseconds of Unix time.
	silentUntil atomic.Int64

	// The tailnet's lock guards what follows.

	keys map[string]*authKey
	// tallies are by hostname, and count what testbed::control::Counts names.
	tallies map[string]map[string]int
	// refusal is what becomes of nodes that want to join: see hooks. words are those of "in-words".
	refusal, words string
	// reject is how many registrations get a 429, with this many seconds in Retry-After.
	reject, retryAfter int
}

// authKey is a key that machines log in with.
type authKey struct {
	Reusable  bool `json:"reusable"`
	Ephemeral bool `json:"ephemeral"`
	used      bool
	revoked   bool
}

// answersDown answers a node's request where the server is to be down.
func (c *control) answersDown(w http.ResponseWriter) bool {
	c.tailnet.mu.Lock()
	defer c.tailnet.mu.Unlock()
	down := c.refusal == "everything"
	if down {
		http.Error(w, "switched off by a test", http.StatusServiceUnavailable)
	}
	return down
}

// ServeHTTP is what nodes see.
func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.answersDown(w) {
		return
	}
	switch r.URL.Path {
	case "/key":
		public := c.private.Public()
		answerJSON(w, tailcfg.OverTLSPublicKeyResponse{LegacyPublicKey: public, PublicKey: public})
	case "/ts2021":
		c.serveNoise(w, r)
	case "/generate_204":
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// serveNoise answers what comes through the encrypted connection that the request asks for.
func (c *control) serveNoise(w http.ResponseWriter, r *http.Request) {
	conn, err := controlhttpserver.AcceptHTTP(r.Context(), w, r, c.private, nil)
	if err != nil {
		log.Printf("a node's connection: %v", err)
		return
	}
	defer conn.Close()
	machine := conn.Peer()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /machine/register", func(w http.ResponseWriter, r *http.Request) { c.serveRegister(w, r, machine) })
	mux.HandleFunc("POST /machine/map", func(w http.ResponseWriter, r *http.Request) { c.serveMap(w, r, machine) })
	mux.HandleFunc("POST /machine/update-health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	unlessDown := func(w http.ResponseWriter, r *http.Request) {
		if !c.answersDown(w) {
			mux.ServeHTTP(w, r)
		}
	}
	new(http2.Server).ServeConn(conn, &http2.ServeConnOpts{Context: r.Context(), Handler: http.HandlerFunc(unlessDown)})
}

func answerJSON(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Printf("an answer: %v", err)
	}
}
