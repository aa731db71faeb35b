package main

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// faults is what tests have the control server do wrong.
type faults struct {
	mu         sync.Mutex
	what       string // see refuse
	words      string
	reject     int
	retryAfter int
	spoken     chan struct{} // closed while the server speaks
	silences   int
}

func newFaults() *faults {
	f := &faults{what: "nothing", spoken: make(chan struct{})}
	close(f.spoken)
	return f
}

// refuse decides what becomes of nodes that want to join from here on:
//
//	nothing       they may
//	everything    each request is answered with 503
//	unapproved    an administrator must approve them first
//	person        a person must log in
//	without-logs  they must send their logs to Tailscale: see tailnet.requireLogs
//	in-words      they are refused in these words
func (f *faults) refuse(what, words string) error {
	switch what {
	case "nothing", "everything", "unapproved", "person", "without-logs":
	case "in-words":
		if words == "" {
			return fmt.Errorf(`in-words: want {"words":S}`)
		}
	default:
		return fmt.Errorf("%q: want nothing, everything, unapproved, person, without-logs or in-words", what)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.what, f.words = what, words
	return nil
}

func (f *faults) is(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.what == what
}

func (f *faults) isDown() bool        { return f.is("everything") }
func (f *faults) wantsApproval() bool { return f.is("unapproved") }
func (f *faults) wantsPerson() bool   { return f.is("person") }

// refusal is the words in which logins are refused, if they are.
func (f *faults) refusal() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.what != "in-words" {
		return ""
	}
	return f.words
}

func (f *faults) limit(reject, retryAfter int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reject, f.retryAfter = reject, retryAfter
}

func (f *faults) limitRegister() (reject bool, retryAfter string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reject == 0 {
		return false, ""
	}
	f.reject--
	return true, strconv.Itoa(f.retryAfter)
}

// beSilent has the server take connections and requests, and say nothing, for this long. What it has to say comes after.
func (f *faults) beSilent(period time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silences++
	number := f.silences
	select {
	case <-f.spoken:
		if period > 0 {
			f.spoken = make(chan struct{})
		}
	default:
	}
	time.AfterFunc(period, func() { f.speak(number) })
}

// speak ends silence number, unless there was another one since.
func (f *faults) speak(number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.silences != number {
		return
	}
	select {
	case <-f.spoken:
	default:
		close(f.spoken)
	}
}

// silent reports the end of the silence, if there is one.
func (f *faults) silent() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spoken
}

// faultyListener makes connections that keep silent when the server is to.
type faultyListener struct {
	net.Listener
	faults *faults
}

func (l *faultyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: conn, faults: l.faults, closed: make(chan struct{})}, nil
}

// faultyConn holds back what is written to it. Below HTTP, so that nothing gets out: no stream's news, no answer to a ping.
type faultyConn struct {
	net.Conn
	faults *faults
	once   sync.Once
	closed chan struct{}
	// exempt: it belongs to the test.
	exempt atomic.Bool
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if !c.exempt.Load() {
		select {
		case <-c.faults.silent():
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Write(b)
}

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
