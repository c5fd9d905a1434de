package serving

import (
	"net/netip"
	"sync"
	"time"
)

// Limits bound the connections of one port. What a connection can cost (see
// MaxHeaderBytes in Config) times their number must fit the container's memory limit;
// internal/testkit/flood proves it with the real programs.
type Limits struct {
	// Connections is the most that may be open, busy ones included. Trusted ones are
	// counted apart.
	Connections int
	// PerSource is the most from one address, an IPv6 address counted by its /64; 0 is no
	// bound. It bounds how many places one address can keep busy. It must leave room for a
	// client behind a NAT address that it shares with others.
	PerSource int
	// New is the most that have not sent a whole request yet: TLS handshakes under way, and
	// those that say nothing; 0 is no bound.
	New int
	// Trusted is the most that can be trusted at a time; see Trust.
	Trusted int
}

// minWait is how long a connection has waited at least when another from its own address
// takes its place. Without it an address could have us make handshakes all the time.
const minWait = 250 * time.Millisecond

// maxEvicted is how many evicted connections may still have a goroutine: they come on
// top of Connections. More, and Accept waits for one of them to end.
func (l Limits) maxEvicted() int { return max(8, l.Connections/8) }

// A limiter knows the connections of one port and chooses which one goes when there is
// one too many. It does no I/O. Its methods may be called concurrently.
//
// A connection is busy while the handler works for it. In all other states the server
// waits for the client: for a handshake, a request, or a body. Those can be evicted.
type limiter struct {
	limits Limits
	// pick returns a number from 0 to n-1.
	pick func(n int) int
	now  func() time.Time

	mu      sync.Mutex
	conns   map[*conn]struct{}
	evicted int
}

// state is what a limiter knows of a connection. The limiter's mutex guards it.
type state struct {
	// source is the zero Prefix where the client has no IP address.
	source netip.Prefix
	// since is when the client last did something.
	since                         time.Time
	asked, busy, trusted, evicted bool
}

func newLimiter(limits Limits, pick func(int) int, now func() time.Time) *limiter {
	return &limiter{limits: limits, pick: pick, now: now, conns: map[*conn]struct{}{}}
}

// admit makes room for a new connection and adds it. It returns the connections to close
// for that, which it has marked as evicted. It returns false if the new one itself must
// go; it is not added then.
func (l *limiter) admit(c *conn) (evicted []*conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rule := range []func(*conn) *conn{l.oneTooManyNew, l.oneTooManyOfSource, l.oneTooMany} {
		switch goes := rule(c); goes {
		case nil:
		case c:
			for _, stays := range evicted {
				stays.state.evicted = false
			}
			return nil, false
		default:
			goes.state.evicted = true
			evicted = append(evicted, goes)
		}
	}
	l.evicted += len(evicted)
	l.conns[c] = struct{}{}
	l.touch(c)
	return evicted, true
}

// touch notes that the client has done something.
func (l *limiter) touch(c *conn) { c.state.since = l.now() }

// asks notes that a request's header has been read.
func (l *limiter) asks(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state.asked = true
	l.touch(c)
}

// works notes that the handler works for the connection. It returns false if the
// connection has been evicted.
func (l *limiter) works(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state.busy = !c.state.evicted
	return c.state.busy
}

// waits notes that the server waits for the client.
func (l *limiter) waits(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state.busy = false
	l.touch(c)
}

// trust makes the connection a trusted one, if there is a place. It then is never
// evicted.
func (l *limiter) trust(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	trusted := 0
	for other := range l.conns {
		if other.state.trusted {
			trusted++
		}
	}
	if !c.state.evicted && trusted < l.limits.Trusted {
		c.state.trusted = true
	}
}

// remove forgets a connection whose goroutine has ended.
func (l *limiter) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.conns[c]; !ok {
		return
	}
	delete(l.conns, c)
	if c.state.evicted {
		l.evicted--
	}
}

// crowded reports whether so many evicted connections have yet to end that a new one
// must wait.
func (l *limiter) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.evicted >= l.limits.maxEvicted()
}
