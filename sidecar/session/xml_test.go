package session

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// A script is a peer's side of the questions for XML: a test lets it answer or not, send
// events and hang up.
type script struct {
	mu     sync.Mutex
	silent bool
	asked  int
	open   []frame // questions without an answer
	conn   net.Conn
}

func (s *script) twist(conn net.Conn, call frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch call.procedure() {
	case procEventRegisterAny:
		s.conn, s.open = conn, nil
	case procDomainGetXMLDesc:
		s.asked++
		if s.silent {
			s.open = append(s.open, call)
			return true
		}
	}
	return false
}

// do changes the script, or acts on its newest connection.
func (s *script) do(act func(*script)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	act(s)
}

func (s *script) await(t *testing.T, what string, wanted func(*script) bool) {
	t.Helper()
	testkit.Eventually(t, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !wanted(s) {
			return errors.New(what)
		}
		return nil
	})
}

// send lets the peer send an event, and waits until the session has read the domains.
func (s *script) send(t *testing.T, sink *log, kind uint32) {
	t.Helper()
	reads := len(sink.copy())
	s.do(func(s *script) { s.conn.Write(lifecycleEvent(kind)) }) //nolint:errcheck // the session shows it
	sink.await(t, "a read after the event", func(l *log) bool { return len(l.seen) > reads })
}

const kvmXML = `<domain type="kvm"/>`

// TestSessionAsksXML: when a domain appears, after a resume and at each resync; not after a pause, nor
// at a read that follows the connection.
func TestSessionAsksXML(t *testing.T) {
	t.Parallel()
	s := &script{}
	sink := start(t, peer{xml: kvmXML, twist: s.twist}.listen(t), nil)
	sink.await(t, "the type", func(l *log) bool { return l.described(1, nil) })
	sink.await(t, "reads that follow the connection", func(l *log) bool { return len(l.seen) >= 5 })
	s.send(t, sink, eventSuspended)
	s.do(func(s *script) { require.Equal(t, 1, s.asked) })
	s.send(t, sink, eventResumed)
	s.await(t, "a second question", func(s *script) bool { return s.asked == 2 })
	require.Empty(t, sink.lost)

	s = &script{}
	sink = start(t, peer{xml: kvmXML, twist: s.twist}.listen(t), func(c *Config) { c.Resync = 10 * time.Millisecond })
	// A disk that is plugged in is no lifecycle event: each resync asks again.
	s.await(t, "a question at each resync", func(s *script) bool { return s.asked > 5 })
	sink.await(t, "resyncs", func(l *log) bool { return len(l.seen) >= 20 })
}

// TestSessionXMLOpen: while libvirt has no worker for XML the session goes on: first it
// waits, then the domain is unknown, and the answer that comes later corrects that. No
// more than one question is open, whatever happens.
func TestSessionXMLOpen(t *testing.T) {
	t.Parallel()
	s := &script{silent: true}
	sink := start(t, peer{xml: kvmXML, twist: s.twist}.listen(t), func(c *Config) {
		c.Timeout, c.Keepalive = 300*time.Millisecond, 20*time.Millisecond
	})
	begin := time.Now()
	sink.await(t, "the end of patience", func(l *log) bool { return l.described(1, hypervisor.ErrNoAnswer) })
	require.GreaterOrEqual(t, time.Since(begin), 300*time.Millisecond)
	for _, o := range sink.copy()[:2] {
		require.Nil(t, o.Domains[0].Description, "nothing is known at first")
	}
	for range 5 {
		s.send(t, sink, eventResumed)
	}
	s.do(func(s *script) {
		require.Len(t, s.open, 1)
		s.silent = false
		s.conn.Write(answer(s.open[0], xdr{}.text(kvmXML))) //nolint:errcheck // the session shows it
	})
	sink.await(t, "the type", func(l *log) bool { return l.described(1, nil) })
	s.await(t, "the question that the events asked for", func(s *script) bool { return s.asked == 2 })
	sink.await(t, "pings", func(l *log) bool { return l.heard > 5 })
	require.Equal(t, 1, sink.connects)
	require.Empty(t, sink.lost)
}

// TestSessionKeepsAnswer: what is known of a domain outlives the connection, and stays
// while libvirt has no worker to answer again.
func TestSessionKeepsAnswer(t *testing.T) {
	t.Parallel()
	s := &script{}
	sink := start(t, peer{xml: kvmXML, twist: s.twist}.listen(t), func(c *Config) { c.Timeout = 200 * time.Millisecond })
	sink.await(t, "the type", func(l *log) bool { return l.described(1, nil) })
	known := len(sink.copy())
	for connects := 2; connects <= 4; connects++ {
		s.do(func(s *script) {
			s.silent = true
			s.conn.Close()
		})
		sink.await(t, "another connection", func(l *log) bool { return l.connects == connects })
		s.await(t, "the question", func(s *script) bool { return len(s.open) == 1 })
		s.send(t, sink, eventResumed)
	}
	reads := len(sink.copy())
	sink.await(t, "reads beyond the timeout", func(l *log) bool { return len(l.seen) >= reads+2 })
	for _, o := range sink.copy()[known:] {
		require.Equal(t, hypervisor.KVM, o.Domains[0].Description.Detection.Type)
	}
}

// TestSessionXMLRefused: a libvirt that refuses a domain's XML is left with that one
// question, and the domain is unknown; a refusal changes nothing that is known.
func TestSessionXMLRefused(t *testing.T) {
	t.Parallel()
	s := &script{}
	refuses := true
	sink := start(t, peer{xml: kvmXML, twist: func(conn net.Conn, call frame) bool {
		s.twist(conn, call)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !refuses || call.procedure() != procDomainGetXMLDesc {
			return false
		}
		conn.Write(refusal(call, 88, "access denied")) //nolint:errcheck // the session shows it
		return true
	}}.listen(t), nil)
	sink.await(t, "the refusal", func(l *log) bool { return l.described(1, hypervisor.ErrNoAnswer) })
	require.ErrorContains(t, sink.copy()[len(sink.copy())-1].Domains[0].Description.Err, "access denied")
	sink.await(t, "reads", func(l *log) bool { return len(l.seen) >= 5 })
	s.do(func(s *script) {
		require.Equal(t, 1, s.asked)
		refuses = false
	})
	s.send(t, sink, eventResumed)
	sink.await(t, "the type", func(l *log) bool { return l.described(1, nil) })

	s.do(func(*script) { refuses = true })
	known := len(sink.copy())
	s.send(t, sink, eventResumed)
	s.await(t, "a question that is refused", func(s *script) bool { return s.asked == 3 })
	s.send(t, sink, eventSuspended)
	for _, o := range sink.copy()[known:] {
		require.NoError(t, o.Domains[0].Description.Err)
	}
	require.Empty(t, sink.lost)
}

// TestSessionSlowXML: while XML comes in, other answers cannot; that is not a reason to leave
// libvirt, nor to show the domain as unknown, for as long as xmlTimeout.
func TestSessionSlowXML(t *testing.T) {
	t.Parallel()
	xml := kvmXML + strings.Repeat(" ", 1<<20)
	// The answer begins within timeout, also where the machine is busy, and takes longer than that: when it is there,
	// the session has not answered anything for so long that it has lost its patience, too.
	const timeout = time.Second
	body := xdr{}.text(xml)
	sink := start(t, peer{xml: xml, twist: func(conn net.Conn, call frame) bool {
		if call.procedure() != procDomainGetXMLDesc {
			return false
		}
		whole := answer(call, body)
		conn.Write(whole[:100]) //nolint:errcheck // the session shows it
		for _, part := range [][]byte{whole[100:200], whole[200:]} {
			<-time.After(timeout * 2 / 3)
			conn.Write(part) //nolint:errcheck // the session shows it
		}
		return true
	}}.listen(t), func(c *Config) { c.Timeout, c.Keepalive = timeout, 50*time.Millisecond })
	sink.await(t, "the type", func(l *log) bool { return l.described(1, nil) })
	sink.await(t, "pings", func(l *log) bool { return l.heard > 2 })
	for _, o := range sink.copy() {
		if d := o.Domains[0].Description; d != nil {
			require.NoError(t, d.Err)
		}
	}
	require.Empty(t, sink.lost)
}

// TestSessionDoubtsStart: a libvirt that starts lists a domain whose QEMU has died as
// running until it finds out, and sends no event for it. The next resync is an hour off.
func TestSessionDoubtsStart(t *testing.T) {
	t.Parallel()
	for _, wrong := range []int{1, 2} {
		states := 0
		sink := start(t, peer{xml: kvmXML, twist: func(conn net.Conn, call frame) bool {
			if call.procedure() != procDomainGetState {
				return false
			}
			if states++; states <= wrong {
				return false // running
			}
			conn.Write(answer(call, xdr{}.word(5).word(3))) //nolint:errcheck // shut off, crashed
			return true
		}}.listen(t), nil)
		sink.await(t, "the truth", func(l *log) bool {
			return len(l.newest()) == 1 && !l.newest()[0].State.Running(true)
		})
	}
}

// TestDoubt: the reads that follow a connection come less and less often, and end.
func TestDoubt(t *testing.T) {
	w := newWatch(New(Config{}, nil), nil)
	var waits []time.Duration
	for w.doubtAgain(); w.doubt != nil; w.doubtAgain() {
		waits = append(waits, w.doubtWait)
	}
	require.Equal(t, []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
		1600 * time.Millisecond, 3200 * time.Millisecond, 6400 * time.Millisecond,
	}, waits)
}
