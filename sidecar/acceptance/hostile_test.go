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

// hostileArgs make the sidecar impatient, so that there is much to see in little time.
func hostileArgs() []string {
	return []string{"--libvirt-timeout=300ms", "--libvirt-grace=1s"}
}

// TestHostilePeer: whatever listens on the socket in libvirt's place, no VMI is shown.
func TestHostilePeer(t *testing.T) {
	t.Parallel()
	send := func(data []byte) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Write(data)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	length := func(n uint32) []byte { return append(words(n), make([]byte, 4096)...) }
	for name, serve := range map[string]func(net.Conn){
		"random bytes":       func(c net.Conn) { _, _ = io.Copy(c, rand.Reader) },
		"zeros":              func(c net.Conn) { _, _ = io.Copy(c, zeros{}) },
		"length 4 GiB":       send(length(1<<32 - 1)),
		"length 16 MiB":      send(length(16 << 20)),
		"length 0":           send(length(0)),
		"length 27":          send(length(27)),
		"slow drip":          drip,
		"silence":            send(nil),
		"pings for ever":     pings,
		"events unasked for": func(c net.Conn) { floodEvents(c, 0) },
		"echo":               func(c net.Conn) { _, _ = io.Copy(c, c) },
		"huge auth list":     answerFirst(words(1 << 30)),
		"auth list of 10 MiB": answerFirst(append(words(10<<20/4),
			bytes.Repeat([]byte{0}, 64)...)),
		"error of 10 MiB": answerFirst(words(1, 1, 1, 10<<20, 0), 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(folder(t, libvirttest.QEMUUser), "virtqemud-sock")
			serveSocket(t, path, serve)
			p := start(t, setup{socket: path, args: hostileArgs()})
			w := p.watch(t, 20*time.Millisecond)
			before, begin := p.usage(t), time.Now()
			<-time.After(hostilities())
			w.awaitKinds(t, begin, absent)
			p.checkSound(t, before)
			p.awaitUp(t, false)
		})
	}
}

// answerFirst answers the first call with a payload, and says no more.
func answerFirst(payload []byte, status ...uint32) func(net.Conn) {
	return func(c net.Conn) {
		call, err := readFrame(c)
		if err != nil {
			return
		}
		reply := newFrame(call.procedure(), kindReply, call.serial(), payload)
		if len(status) > 0 {
			binary.BigEndian.PutUint32(reply[24:], status[0])
		}
		_, _ = c.Write(reply)
		_, _ = io.Copy(io.Discard, c)
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

func pings(c net.Conn) {
	go func() { _, _ = io.Copy(io.Discard, c) }()
	f := newFrame(1, kindMessage, 0, nil)
	binary.BigEndian.PutUint32(f[4:], keepaliveProgram)
	for {
		if _, err := c.Write(f); err != nil {
			return
		}
	}
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// lifecycleEvent is remote_domain_event_callback_lifecycle_msg: callback, domain, event, detail.
func lifecycleEvent(callback uint32) frame {
	payload := append(words(callback), encodeString("default_vm")...)
	payload = append(append(payload, make([]byte, 16)...), words(1, 2, 0)...)
	return newFrame(procLifecycle, kindMessage, 0, payload)
}

func floodEvents(c net.Conn, callback uint32) {
	many := bytes.Repeat(lifecycleEvent(callback), 100)
	for {
		if _, err := c.Write(many); err != nil {
			return
		}
	}
}
