// The bench's target, on loopback behind a machine of the tailnet: http and https, bodies of any size both ways.
// Its first line on standard output has both ports. It ends when its input does.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
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
	if query.Has("delay") {
		delay, err := time.ParseDuration(query.Get("delay"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(delay)
	}
	bytes := 2
	if query.Has("bytes") {
		var err error
		if bytes, err = strconv.Atoi(query.Get("bytes")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
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
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(serve), TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	go func() { log.Fatal(server.Serve(plain)) }()
	go func() { log.Fatal(server.ServeTLS(secure, "", "")) }()
	fmt.Printf("{\"http\":%d,\"https\":%d}\n", plain.Addr().(*net.TCPAddr).Port, secure.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
}
