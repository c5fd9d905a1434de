// Package crowd bounds the connections to a server that strangers can reach.
package crowd

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// A Crowd is the connections to one server. One too many is made room for by
// closing the one that has waited longest without a request under way: whoever can
// reach the listener can hold connections open for as long as they like, and must
// neither use up the memory nor keep the next scrape out.
type Crowd struct {
	most    int
	mu      sync.Mutex
	open    int
	waiting *list.List // of net.Conn, the longest first
	places  map[net.Conn]*list.Element
}

// New gives a crowd of at most that many connections, and of more while all of
// them are being answered. It closes none of those.
func New(most int) *Crowd {
	return &Crowd{most: most, waiting: list.New(), places: map[net.Conn]*list.Element{}}
}

// Track is the http.Server's ConnState.
func (c *Crowd) Track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
		if c.open > c.most {
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

func (c *Crowd) wait(conn net.Conn) {
	c.leave(conn)
	c.places[conn] = c.waiting.PushBack(conn)
}

func (c *Crowd) leave(conn net.Conn) {
	if place, ok := c.places[conn]; ok {
		c.waiting.Remove(place)
		delete(c.places, conn)
	}
}

// closeLongest closes the transport below TLS, which would first say goodbye and
// wait for that to be sent. The server then sees the end and reports it.
func (c *Crowd) closeLongest() {
	first := c.waiting.Front()
	if first == nil {
		return // all are being answered, which takes a moment
	}
	conn := first.Value.(net.Conn)
	c.leave(conn)
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	conn.Close() //nolint:errcheck // it is given up
}
