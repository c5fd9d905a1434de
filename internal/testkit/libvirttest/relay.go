package libvirttest

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// A migration's source connects to the host of the migration URI, its target listens
// on the listen address, both on one port: two loopback hosts make room for a relay,
// as virt-handler's migration proxy is one.
const (
	relayFrontHost = "127.0.0.1"
	relayBackHost  = "127.0.0.2"
)

type relay struct {
	listener net.Listener
	port     string
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

func newRelay() (*relay, error) {
	listener, err := net.Listen("tcp", relayFrontHost+":0")
	if err != nil {
		return nil, fmt.Errorf("relay of the migration: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener, port: port}
	r.wg.Go(r.accept)
	return r, nil
}

// front is what the source connects to.
func (r *relay) front() string { return net.JoinHostPort(relayFrontHost, r.port) }

func (r *relay) accept() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", net.JoinHostPort(relayBackHost, r.port))
		if err != nil {
			_ = from.Close()
			continue
		}
		if !r.keep(from, to) {
			return
		}
		r.wg.Go(func() { pipe(to, from) })
		r.wg.Go(func() { pipe(from, to) })
	}
}

// pipe hands on the end of a stream as well: QEMU waits for it.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.(*net.TCPConn).CloseWrite()
}

func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conns...)
	if r.closed {
		r.closeConns()
	}
	return !r.closed
}

func (r *relay) closeConns() {
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

// close cuts everything; it may be called again.
func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.closed = true
	r.closeConns()
	r.mu.Unlock()
	r.wg.Wait()
}
