// A server that speaks Redis's protocol, for drivers to be tried with.
//
//	redis [-address host:port]
package main

import (
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	address := flag.String("address", "127.0.0.1:6379", "where to listen, as `host:port`")
	flag.Parse()
	// Before it listens: whoever waits for its address may end it at once.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(*address); err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", server.Addr())
	<-stop
	server.Close()
}
