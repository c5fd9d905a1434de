package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// A log is a Sink that keeps what it is told.
type log struct {
	mu       sync.Mutex
	connects int
	seen     []hypervisor.Observation
	versions hypervisor.Versions
	lost     []error
}

func (l *log) Connected(v hypervisor.Versions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connects++
	l.versions = v
}

func (l *log) Observed(o hypervisor.Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, o)
}

func (l *log) Versioned(v hypervisor.Versions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.versions = v
}

func (l *log) Lost(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, err)
}

// await polls until the log is as wanted.
func (l *log) await(t *testing.T, what string, wanted func(*log) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return wanted(l)
	}, 20*time.Second, 5*time.Millisecond, what)
}

// start runs a session against the socket until the test ends.
func start(t *testing.T, socket string, change func(*Config)) *log {
	config := Config{Socket: socket, URI: sessionURI, Timeout: time.Second, Resync: time.Hour, Keepalive: time.Hour}
	if change != nil {
		change(&config)
	}
	sink := &log{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(config, sink).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(time.Second):
			require.Fail(t, "the session did not end within a second")
		}
	})
	return sink
}

func TestSessionSees(t *testing.T) {
	sink := start(t, peer{xml: `<domain type="kvm"/>`}.listen(t), nil)
	sink.await(t, "versions", func(l *log) bool { return l.versions.Hypervisor != "" })
	require.Equal(t, hypervisor.Versions{Hypervisor: "7.2.22", Libvirt: "9.0.0"}, sink.versions)
	require.Equal(t, 1, sink.connects)
	require.Empty(t, sink.lost)
	require.Equal(t, []hypervisor.Observation{{Domains: []hypervisor.Domain{{
		Name: "shop_web", State: hypervisor.State{State: 1, Reason: 1}, XML: `<domain type="kvm"/>`,
	}}}}, sink.seen)
}

// TestSessionSurvives: whatever the peer does, the session says what is wrong and
// dials again. goleak tells whether anything was left behind.
func TestSessionSurvives(t *testing.T) {
	on := func(procedure uint32, do func(net.Conn, frame)) func(net.Conn, frame) bool {
		return func(conn net.Conn, call frame) bool {
			if call.procedure() != procedure || call.program() != programRemote {
				return false
			}
			do(conn, call)
			return true
		}
	}
	send := func(bytes []byte) func(net.Conn, frame) {
		return func(conn net.Conn, _ frame) { conn.Write(bytes) } //nolint:errcheck // the session tells
	}
	silence := func(net.Conn, frame) {}
	for name, test := range map[string]struct {
		twist func(net.Conn, frame) bool
		want  error  // or
		says  string // in the error
	}{
		"hangs up at once":          {twist: on(procAuthList, func(c net.Conn, _ frame) { c.Close() }), says: "turns uid"},
		"is silent at first":        {twist: on(procAuthList, silence), says: "did not answer within"},
		"is silent later":           {twist: on(procDomainGetState, silence), says: "did not answer within"},
		"talks another protocol":    {twist: on(procAuthList, send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))), want: errFrame},
		"sends a packet of 4 GiB":   {twist: on(procAuthList, send(xdr{}.word(0xffffffff))), want: errFrame},
		"sends a packet of 3 bytes": {twist: on(procAuthList, send(xdr{}.word(3))), want: errFrame},
		"drips": {
			twist: on(procDomainGetXMLDesc, func(c net.Conn, f frame) {
				for _, b := range answer(f, xdr{}.text("<domain/>")) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					<-time.After(50 * time.Millisecond)
				}
			}),
			says: "did not answer within",
		},
		"claims XML of 2 GiB": {twist: on(procDomainGetXMLDesc, func(c net.Conn, f frame) { send(answer(f, xdr{}.word(0x7fffffff)))(c, f) }), want: errShape},
		"answers twice": {
			twist: on(procConnectListAllDomains, func(c net.Conn, f frame) {
				twice := answer(f, xdr{}.word(0).word(0))
				send(append(twice, twice...))(c, f)
			}),
			want: errFrame,
		},
		"answers what nobody asked": {
			twist: on(procDomainGetState, func(c net.Conn, f frame) {
				send(packet(programRemote, procDomainGetState, typeReply, f.serial()+1, statusOK, xdr{}.word(1).word(1)))(c, f)
			}),
			want: errFrame,
		},
		"refuses to open": {twist: on(procConnectOpen, func(c net.Conn, f frame) { send(refusal(f, 45, "authentication failed"))(c, f) }), says: "authentication failed"},
		"refuses a call":  {twist: on(procDomainGetState, func(c net.Conn, f frame) { send(refusal(f, 88, "access denied"))(c, f) }), says: "access denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sink := start(t, peer{xml: "<domain/>", twist: test.twist}.listen(t), nil)
			sink.await(t, "two attempts", func(l *log) bool { return len(l.lost) >= 2 })
			sink.mu.Lock()
			defer sink.mu.Unlock()
			for _, err := range sink.lost {
				if test.want != nil {
					require.ErrorIs(t, err, test.want)
				}
				require.ErrorContains(t, err, test.says)
			}
			require.Empty(t, sink.seen)
		})
	}
}

// TestSessionManyDomains: the one of the VMI's name is looked at, of a few others
// each, of many none.
func TestSessionManyDomains(t *testing.T) {
	for _, test := range []struct {
		others int
		ours   bool
		seen   int
		looked int
	}{
		{others: 0, ours: true, seen: 1, looked: 1},
		{others: 600, ours: true, seen: 1, looked: 1},
		{others: maxLooks, seen: maxLooks, looked: maxLooks},
		{others: maxLooks + 1, seen: maxLooks + 1, looked: 0},
	} {
		socket := peer{xml: "<domain/>", twist: func(conn net.Conn, call frame) bool {
			if call.procedure() != procConnectListAllDomains {
				return false
			}
			list := xdr{}.word(uint32(test.others + map[bool]int{true: 1}[test.ours]))
			for i := range test.others {
				list = list.domain(fmt.Sprintf("other-%d", i))
			}
			if test.ours {
				list = list.domain("shop_web")
			}
			conn.Write(answer(call, list.word(0))) //nolint:errcheck // the session tells
			return true
		}}.listen(t)
		sink := start(t, socket, func(c *Config) { c.Domain = "shop_web" })
		sink.await(t, "a look", func(l *log) bool { return len(l.seen) == 1 })
		looked := 0
		for _, domain := range sink.seen[0].Domains {
			if domain.XML != "" {
				looked++
			}
		}
		require.Len(t, sink.seen[0].Domains, test.seen)
		require.Equal(t, test.looked, looked)
		require.Empty(t, sink.lost)
	}
}

// TestSessionVanishedDomain: a domain that goes between two calls is no error.
func TestSessionVanishedDomain(t *testing.T) {
	for _, procedure := range []uint32{procDomainGetState, procDomainGetXMLDesc} {
		sink := start(t, peer{twist: func(conn net.Conn, call frame) bool {
			if call.procedure() != procedure {
				return false
			}
			conn.Write(refusal(call, 42, "Domain not found")) //nolint:errcheck // the session tells
			return true
		}}.listen(t), nil)
		sink.await(t, "a look", func(l *log) bool { return len(l.seen) == 1 })
		require.Empty(t, sink.seen[0].Domains)
		require.Empty(t, sink.lost)
	}
}

// TestSessionSlowVersion: libvirt may take a minute to tell the hypervisor's
// version; all else goes on meanwhile.
func TestSessionSlowVersion(t *testing.T) {
	event := make(chan struct{})
	socket := peer{xml: "<domain/>", twist: func(conn net.Conn, call frame) bool {
		if call.procedure() != procConnectGetVersion {
			return false
		}
		go func() {
			<-event
			conn.Write(lifecycleEvent()) //nolint:errcheck // the session tells
		}()
		return true // and never answers
	}}.listen(t)
	sink := start(t, socket, func(c *Config) { c.Timeout, c.Keepalive = 200*time.Millisecond, 50*time.Millisecond })
	sink.await(t, "a look", func(l *log) bool { return len(l.seen) == 1 })
	close(event)
	sink.await(t, "a look after the event", func(l *log) bool { return len(l.seen) == 2 })
	require.Equal(t, hypervisor.Versions{Libvirt: "9.0.0"}, sink.versions)
	require.Empty(t, sink.lost)
}

// TestSessionAsksVersionOnce: a libvirt that comes back is not asked again.
func TestSessionAsksVersionOnce(t *testing.T) {
	asked, hangUp := 0, make(chan struct{}, 1)
	socket := peer{xml: "<domain/>", twist: func(conn net.Conn, call frame) bool {
		switch {
		case call.program() == programKeepalive:
			select {
			case <-hangUp:
				conn.Close()
				return true
			default:
			}
		case call.procedure() == procConnectGetVersion:
			asked++
		}
		return false
	}}.listen(t)
	sink := start(t, socket, func(c *Config) { c.Keepalive = 20 * time.Millisecond })
	for connects := 1; connects <= 3; connects++ {
		sink.await(t, "a connection with its versions", func(l *log) bool {
			return l.connects == connects && l.versions == hypervisor.Versions{Hypervisor: "7.2.22", Libvirt: "9.0.0"}
		})
		hangUp <- struct{}{}
	}
	sink.await(t, "the last loss", func(l *log) bool { return len(l.lost) == 3 })
	require.Equal(t, 1, asked)
}

// TestSessionKeepalive: a libvirt that hangs while nobody asks it anything is found out.
func TestSessionKeepalive(t *testing.T) {
	socket := peer{xml: "<domain/>", twist: func(_ net.Conn, call frame) bool { return call.program() == programKeepalive }}.listen(t)
	sink := start(t, socket, func(c *Config) { c.Timeout, c.Keepalive = 100*time.Millisecond, 50*time.Millisecond })
	sink.await(t, "a loss", func(l *log) bool { return len(l.lost) > 0 })
	require.ErrorContains(t, sink.lost[0], "ping libvirt: libvirt did not answer within 100ms")
}

func TestSessionResync(t *testing.T) {
	sink := start(t, peer{xml: "<domain/>"}.listen(t), func(c *Config) { c.Resync = 20 * time.Millisecond })
	sink.await(t, "looks that no event asked for", func(l *log) bool { return len(l.seen) > 3 })
}

// TestSessionEventFlood: events without end cost a bounded number of looks.
func TestSessionEventFlood(t *testing.T) {
	var looks int
	stop := make(chan struct{})
	var flood sync.WaitGroup
	socket := peer{xml: "<domain/>", twist: func(conn net.Conn, call frame) bool {
		switch call.procedure() {
		case procEventRegisterAny:
			conn.Write(answer(call, xdr{}.word(1))) //nolint:errcheck // the session tells
			flood.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := conn.Write(lifecycleEvent()); err != nil {
						return
					}
				}
			})
			return true
		case procConnectListAllDomains:
			looks++
		}
		return false
	}}.listen(t)
	sink := start(t, socket, nil)
	began := time.Now()
	sink.await(t, "looks", func(l *log) bool { return len(l.seen) >= 10 })
	require.Greater(t, time.Since(began), 8*eventGap)
	require.Empty(t, sink.lost)
	close(stop)
	flood.Wait()
}

// TestSessionRefused: the error says which socket, which uid and what to check.
func TestSessionRefused(t *testing.T) {
	t.Run("not there", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "sock")
		sink := start(t, socket, nil)
		sink.await(t, "a loss", func(l *log) bool { return len(l.lost) > 0 })
		require.ErrorIs(t, sink.lost[0], os.ErrNotExist)
		require.ErrorContains(t, sink.lost[0], socket)
	})
	t.Run("no permission", func(t *testing.T) {
		s := New(Config{Socket: "/run/sock"}, nil)
		err := s.explain(&net.OpError{Op: "dial", Err: os.ErrPermission})
		require.ErrorContains(t, err, "/run/sock refuses uid")
		require.ErrorContains(t, err, "must run with the uid, gid and SELinux options of the container compute")
		require.True(t, errors.Is(err, os.ErrPermission))
	})
}

func TestBackoff(t *testing.T) {
	var b backoff
	for attempt := range 20 {
		full := min(firstWait<<attempt, lastWait)
		wait := b.wait()
		require.LessOrEqual(t, wait, full)
		require.Greater(t, wait, full/2-1)
	}
	b.reset()
	require.LessOrEqual(t, b.wait(), firstWait)
}
