package main

import (
	"encoding/json"
	"log"
	"net/http"

	"golang.org/x/net/http2"
	"tailscale.com/control/controlhttp/controlhttpserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// refuser is a control server that refuses each login in the words that it was given: testcontrol itself has words for a
// wrong key only. It speaks as much of the control protocol as that takes, under a key of its own.
type refuser struct {
	words   string
	private key.MachinePrivate
}

func newRefuser(words string) *refuser {
	return &refuser{words: words, private: key.NewMachine()}
}

func (r *refuser) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/key":
		public := r.private.Public()
		answerJSON(w, tailcfg.OverTLSPublicKeyResponse{LegacyPublicKey: public, PublicKey: public})
	case "/ts2021":
		r.serveNoise(w, req)
	default:
		http.NotFound(w, req)
	}
}

// serveNoise answers what comes through the encrypted connection that the request asks for.
func (r *refuser) serveNoise(w http.ResponseWriter, req *http.Request) {
	conn, err := controlhttpserver.AcceptHTTP(req.Context(), w, req, r.private, nil)
	if err != nil {
		log.Printf("a connection that is to be refused: %v", err)
		return
	}
	defer conn.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /machine/register", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, tailcfg.RegisterResponse{Error: r.words})
	})
	new(http2.Server).ServeConn(conn, &http2.ServeConnOpts{Context: req.Context(), Handler: mux})
}

func answerJSON(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Printf("an answer: %v", err)
	}
}
