package main

import (
	"net"
	"sync/atomic"
	"time"
)

// silentListener makes connections that keep silent until a time, in nanoseconds of Unix time.
type silentListener struct {
	net.Listener
	until *atomic.Int64
}

func (l *silentListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &silentConn{Conn: conn, until: l.until}, err
}

// silentConn holds back what is written to it. Below HTTP, so that nothing gets out: no stream's news, no answer to a ping.
type silentConn struct {
	net.Conn
	until *atomic.Int64
	// exempt: it belongs to the test.
	exempt atomic.Bool
}

func (c *silentConn) Write(b []byte) (int, error) {
	for !c.exempt.Load() && time.Now().UnixNano() < c.until.Load() {
		time.Sleep(5 * time.Millisecond)
	}
	return c.Conn.Write(b)
}
