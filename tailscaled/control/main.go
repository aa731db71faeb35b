// Command control is a control server, a DERP relay and a STUN server for tests: a whole tailnet's
// infrastructure in one process, in memory, on one address.
//
// When it is ready it prints one line of JSON, {"controlUrl":"http://..."}, and serves until its standard
// input ends or it gets SIGTERM or SIGINT. Under /testbed/ it answers questions of tests: see hooks.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
)

// settings is the command line.
type settings struct {
	listen         string
	derpIP         netip.Addr
	authKey        string
	magicDNSDomain string
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	s, err := parseFlags(flag.NewFlagSet(os.Args[0], flag.ContinueOnError), os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(s, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "control-server:", err)
		os.Exit(1)
	}
}

func parseFlags(flags *flag.FlagSet, args []string) (settings, error) {
	var s settings
	var derpIP string
	flags.StringVar(&s.listen, "listen", "192.0.2.2:0", "`host:port` of the control server; port 0: any free one")
	flags.StringVar(&derpIP, "derp-ip", "", "IPv4 `address` of DERP and STUN, on ports of their own; default: the host of -listen")
	flags.StringVar(&s.authKey, "auth-key", "", "an auth `key`, reusable and ephemeral (required)")
	flags.StringVar(&s.magicDNSDomain, "magicdns-domain", "tailnet.test", "`domain` of the nodes' names")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.authKey == "" {
		return s, errors.New("-auth-key is empty: give the key that nodes log in with")
	}
	if derpIP == "" {
		host, _, err := net.SplitHostPort(s.listen)
		if err != nil {
			return s, fmt.Errorf("-listen %q: want host:port: %w", s.listen, err)
		}
		derpIP = host
	}
	ip, err := netip.ParseAddr(derpIP)
	if err != nil || !ip.Is4() || ip.IsUnspecified() {
		return s, fmt.Errorf("-derp-ip %q: want the IPv4 address that nodes reach this machine by", derpIP)
	}
	s.derpIP = ip
	return s, nil
}

// run serves until stdin ends or a signal comes.
func run(s settings, stdin io.Reader, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	derp, err := startDERP(ctx, s.derpIP)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", s.listen)
	if err != nil {
		return fmt.Errorf("-listen %s: %w", s.listen, err)
	}
	url := "http://" + listener.Addr().String()
	// Ephemeral and reusable, as functions' keys are.
	keys := map[string]*authKey{s.authKey: {Reusable: true, Ephemeral: true}}
	c := newControl(url, newTailnet(s.magicDNSDomain, derp), keys)
	go func() { cancel(serve(listener, c)) }()
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		cancel(err)
	}()

	if err := json.NewEncoder(stdout).Encode(map[string]string{"controlUrl": url}); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	<-ctx.Done()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// newHandler is the control server with the tests' hooks beside it.
func newHandler(c *control) http.Handler {
	mux := http.NewServeMux()
	hooks := hooks{c}.handler()
	mux.HandleFunc("/testbed/", func(w http.ResponseWriter, r *http.Request) {
		// Tests are answered whatever the nodes are.
		if conn, ok := r.Context().Value(connKey{}).(*faultyConn); ok {
			conn.exempt.Store(true)
		}
		hooks.ServeHTTP(w, r)
	})
	mux.Handle("/", c)
	return mux
}

// connKey finds a request's connection in its context.
type connKey struct{}

func serve(listener net.Listener, c *control) error {
	server := http.Server{
		Handler: newHandler(c),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	return fmt.Errorf("control server: %w", server.Serve(&faultyListener{Listener: listener, faults: c.faults}))
}
