package session

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// readOnly is VIR_CONNECT_RO. go-libvirt always opens with flags 0.
const readOnly = 1

// errHungUp is the peer's end of the connection, closed.
var errHungUp = errors.New("libvirt closed the connection")

// errForbidden is a call that the sidecar must not make.
var errForbidden = errors.New("procedure is not on the list of read-only calls")

// A guard is the connection as go-libvirt sees it. It sends nothing but the
// listed calls, makes the opening of the connection read-only, and hands on
// nothing but well-formed answers, each once: go-libvirt panics on a length
// below its header's, allocates what a length claims, and locks up for ever on
// a second answer to one call. Lifecycle events are not handed on either, since
// go-libvirt queues them without bound; the channel events reports that there were some. Nor does
// go-libvirt ask for XML: see AskXML.
//
// Any error is final: the guard then closes the connection and stays broken.
type guard struct {
	net.Conn

	// events receives after one or more lifecycle events have come.
	events chan struct{}
	// pongs receives after libvirt has answered a ping.
	pongs chan struct{}
	// xml receives the answers to AskXML.
	xml chan xmlAnswer
	// done is closed when the connection has ended; Err then returns why.
	done chan struct{}
	// opened is to be closed once ConnectToURI has returned. Until then nothing is read behind
	// the answer to the opening: go-libvirt makes its channel of disconnection only
	// after that answer, and races with its own reader if the link drops in between.
	opened chan struct{}

	// xmlSince is when the XML that is being read began to come; nil if none is.
	xmlSince atomic.Pointer[time.Time]
	// restarted is set once an event has reported that a domain starts or goes on.
	restarted atomic.Bool
	// questions counts those for XML; only the session touches it.
	questions uint32

	mu    sync.Mutex
	under calls
	err   error

	// Only the reader touches these.
	pending []byte
	hold    bool
}

func newGuard(conn net.Conn) *guard {
	return &guard{
		Conn:   conn,
		under:  calls{},
		events: make(chan struct{}, 1),
		pongs:  make(chan struct{}, 1),
		xml:    make(chan xmlAnswer, 1),
		done:   make(chan struct{}),
		opened: make(chan struct{}),
	}
}

// Restarted reports, once, whether one of the events so far was of a domain that starts
// or goes on after a pause or a migration.
func (g *guard) Restarted() bool { return g.restarted.Swap(false) }

// Err returns why the connection has ended, nil while it has not.
func (g *guard) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Fail ends the connection for the given reason; the first reason stays.
func (g *guard) Fail(reason error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = reason
		close(g.done)
		g.Conn.Close() //nolint:errcheck // it is given up, whatever this says
	}
	return g.err
}

// Close ends the connection.
func (g *guard) Close() error {
	g.Fail(net.ErrClosed)
	return nil
}

// Write sends one call. go-libvirt writes each as a whole.
func (g *guard) Write(p []byte) (int, error) {
	if len(p) < headerSize {
		return 0, g.Fail(fmt.Errorf("%w: a call of %d bytes", errFrame, len(p)))
	}
	f := append(frame(nil), p...)
	if _, allowed := replyShape(f.procedure()); !allowed || f.program() != programRemote || f.kind() != typeCall {
		return 0, g.Fail(fmt.Errorf("%w: %d", errForbidden, f.procedure()))
	}
	if f.procedure() == procConnectOpen {
		f[len(f)-1] |= readOnly // the flags are the last word of remote_connect_open_args
	}
	g.mu.Lock()
	g.under[f.serial()] = f.procedure()
	g.mu.Unlock()
	return g.send(f)
}

// Ping asks libvirt whether it lives; pongs receives its answer.
func (g *guard) Ping() error {
	_, err := g.send(keepaliveFrame(keepalivePing))
	return err
}

func (g *guard) send(f frame) (int, error) {
	n, err := g.Conn.Write(f)
	if err != nil {
		return n, g.Fail(hangUp(err))
	}
	return n, nil
}

// hangUp returns one error for the peer's hanging up, whether a read or a write met it
// first: that is chance and must not add a line to the log.
func hangUp(err error) error {
	for _, sign := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, sign) {
			return errHungUp
		}
	}
	return err
}

// Read hands on the answers to the calls under way.
func (g *guard) Read(p []byte) (int, error) {
	if len(g.pending) == 0 {
		if err := g.next(); err != nil {
			// go-libvirt retries a net.OpError that calls itself temporary.
			return 0, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, g.Fail(err))
		}
	}
	n := copy(p, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

// next reads packets until there is one for go-libvirt.
func (g *guard) next() error {
	if g.hold {
		<-g.opened
		g.hold = false
	}
	for {
		head, err := readHeader(g.Conn)
		if err != nil {
			return hangUp(err)
		}
		if isXML(head) {
			if err := g.takeXML(head); err != nil {
				return hangUp(err)
			}
			continue
		}
		f, err := readRest(g.Conn, head)
		if err != nil {
			return hangUp(err)
		}
		handOn, err := g.take(f)
		if err != nil {
			return err
		}
		if handOn {
			g.pending = f
			return nil
		}
	}
}

// take decides on a packet, and reports whether it is for go-libvirt.
func (g *guard) take(f frame) (handOn bool, err error) {
	g.mu.Lock()
	what, err := judge(f, g.under)
	if err == nil && (what == forward || what == refused) {
		delete(g.under, f.serial())
	}
	g.mu.Unlock()
	if err != nil {
		return false, err
	}
	switch what {
	case forward:
		g.hold = f.procedure() == procConnectOpen && f.status() == statusOK
		return true, nil
	case refused:
		g.xml <- xmlAnswer{refusal: refusalOf(f)}
	case event:
		if isRestart(f) {
			g.restarted.Store(true)
		}
		signal(g.events)
	case pong:
		signal(g.pongs)
	case ping:
		_, err = g.send(keepaliveFrame(keepalivePong))
	case drop:
	}
	return false, err
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
