// Package session keeps the sidecar's one connection to libvirt: it dials the
// pod-local socket, opens it read-only, reads the domains' states whenever libvirt
// reports a change, asks for their XML beside that, and dials again when libvirt no
// longer answers.
//
// The RPC itself is digitalocean/go-libvirt's. That library trusts its peer and
// waits for ever, so there is a guard between it and the socket: nothing but a
// short list of read-only calls goes out, nothing but well-formed answers to
// them comes in, and closing the guard ends every wait.
package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// The bounds of the wait between two attempts to reach libvirt.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
)

// Sink takes what the session finds, from one goroutine.
type Sink interface {
	// Connected: libvirt answers; only its own version is known so far.
	Connected(hypervisor.Versions)
	// Observed: libvirt has just listed the domains.
	Observed(hypervisor.Observation)
	// Heard: libvirt has just answered a ping.
	Heard()
	// Controlled: libvirt has just answered how QEMU's monitor of a domain is; nil if it refused to.
	Controlled(hypervisor.DomainID, *hypervisor.Control)
	// Versioned: libvirt has sent the hypervisor's version as well.
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
	// Domain is the name of the VMI's domain; others are read only where it is not
	// there.
	Domain string
	// Timeout bounds each answer of libvirt.
	Timeout time.Duration
	// Resync is the time between two reads of the domains that no event asked for.
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

	// known is what libvirt's newest answers say of the domains that it listed last. It
	// outlives a connection: libvirt may have no worker for XML while QEMU hangs.
	known map[hypervisor.DomainID]*hypervisor.Description

	// The hypervisor's version is asked for once, not once a connection: a pod's
	// QEMU stays the same, and each question that is not answered keeps one of
	// libvirt's few workers until it is.
	hypervisor string
	askedAt    time.Time
}

// New makes a session that reports to sink once it runs.
func New(config Config, sink Sink) *Session {
	return &Session{config: config, sink: sink, known: map[hypervisor.DomainID]*hypervisor.Description{}}
}

// Run keeps connecting, watching and connecting again until ctx ends; then it
// closes the connection cleanly and returns. All of its goroutines have ended by then.
func (s *Session) Run(ctx context.Context) {
	for {
		err := s.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		s.sink.Lost(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.redial.wait()):
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
	err = newWatch(s, c).run(ctx)
	if ctx.Err() != nil {
		c.close()
		return nil
	}
	c.abandon()
	return s.explain(err)
}

// explain adds what the reader of the log can do.
func (s *Session) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		// From Linux 6.17 on, AppArmor mediates Unix sockets of containers, too (containerd issue 12726).
		return fmt.Errorf("libvirt's socket %s refuses uid %d: the sidecar must run with the uid, gid, SELinux options and AppArmor profile of the container compute; "+
			"if it does, search the node's kernel log for apparmor=\"DENIED\" and avc: %w", s.config.Socket, os.Getuid(), err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("libvirt's socket %s is not there: the VM has not started yet, or the volume libvirt-runtime is not mounted: %w", s.config.Socket, err)
	default:
		return fmt.Errorf("libvirt at %s: %w", s.config.Socket, err)
	}
}

// explainRefusal explains why a socket that could be dialled led nowhere. Some
// virtqemuds check the peer's uid, or admit only virt-launcher's process, and
// hang up on all others.
func (s *Session) explainRefusal(err error) error {
	if errors.Is(err, errHungUp) {
		return fmt.Errorf("libvirt at %s turns uid %d away: check that it admits this uid, and processes other than virt-launcher: %w", s.config.Socket, os.Getuid(), err)
	}
	return s.explain(err)
}

// backoff returns the waits between attempts: each twice the previous one, up to
// lastWait, and each shortened by up to half at random, so that the sidecars of
// a node do not connect at the same moment.
type backoff struct{ next time.Duration }

func (b *backoff) wait() time.Duration {
	full := min(max(b.next, firstWait), lastWait)
	b.next = 2 * full
	return full - rand.N(full/2)
}

func (b *backoff) reset() { b.next = 0 }
