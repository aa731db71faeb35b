// A server that speaks MySQL's protocol, for drivers to be tried with: Vitess's listener, which authenticates by
// mysql_native_password and takes all comers, before the few statements that tell a client what connection it has.
//
//	mysql [-address host:port] [-certificate file -key file]
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/dolthub/vitess/go/mysql"
)

func main() {
	// Not the default flags, among which are Vitess's own.
	flags := flag.NewFlagSet("mysql", flag.ExitOnError)
	address := flags.String("address", "127.0.0.1:3306", "where to listen, as `host:port`")
	certificate := flags.String("certificate", "", "PEM `file` of the certificate to offer TLS with; default: no TLS")
	key := flags.String("key", "", "PEM `file` of the certificate's key")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	// Before it listens: whoever waits for its address may end it at once.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	settings, err := tlsSettings(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := mysql.NewListener("tcp", *address, mysql.NewAuthServerNone(), handler{}, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	listener.TLSConfig = settings
	go listener.Accept()
	log.Printf("listening on %s", listener.Addr())
	<-stop
	listener.Close()
}

// tlsSettings is nil where no certificate is given: the listener then offers no TLS.
func tlsSettings(certificate, key string) (*tls.Config, error) {
	if certificate == "" && key == "" {
		return nil, nil
	}
	if certificate == "" || key == "" {
		return nil, errors.New("-certificate and -key belong together: give both, or neither for no TLS")
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
}
