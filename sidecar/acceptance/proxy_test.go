package acceptance

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// What is used of libvirt's protocol here (libvirt src/rpc/virnetprotocol.x,
// src/remote/remote_protocol.x).
const (
	frameHeader      = 28
	remoteProgram    = 0x20008086
	keepaliveProgram = 0x6b656570

	procConnectOpen   = 1
	procConnectClose  = 2
	procDomainDestroy = 12
	procGetXMLDesc    = 14
	procListDomains   = 273
	procLifecycle     = 318

	kindCall    = 0
	kindReply   = 1
	kindMessage = 2
)

// frame is one packet with its length.
type frame []byte

func (f frame) word(i int) uint32 { return binary.BigEndian.Uint32(f[4*i:]) }
func (f frame) program() uint32   { return f.word(1) }
func (f frame) procedure() uint32 { return f.word(3) }
func (f frame) kind() uint32      { return f.word(4) }
func (f frame) serial() uint32    { return f.word(5) }
func (f frame) status() uint32    { return f.word(6) }
func (f frame) payload() []byte   { return f[frameHeader:] }

// newFrame makes a packet of the remote program.
func newFrame(procedure, kind, serial uint32, payload []byte) frame {
	f := make(frame, frameHeader, frameHeader+len(payload))
	for i, v := range []uint32{uint32(frameHeader + len(payload)), remoteProgram, 1, procedure, kind, serial, 0} {
		binary.BigEndian.PutUint32(f[4*i:], v)
	}
	return append(f, payload...)
}

func words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// seen is a packet that came by.
type seen struct {
	at     time.Time
	client bool // from the sidecar
	frame  frame
}

// proxy is between a sidecar and libvirtd and records every packet.
type proxy struct {
	socket string
	target string
	// replace returns what the sidecar gets instead of a packet from libvirtd. Without it the sidecar gets each
	// packet as it is.
	replace func(frame) frame

	mu    sync.Mutex
	seen  []seen
	links []*link
}

// link is one connection through the proxy.
type link struct {
	sidecar, libvirtd net.Conn
	replies           chan frame // answers to what the test itself sent, see proxy.call
}

// ownSerial marks the calls that the proxy sends on its own account.
const ownSerial = 0x7fff0000

// startProxy listens on a socket of its own and connects to the target for each client
// that dials; with no target it hangs up.
func startProxy(t *testing.T, target string, replace func(frame) frame) *proxy {
	t.Helper()
	p := &proxy{socket: filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock"), target: target, replace: replace}
	serveSocket(t, p.socket, p.serve)
	return p
}

// serveSocket answers each connection to a Unix socket until the test ends.
func serveSocket(t *testing.T, path string, serve func(net.Conn)) {
	t.Helper()
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o666))
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
				mu.Lock()
				defer mu.Unlock()
				delete(open, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

func (p *proxy) serve(conn net.Conn) {
	target, err := net.Dial("unix", p.target)
	if err != nil {
		return
	}
	defer target.Close()
	l := &link{sidecar: conn, libvirtd: target, replies: make(chan frame, 16)}
	p.mu.Lock()
	p.links = append(p.links, l)
	p.mu.Unlock()
	go func() {
		defer target.Close()
		p.pump(l, conn, func(f frame) error { _, err := target.Write(f); return err })
	}()
	p.pump(l, target, func(f frame) error { return p.deliver(l, f) })
}

// pump hands on packets until one side ends.
func (p *proxy) pump(l *link, from net.Conn, to func(frame) error) {
	for {
		f, err := readFrame(from)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.seen = append(p.seen, seen{time.Now(), from == l.sidecar, f})
		p.mu.Unlock()
		if to(f) != nil {
			return
		}
	}
}

func (p *proxy) deliver(l *link, f frame) error {
	if f.program() == remoteProgram && f.kind() == kindReply && f.serial() == ownSerial {
		l.replies <- f
		return nil
	}
	if p.replace != nil {
		f = p.replace(f)
	}
	_, err := l.sidecar.Write(f)
	return err
}

func readFrame(r io.Reader) (frame, error) {
	f := make(frame, 4)
	if _, err := io.ReadFull(r, f); err != nil {
		return nil, err
	}
	f = append(f, make(frame, max(f.word(0), frameHeader)-4)...)
	_, err := io.ReadFull(r, f[4:])
	return f, err
}

// call sends a call of the test's own on the sidecar's newest connection and returns
// the answer, of which the sidecar learns nothing.
func (p *proxy) call(t *testing.T, procedure uint32, payload []byte) frame {
	t.Helper()
	p.mu.Lock()
	l := p.links[len(p.links)-1]
	p.mu.Unlock()
	_, err := l.libvirtd.Write(newFrame(procedure, kindCall, ownSerial, payload))
	require.NoError(t, err)
	select {
	case f := <-l.replies:
		return f
	case <-time.After(testkit.Patience):
		require.FailNow(t, "libvirtd did not answer the test's own call")
		return nil
	}
}

// cut ends the sidecar's newest connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	newest := p.links[len(p.links)-1]
	_ = newest.sidecar.Close()
	_ = newest.libvirtd.Close()
}

// connections counts those made so far.
func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// calls returns what the sidecar sent since the moment, but for keepalive.
func (p *proxy) calls(since time.Time) []frame {
	var calls []frame
	for _, s := range p.packets(since) {
		if s.client && s.frame.program() != keepaliveProgram {
			calls = append(calls, s.frame)
		}
	}
	return calls
}

// packets returns all that came by since the moment.
func (p *proxy) packets(since time.Time) []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.seen), func(s seen) bool { return s.at.Before(since) })
}
