package serving

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// maxConnections bounds what connections can cost: some 40 KiB each with TLS.
// Prometheus keeps a few, however many pods it scrapes.
const maxConnections = 384

// A crowd bounds the connections to the server. One too many is made room for by
// closing the one that has waited longest without a request under way: whoever can
// reach the port can hold connections open, and must not keep the next scrape out.
type crowd struct {
	mu      sync.Mutex
	open    int
	waiting *list.List // of net.Conn, the longest first
	places  map[net.Conn]*list.Element
}

func newCrowd() *crowd {
	return &crowd{waiting: list.New(), places: map[net.Conn]*list.Element{}}
}

// track is the http.Server's ConnState.
func (c *crowd) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
		if c.open > maxConnections {
			c.closeLongest()
		}
		c.wait(conn)
	case http.StateIdle:
		c.wait(conn)
	case http.StateActive:
		c.leave(conn)
	case http.StateClosed, http.StateHijacked:
		c.open--
		c.leave(conn)
	}
}

func (c *crowd) wait(conn net.Conn) {
	c.leave(conn)
	c.places[conn] = c.waiting.PushBack(conn)
}

func (c *crowd) leave(conn net.Conn) {
	if place, ok := c.places[conn]; ok {
		c.waiting.Remove(place)
		delete(c.places, conn)
	}
}

// closeLongest closes the transport below TLS, which would first say goodbye and
// wait for that to be sent. The server then sees the end and reports it.
func (c *crowd) closeLongest() {
	first := c.waiting.Front()
	if first == nil {
		return // all are being answered, which takes a moment
	}
	conn := first.Value.(net.Conn)
	c.leave(conn)
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	_ = conn.Close()
}
