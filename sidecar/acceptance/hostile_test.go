package acceptance

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// hostilities is how long a peer misbehaves.
func hostilities() time.Duration {
	if testkit.Soak() {
		return 5 * time.Second
	}
	return time.Second
}

// TestHostilePeer: whatever listens on libvirt's socket, and however fast it sends, no VMI is shown and it costs little memory.
// The classes of wrong packets are in package session: TestReadFrame, TestJudge, TestSessionSurvives.
func TestHostilePeer(t *testing.T) {
	t.Parallel()
	ping := newFrame(1, kindMessage, 0, nil)
	binary.BigEndian.PutUint32(ping[4:], keepaliveProgram)
	for name, serve := range map[string]func(net.Conn){
		"random bytes":       func(c net.Conn) { _, _ = io.Copy(c, rand.Reader) },
		"pings for ever":     func(c net.Conn) { flood(c, ping) },
		"events unasked for": func(c net.Conn) { flood(c, lifecycleEvent()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock")
			serveSocket(t, path, serve)
			p := start(t, setup{socket: path, args: []string{"--libvirt-timeout=300ms", "--libvirt-grace=1s"}})
			w := p.watch(t)
			before, begin := p.usage(t), time.Now()
			<-time.After(hostilities())
			w.awaitKinds(t, begin, absent)
			p.checkSound(t, before)
			p.awaitUp(t, false)
		})
	}
}

// drip sends a packet that is well-formed and never ends.
func drip(c net.Conn) {
	f := newFrame(procListDomains, kindReply, 1, make([]byte, 4096))
	for i := range f {
		if _, err := c.Write(f[i : i+1]); err != nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
}

// lifecycleEvent is remote_domain_event_callback_lifecycle_msg: callback, domain, event, detail.
func lifecycleEvent() frame {
	payload := append(words(0), encodeString("default_vm")...)
	payload = append(append(payload, make([]byte, 16)...), words(1, 2, 0)...)
	return newFrame(procLifecycle, kindMessage, 0, payload)
}

// flood sends a packet again and again.
func flood(c net.Conn, f frame) {
	go func() { _, _ = io.Copy(io.Discard, c) }()
	many := bytes.Repeat(f, 100)
	for {
		if _, err := c.Write(many); err != nil {
			return
		}
	}
}
