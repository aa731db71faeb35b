// Command control is a control server, a DERP relay and a STUN server for tests: a whole tailnet's
// infrastructure in one process, in memory, on one address.
//
// When it is ready it prints one line of JSON, {"controlUrl":"http://..."}, and serves until its standard
// input ends. Under /testbed/ it answers questions of tests: see hooks.go.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"tailscale.com/types/key"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	listen := flag.String("listen", "192.0.2.2:0", "`host:port` of the control server; port 0: any free one")
	derpIP := flag.String("derp-ip", "192.0.2.2", "IPv4 `address` of DERP and STUN, on ports of their own")
	text := flag.String("auth-key", "", "an auth `key`, reusable and ephemeral, as functions' keys are")
	domain := flag.String("magicdns-domain", "tailnet.test", "`domain` of the nodes' names")
	flag.Parse()

	derp, err := startDERP(context.Background(), *derpIP)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp4", *listen)
	if err != nil {
		log.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	c := &control{
		url: url, private: key.NewMachine(), tailnet: newTailnet(*domain, derp),
		keys: map[string]*authKey{*text: {Reusable: true, Ephemeral: true}}, tallies: map[string]map[string]int{},
	}
	go func() { log.Fatal(serve(listener, c)) }()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"controlUrl": url}); err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, os.Stdin)
}

// connKey finds a request's connection in its context.
type connKey struct{}

// serve is the control server with the tests' hooks beside it.
func serve(listener net.Listener, c *control) error {
	mux := http.NewServeMux()
	hooks := c.hooks()
	mux.HandleFunc("/testbed/", func(w http.ResponseWriter, r *http.Request) {
		// Tests are answered whatever the nodes are.
		r.Context().Value(connKey{}).(*silentConn).exempt.Store(true)
		hooks.ServeHTTP(w, r)
	})
	mux.Handle("/", c)
	server := http.Server{
		Handler: mux,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	return server.Serve(&silentListener{Listener: listener, until: &c.silentUntil})
}
