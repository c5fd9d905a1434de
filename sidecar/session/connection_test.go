package session

import (
	"bytes"
	"flag"
	"io"
	"net"
	"os"
	"testing"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

var update = flag.Bool("update", false, "record testdata/sessions again from a real libvirtd")

const sessionURI = "qemu:///session"

// A tap records what libvirt sends.
type tap struct {
	net.Conn
	received bytes.Buffer
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Write(p[:n])
	return n, err
}

// TestConnection asks a real libvirtd all that a sidecar asks.
func TestConnection(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	guest, err := daemon.Run(t.Context(), libvirttest.Guest{Namespace: "shop", Name: "web"})
	require.NoError(t, err)
	dialled, err := net.Dial("unix", daemon.Socket())
	require.NoError(t, err)
	conn := &tap{Conn: dialled}
	c, err := open(t.Context(), conn, sessionURI, 10*time.Second)
	require.NoError(t, err)

	domains, states, err := c.observe(t.Context(), guest.Name())
	require.NoError(t, err)
	require.Len(t, domains, 1)
	require.Equal(t, guest.Name(), domains[0].Name)
	require.True(t, states[0].Running(false))

	require.NoError(t, c.guard.AskXML(domains[0]))
	answer := await(t, c.guard.xml)
	require.NoError(t, answer.refusal)
	require.NoError(t, answer.description.Err)
	require.Equal(t, "qemu", answer.description.Detection.DomainType)
	require.True(t, answer.description.Detection.KubeVirt)
	gone := domains[0]
	gone.UUID[0]++
	require.NoError(t, c.guard.AskXML(gone))
	require.True(t, libvirt.IsNotFound(await(t, c.guard.xml).refusal))

	version, err := c.libVersion(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^\d+\.\d+\.\d+$`, version)
	require.NoError(t, c.alive(t.Context()), "libvirtd answers a ping though keepalive was not negotiated")

	require.NoError(t, guest.Suspend(t.Context()))
	await(t, c.guard.events)
	require.False(t, c.guard.Restarted(), "a pause is none")
	_, states, err = c.observe(t.Context(), guest.Name())
	require.NoError(t, err)
	require.Equal(t, libvirt.DomainPaused, states[0].State)
	require.NoError(t, guest.Resume(t.Context()))
	await(t, c.guard.events)
	require.True(t, c.guard.Restarted())
	require.False(t, c.guard.Restarted(), "it is reported once")

	c.close()
	if *update {
		require.NoError(t, os.WriteFile("testdata/sessions/tcg.bin", conn.received.Bytes(), 0o644))
	}
	frames := 0
	for rest := bytes.NewReader(conn.received.Bytes()); rest.Len() > 0; frames++ {
		head, err := readHeader(rest)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, rest, int64(head.size()-headerSize))
		require.NoError(t, err, "a session ends with a whole packet")
	}
	require.Greater(t, frames, 10)
}

// TestOpenRacesHangUp drops the link right behind the answer to the opening, which
// go-libvirt alone does not survive: its channel of disconnection stays open.
func TestOpenRacesHangUp(t *testing.T) {
	for range 200 {
		ours, theirs := net.Pipe()
		p := peer{twist: func(conn net.Conn, call frame) bool {
			if call.procedure() != procConnectOpen {
				return false
			}
			io.Copy(conn, bytes.NewReader(answer(call, nil))) //nolint:errcheck // the test ends without
			conn.Close()
			return true
		}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.serve(theirs)
		}()
		_, err := open(t.Context(), ours, sessionURI, 10*time.Second)
		require.Error(t, err)
		<-done
	}
}

// await receives what must come.
func await[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(20 * time.Second):
		require.Fail(t, "nothing came")
	}
	return value
}
