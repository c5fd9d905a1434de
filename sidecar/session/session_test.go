package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// A log is a Sink that keeps what it receives.
type log struct {
	mu       sync.Mutex
	connects int
	seen     []hypervisor.Observation
	heard    int
	controls []*hypervisor.Control
	versions hypervisor.Versions
	lost     []error
}

// newest is the last observation, in the order of the list.
func (l *log) newest() []hypervisor.Domain {
	if len(l.seen) == 0 {
		return nil
	}
	return l.seen[len(l.seen)-1].Domains
}

// described reports whether the last observation is of so many domains, each with a
// description whose error is want.
func (l *log) described(count int, want error) bool {
	domains := l.newest()
	if len(l.seen) == 0 || len(domains) != count {
		return false
	}
	for _, domain := range domains {
		if domain.Description == nil || !errors.Is(domain.Description.Err, want) {
			return false
		}
	}
	return true
}

// copy is what was seen so far.
func (l *log) copy() []hypervisor.Observation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

func (l *log) Heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard++
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

func (l *log) Controlled(_ hypervisor.DomainID, control *hypervisor.Control) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.controls = append(l.controls, control)
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
	testkit.Eventually(t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !wanted(l) {
			return errors.New(what)
		}
		return nil
	})
}

// start runs a session against the socket until the test ends.
func start(t *testing.T, socket string, change func(*Config)) *log {
	config := Config{Socket: socket, URI: sessionURI, Timeout: testkit.Patience, Resync: time.Hour, Keepalive: time.Hour}
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
		case <-time.After(testkit.Patience):
			require.Fail(t, "the session did not end")
		}
	})
	return sink
}

func TestSessionSees(t *testing.T) {
	t.Parallel()
	sink := start(t, peer{xml: `<domain type="kvm"/>`}.listen(t), nil)
	sink.await(t, "versions", func(l *log) bool { return l.versions.Hypervisor != "" })
	sink.await(t, "the domain's XML", func(l *log) bool { return l.described(1, nil) })
	sink.mu.Lock()
	defer sink.mu.Unlock()
	require.Equal(t, hypervisor.Versions{Hypervisor: "7.2.22", Libvirt: "9.0.0"}, sink.versions)
	require.Equal(t, 1, sink.connects)
	require.Empty(t, sink.lost)
	domain := sink.newest()[0]
	require.Equal(t, "shop_web", domain.Name)
	require.Equal(t, hypervisor.State{State: 1, Reason: 1}, domain.State)
	require.Equal(t, hypervisor.KVM, domain.Description.Detection.Type)
	require.Nil(t, sink.seen[0].Domains[0].Description, "the state is reported before the XML is there")
}

// TestSessionSurvives: whatever the peer does, the session reports what is wrong and
// dials again. goleak reports what was left behind.
func TestSessionSurvives(t *testing.T) {
	t.Parallel()
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
		return func(conn net.Conn, _ frame) { conn.Write(bytes) } //nolint:errcheck // the session shows it
	}
	silence := func(net.Conn, frame) {}
	for name, test := range map[string]struct {
		twist func(net.Conn, frame) bool
		want  error  // or
		says  string // in the error
	}{
		"hangs up at once":       {twist: on(procAuthList, func(c net.Conn, _ frame) { c.Close() }), says: "turns uid"},
		"is silent at first":     {twist: on(procAuthList, silence), says: "did not answer within"},
		"is silent later":        {twist: on(procDomainGetState, silence), says: "did not answer within"},
		"talks another protocol": {twist: on(procAuthList, send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))), want: errFrame},
		"drips": {
			twist: on(procDomainGetState, func(c net.Conn, f frame) {
				for _, b := range answer(f, xdr{}.word(1).word(1)) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					<-time.After(50 * time.Millisecond)
				}
			}),
			says: "did not answer within",
		},
		"claims XML of 2 GiB": {twist: on(procDomainGetXMLDesc, func(c net.Conn, f frame) { send(answer(f, xdr{}.word(0x7fffffff)))(c, f) }), want: errShape},
		"sends XML of more than 4 MiB": {
			twist: on(procDomainGetXMLDesc, func(c net.Conn, f frame) { send(answer(f, xdr{}.text(strings.Repeat(" ", maxXML+1))))(c, f) }),
			want:  errFrame,
		},
		"sends XML twice": {
			twist: on(procDomainGetXMLDesc, func(c net.Conn, f frame) {
				twice := answer(f, xdr{}.text("<domain/>"))
				send(append(twice, twice...))(c, f)
			}),
			want: errFrame,
		},
		"sends half of the XML": {
			twist: on(procDomainGetXMLDesc, func(c net.Conn, f frame) {
				whole := answer(f, xdr{}.text("<domain/>"))
				send(whole[:len(whole)-4])(c, f)
				c.Close()
			}),
			want: errHungUp,
		},
		"answers twice": {
			twist: on(procConnectListAllDomains, func(c net.Conn, f frame) {
				twice := answer(f, xdr{}.word(0).word(0))
				send(append(twice, twice...))(c, f)
			}),
			want: errFrame,
		},
		"answers what was not asked": {
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
			sink := start(t, peer{xml: "<domain/>", twist: test.twist}.listen(t), func(c *Config) {
				if strings.Contains(test.says, "did not answer") {
					c.Timeout = 500 * time.Millisecond
				}
			})
			sink.await(t, "two attempts", func(l *log) bool { return len(l.lost) >= 2 })
			sink.mu.Lock()
			defer sink.mu.Unlock()
			for _, err := range sink.lost {
				if test.want != nil {
					require.ErrorIs(t, err, test.want)
				}
				require.ErrorContains(t, err, test.says)
			}
			for _, o := range sink.seen {
				for _, domain := range o.Domains {
					require.True(t, domain.Description == nil || test.want == errFrame && domain.Description.Err != nil, "no type is shown")
				}
			}
		})
	}
}

// TestSessionManyDomains: the one of the VMI's name is asked for, of a few others
// each, of many none.
func TestSessionManyDomains(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		others int
		ours   bool
		seen   int
		asked  int32
		err    error
	}{
		{others: 0, ours: true, seen: 1, asked: 1},
		{others: 600, ours: true, seen: 1, asked: 1},
		{others: maxLooks, seen: maxLooks, asked: maxLooks},
		{others: maxLooks + 1, seen: maxLooks + 1, asked: 0, err: hypervisor.ErrNoAnswer},
	} {
		var asked atomic.Int32
		socket := peer{xml: `<domain type="kvm"/>`, twist: func(conn net.Conn, call frame) bool {
			if call.procedure() == procDomainGetXMLDesc {
				asked.Add(1)
			}
			if call.procedure() != procConnectListAllDomains {
				return false
			}
			list := xdr{}.word(uint32(test.others + map[bool]int{true: 1}[test.ours]))
			for i := range test.others {
				list = list.numbered(fmt.Sprintf("other-%d", i), uint32(i))
			}
			if test.ours {
				list = list.domain("shop_web")
			}
			conn.Write(answer(call, list.word(0))) //nolint:errcheck // the session shows it
			return true
		}}.listen(t)
		sink := start(t, socket, func(c *Config) { c.Domain = "shop_web" })
		sink.await(t, "all are known", func(l *log) bool { return l.described(test.seen, test.err) })
		require.Equal(t, test.asked, asked.Load())
		require.Empty(t, sink.lost)
	}
}

// TestSessionVanishedDomain: a domain that goes between two calls is not an error.
func TestSessionVanishedDomain(t *testing.T) {
	t.Parallel()
	for _, procedure := range []uint32{procDomainGetState, procDomainGetXMLDesc} {
		gone := false
		sink := start(t, peer{twist: func(conn net.Conn, call frame) bool {
			switch {
			case gone && call.procedure() == procConnectListAllDomains:
				conn.Write(answer(call, xdr{}.word(0).word(0))) //nolint:errcheck // the session shows it
			case call.procedure() == procedure:
				gone = true
				conn.Write(refusal(call, 42, "Domain not found")) //nolint:errcheck // the session shows it
			default:
				return false
			}
			return true
		}}.listen(t), nil)
		sink.await(t, "no domain", func(l *log) bool { return l.described(0, nil) })
		for _, o := range sink.seen {
			for _, domain := range o.Domains {
				require.Nil(t, domain.Description)
			}
		}
		require.Empty(t, sink.lost)
	}
}

// TestSessionSlowVersion: libvirt may take a minute to answer with the hypervisor's
// version; all else goes on meanwhile.
func TestSessionSlowVersion(t *testing.T) {
	t.Parallel()
	event := make(chan struct{})
	socket := peer{xml: "<domain/>", twist: func(conn net.Conn, call frame) bool {
		if call.procedure() != procConnectGetVersion {
			return false
		}
		go func() {
			<-event
			conn.Write(lifecycleEvent(eventResumed)) //nolint:errcheck // the session shows it
		}()
		return true // and never answers
	}}.listen(t)
	sink := start(t, socket, func(c *Config) { c.Timeout, c.Keepalive = 200*time.Millisecond, 50*time.Millisecond })
	sink.await(t, "the domain's XML", func(l *log) bool { return l.described(1, hypervisor.ErrNoType) })
	reads := len(sink.copy())
	close(event)
	sink.await(t, "a read after the event", func(l *log) bool { return len(l.seen) > reads })
	require.Equal(t, hypervisor.Versions{Libvirt: "9.0.0"}, sink.versions)
	require.Empty(t, sink.lost)
}

// TestSessionAsksVersionOnce: a libvirt that comes back is not asked again.
func TestSessionAsksVersionOnce(t *testing.T) {
	t.Parallel()
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

// TestSessionVersionLost: a version whose connection broke is asked for again.
func TestSessionVersionLost(t *testing.T) {
	t.Parallel()
	asked := 0
	socket := peer{xml: "<domain/>", twist: func(conn net.Conn, call frame) bool {
		if call.procedure() != procConnectGetVersion {
			return false
		}
		if asked++; asked == 1 {
			conn.Close()
			return true
		}
		return false
	}}.listen(t)
	sink := start(t, socket, func(c *Config) { c.Resync, c.Keepalive = 20*time.Millisecond, 20*time.Millisecond })
	sink.await(t, "the version", func(l *log) bool { return l.versions.Hypervisor == "7.2.22" })
	require.Equal(t, 2, asked)
}

// TestVersionPause: the question is repeated after a minute, whatever the resync.
func TestVersionPause(t *testing.T) {
	s := New(Config{Resync: 5 * time.Minute}, nil)
	require.True(t, s.mayAskVersion(), "never asked")
	s.askedAt = time.Now().Add(-versionPause / 2)
	require.False(t, s.mayAskVersion(), "libvirt may still be at it")
	s.askedAt = time.Now().Add(-2 * versionPause)
	require.True(t, s.mayAskVersion())
	s.hypervisor = "7.2.22"
	require.False(t, s.mayAskVersion(), "known")
}

// TestSessionKeepalive: a libvirt that hangs on an idle connection is noticed.
func TestSessionKeepalive(t *testing.T) {
	t.Parallel()
	socket := peer{xml: "<domain/>", twist: func(_ net.Conn, call frame) bool { return call.program() == programKeepalive }}.listen(t)
	sink := start(t, socket, func(c *Config) { c.Timeout, c.Keepalive = 100*time.Millisecond, 50*time.Millisecond })
	sink.await(t, "a loss", func(l *log) bool { return len(l.lost) > 0 })
	require.ErrorContains(t, sink.lost[0], "ping libvirt: libvirt did not answer within 100ms")
}

// TestSessionEventFlood: events without end cost a bounded number of reads.
func TestSessionEventFlood(t *testing.T) {
	t.Parallel()
	var reads atomic.Int32
	stop := make(chan struct{})
	var flood sync.WaitGroup
	socket := peer{xml: "<domain/>", twist: func(conn net.Conn, call frame) bool {
		switch call.procedure() {
		case procEventRegisterAny:
			conn.Write(answer(call, xdr{}.word(1))) //nolint:errcheck // the session shows it
			flood.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := conn.Write(lifecycleEvent(eventResumed)); err != nil {
						return
					}
				}
			})
			return true
		case procConnectListAllDomains:
			reads.Add(1)
		}
		return false
	}}.listen(t)
	sink := start(t, socket, nil)
	began := time.Now()
	sink.await(t, "reads", func(*log) bool { return reads.Load() >= 10 })
	require.Greater(t, time.Since(began), 5*eventGap, "some of the reads follow the connection, not the events")
	require.Empty(t, sink.lost)
	close(stop)
	flood.Wait()
}

// TestSessionRefused: the error says which socket, which uid and what to check.
func TestSessionRefused(t *testing.T) {
	t.Parallel()
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
		require.ErrorContains(t, err, `apparmor="DENIED"`)
		require.ErrorContains(t, err, "must run with the uid, gid, SELinux options and AppArmor profile of the container compute")
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

// TestSessionAsksForControl: how QEMU's monitor is is asked instead of a ping now and then, while the domain runs, and a
// libvirt that refuses to say is not left for it.
func TestSessionAsksForControl(t *testing.T) {
	t.Parallel()
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	for name, test := range map[string]struct {
		answer func(call frame) []byte
		want   *hypervisor.Control
	}{
		"idle":            {func(f frame) []byte { return answer(f, xdr{}.word(0).word(0).hyper(0)) }, &hypervisor.Control{}},
		"a job":           {func(f frame) []byte { return answer(f, xdr{}.word(1).word(0).hyper(2000)) }, &hypervisor.Control{State: hypervisor.ControlJob, Lasted: seconds(2)}},
		"occupied":        {func(f frame) []byte { return answer(f, xdr{}.word(2).word(0).hyper(312_400)) }, &hypervisor.Control{State: hypervisor.ControlOccupied, Lasted: 312_400 * time.Millisecond}},
		"an error":        {func(f frame) []byte { return answer(f, xdr{}.word(3).word(2).hyper(0)) }, &hypervisor.Control{State: hypervisor.ControlError}},
		"of all eternity": {func(f frame) []byte { return answer(f, xdr{}.word(2).word(0).hyper(1<<64-1)) }, &hypervisor.Control{State: hypervisor.ControlOccupied, Lasted: maxLasted * time.Millisecond}},
		"a state to come": {func(f frame) []byte { return answer(f, xdr{}.word(4).word(0).hyper(1)) }, nil},
		"refused":         {func(f frame) []byte { return refusal(f, 3, "this function is not supported") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := peer{xml: `<domain type="kvm"/>`, twist: func(conn net.Conn, call frame) bool {
				if call.procedure() != procDomainGetControlInfo || call.program() != programRemote {
					return false
				}
				conn.Write(test.answer(call)) //nolint:errcheck // the session shows it
				return true
			}}
			sink := start(t, p.listen(t), func(c *Config) { c.Keepalive = 5 * time.Millisecond })
			sink.await(t, "two answers", func(l *log) bool { return len(l.controls) > 1 })
			sink.mu.Lock()
			defer sink.mu.Unlock()
			require.Equal(t, test.want, sink.controls[0])
			require.Equal(t, 1, sink.connects)
			idle := test.want == nil || test.want.State == hypervisor.ControlOK
			require.Equal(t, idle, sink.heard > 0, "pings between the questions")
		})
	}
}

// TestSessionAsksNoControl: a domain that does not run has no monitor.
func TestSessionAsksNoControl(t *testing.T) {
	t.Parallel()
	p := peer{xml: `<domain type="kvm"/>`, twist: func(conn net.Conn, call frame) bool {
		if call.procedure() != procDomainGetState || call.program() != programRemote {
			return false
		}
		conn.Write(answer(call, xdr{}.word(5).word(1))) //nolint:errcheck // the session shows it
		return true
	}}
	sink := start(t, p.listen(t), func(c *Config) { c.Keepalive = 5 * time.Millisecond })
	sink.await(t, "many pings", func(l *log) bool { return l.heard > 3*pingsPerControl })
	sink.mu.Lock()
	defer sink.mu.Unlock()
	require.Empty(t, sink.controls)
}
