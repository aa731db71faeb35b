// A server that speaks Redis's protocol, for drivers to be tried with.
//
//	redis -address host:port
package main

import (
	"flag"
	"log"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	address := flag.String("address", "", "where to listen, as `host:port`")
	flag.Parse()
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(*address); err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", server.Addr())
	select {}
}
