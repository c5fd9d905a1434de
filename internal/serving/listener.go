package serving

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"time"
)

// evictionTime bounds how long Accept waits for evicted connections to end. They end as
// soon as their goroutines get a CPU.
const evictionTime = time.Second

// A listener admits connections within limits.
type listener struct {
	net.Listener
	limiter *limiter
	// ended has a value when an evicted connection may have ended.
	ended chan struct{}
}

// A conn is a connection that a listener has accepted.
type conn struct {
	net.Conn
	limiter *limiter
	state   state
}

func limit(l net.Listener, limits Limits) *listener {
	return &listener{Listener: l, limiter: newLimiter(limits, rand.IntN, time.Now), ended: make(chan struct{}, 1)}
}

// Accept returns the next connection that finds a place. Others are closed at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, limiter: l.limiter, state: state{source: sourceOf(accepted.RemoteAddr())}}
		if l.fits(c) {
			return c, nil
		}
		abort(c.Conn)
		yield()
	}
}

// yield lets the connections that have a place come first when there are too many:
// otherwise they would be evicted before they were served.
func yield() { runtime.Gosched() }

func (l *listener) fits(c *conn) bool {
	timeout := time.Now().Add(evictionTime)
	for l.limiter.crowded() {
		select {
		case <-l.ended:
		case <-time.After(time.Until(timeout)):
			return false
		}
	}
	evicted, ok := l.limiter.admit(c)
	for _, other := range evicted {
		abort(other.Conn)
		yield()
	}
	return ok
}

// abort closes the connection below TLS, which would say goodbye and wait until that is
// sent. TCP sends a reset and keeps nothing of the connection.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed in any case
	}
	_ = c.Close()
}

// track is the http.Server's ConnState.
func (l *listener) track(netConn net.Conn, to http.ConnState) {
	c := connOf(netConn)
	switch to {
	case http.StateNew: // admitted
	case http.StateActive:
		l.limiter.asks(c)
	case http.StateIdle:
		l.limiter.waits(c)
	case http.StateClosed, http.StateHijacked:
		l.limiter.remove(c)
		select {
		case l.ended <- struct{}{}:
		default:
		}
	}
}

// connOf returns the connection below TLS, if there is TLS.
func connOf(c net.Conn) *conn {
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	return c.(*conn) // the server has no other listener
}

// CloseWrite lets the http.Server end its answer before it closes the connection.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// sourceOf returns whom a connection counts for, or the zero Prefix if it has no IP
// address.
func sourceOf(address net.Addr) netip.Prefix {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return prefixOf(tcp.AddrPort().Addr())
}

// Source returns whom a request counts for, as the connections do, or the zero Prefix if
// it did not come from an IP address.
func Source(r *http.Request) netip.Prefix {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return prefixOf(address.Addr())
}

// prefixOf returns an IPv4 address, or the /64 that an IPv6 address is in, which one host
// can have to itself.
func prefixOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
