package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// eventGap is the least time between two looks at libvirt that events ask for,
// so that a flood of events costs no more than fifty looks a second.
const eventGap = 20 * time.Millisecond

// Sink takes what the session finds, from one goroutine.
type Sink interface {
	// Connected: libvirt answers; only its own version is known so far.
	Connected(hypervisor.Versions)
	// Observed: the domains were looked at.
	Observed(hypervisor.Observation)
	// Versioned: libvirt has told the hypervisor's version as well.
	Versioned(hypervisor.Versions)
	// Lost: the connection broke, or could not be made.
	Lost(error)
}

// Config says where libvirt is and how patient to be.
type Config struct {
	// Socket is the path of libvirt's read-write Unix socket. A session daemon
	// has no read-only one.
	Socket string
	// URI is what the connection opens, for example qemu:///session.
	URI string
	// Domain is the name of the VMI's domain; others are looked at only where it
	// is not there.
	Domain string
	// Timeout bounds each answer of libvirt.
	Timeout time.Duration
	// Resync is the time between two looks that no event asked for.
	Resync time.Duration
	// Keepalive is the time between two pings of an idle connection: without
	// them a libvirt that hangs would be noticed at the next resync only.
	Keepalive time.Duration
}

// Session keeps one connection to libvirt at a time.
type Session struct {
	config Config
	sink   Sink
	redial backoff

	// The hypervisor's version is asked for once, not once a connection: a pod's
	// QEMU stays the same, and each question that is not answered keeps one of
	// libvirt's few workers until it is.
	hypervisor string
	askedAt    time.Time
}

// New makes a session that reports to sink once it runs.
func New(config Config, sink Sink) *Session {
	return &Session{config: config, sink: sink}
}

// Run keeps connecting, watching and connecting again until ctx ends; then it
// takes leave of libvirt and returns. All of its goroutines have ended by then.
func (s *Session) Run(ctx context.Context) {
	for {
		err := s.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		s.sink.Lost(err)
		if !sleep(ctx, s.redial.wait()) {
			return
		}
	}
}

// connect makes one connection and watches until it breaks.
func (s *Session) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: s.config.Timeout}).DialContext(ctx, "unix", s.config.Socket)
	if err != nil {
		return s.explain(err)
	}
	c, err := open(ctx, conn, s.config.URI, s.config.Timeout)
	if err != nil {
		return s.explainRefusal(err)
	}
	err = s.watch(ctx, c)
	if ctx.Err() != nil {
		c.close()
		return nil
	}
	c.abandon()
	return s.explain(err)
}

// watch looks at libvirt at once, then after events and at each resync, until the
// connection breaks or ctx ends.
func (s *Session) watch(ctx context.Context, c *connection) error {
	seen, err := c.observe(ctx, s.config.Domain)
	if err != nil {
		return err
	}
	versions := hypervisor.Versions{Hypervisor: s.hypervisor}
	if versions.Libvirt, err = c.libVersion(ctx); err != nil {
		return err
	}
	s.sink.Connected(versions) // not before it has answered: many that refuse us let us dial
	s.sink.Observed(seen)
	s.redial.reset()

	resync := time.NewTicker(s.config.Resync)
	defer resync.Stop()
	keepalive := time.NewTicker(s.config.Keepalive)
	defer keepalive.Stop()
	var answer <-chan string
	for {
		if answer == nil && s.mayAskVersion() && running(seen) { // not while the VM starts: it may cost CPU
			s.askedAt, answer = time.Now(), c.askHypervisorVersion()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.guard.Done():
			return c.guard.Err()
		case s.hypervisor = <-answer:
			versions.Hypervisor = s.hypervisor
			s.sink.Versioned(versions)
		case <-c.guard.Events():
			seen, err = s.look(ctx, c)
			sleep(ctx, eventGap)
		case <-resync.C:
			seen, err = s.look(ctx, c)
		case <-keepalive.C:
			err = c.alive(ctx)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Session) look(ctx context.Context, c *connection) (hypervisor.Observation, error) {
	seen, err := c.observe(ctx, s.config.Domain)
	if err == nil {
		s.sink.Observed(seen)
	}
	return seen, err
}

func (s *Session) mayAskVersion() bool {
	return s.hypervisor == "" && (s.askedAt.IsZero() || time.Since(s.askedAt) > s.config.Resync)
}

func running(seen hypervisor.Observation) bool {
	for _, domain := range seen.Domains {
		if domain.State.Running() {
			return true
		}
	}
	return false
}

// explain adds what somebody who reads the log can do.
func (s *Session) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("libvirt's socket %s refuses uid %d: the sidecar must run with the uid, gid and SELinux options of the container compute: %w", s.config.Socket, os.Getuid(), err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("libvirt's socket %s is not there: the VM has not started yet, or the volume libvirt-runtime is not mounted: %w", s.config.Socket, err)
	default:
		return fmt.Errorf("libvirt at %s: %w", s.config.Socket, err)
	}
}

// explainRefusal explains why a socket that could be dialled led nowhere. Some
// virtqemuds look at the peer's uid, or admit virt-launcher's process alone, and
// hang up on everybody else.
func (s *Session) explainRefusal(err error) error {
	if errors.Is(err, errHungUp) {
		return fmt.Errorf("libvirt at %s turns uid %d away: check that it admits this uid, and processes other than virt-launcher: %w", s.config.Socket, os.Getuid(), err)
	}
	return s.explain(err)
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
