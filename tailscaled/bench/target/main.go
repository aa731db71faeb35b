// The bench's target, on loopback behind a machine of the tailnet: http and https, bodies of any size both ways, each on
// many ports: where every request needs a connection, one that still waits in TIME-WAIT would soon be met on one port.
// Its first line on standard output has the ports. It ends when its input does.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// serve answers with as many bytes as ?bytes= says (text), after ?delay= (60ms), and closes the connection where ?close is there.
func serve(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	query := r.URL.Query()
	if query.Has("close") {
		w.Header().Set("Connection", "close")
	}
	// An absent or malformed number counts as zero.
	delay, _ := time.ParseDuration(query.Get("delay"))
	time.Sleep(delay)
	bytes := 2
	if query.Has("bytes") {
		bytes, _ = strconv.Atoi(query.Get("bytes"))
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(bytes))
	for bytes > 0 {
		n, err := w.Write(block[:min(bytes, len(block))])
		if err != nil {
			return
		}
		bytes -= n
	}
}

var block = make([]byte, 64<<10)

// ports is how many listen with each scheme.
const ports = 256

// listen has as many listeners served, and returns their ports.
func listen(serve func(net.Listener) error) []int {
	listening := make([]int, ports)
	for i := range listening {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal(serve(listener)) }()
		listening[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return listening
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "target"}, DNSNames: []string{"target"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func main() {
	for i := range block {
		block[i] = "0123456789abcdef"[i%16]
	}
	pair, err := certificate()
	if err != nil {
		log.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{pair}}
	// Otherwise each listener would have its own, and no session could be resumed on another port.
	var ticketKey [32]byte
	rand.Read(ticketKey[:])
	secure.SetSessionTicketKeys([][32]byte{ticketKey})
	server := &http.Server{Handler: http.HandlerFunc(serve), TLSConfig: secure}
	listening := map[string][]int{
		"http":  listen(server.Serve),
		"https": listen(func(listener net.Listener) error { return server.ServeTLS(listener, "", "") }),
	}
	if err := json.NewEncoder(os.Stdout).Encode(listening); err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, os.Stdin)
}
