package session

import (
	"bytes"
	"encoding/binary"
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

// A tap records what libvirt sends, and can change a call on its way.
type tap struct {
	net.Conn
	received bytes.Buffer
	from, to uint32 // the procedure to send in another's place
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Write(p[:n])
	c.swap(p[:n], c.to, c.from)
	return n, err
}

func (c *tap) Write(p []byte) (int, error) {
	c.swap(p, c.from, c.to)
	return c.Conn.Write(p)
}

// swap changes the procedure in a packet, or in one whose length was read apart.
func (c *tap) swap(p []byte, from, to uint32) {
	for _, at := range []int{12, 8} {
		if from != to && len(p) >= at+4 && binary.BigEndian.Uint32(p[at-8:]) == programRemote && binary.BigEndian.Uint32(p[at:]) == from {
			binary.BigEndian.PutUint32(p[at:], to)
		}
	}
}

func dialTap(t *testing.T, daemon *libvirttest.Daemon) *tap {
	conn, err := net.Dial("unix", daemon.Socket())
	require.NoError(t, err)
	return &tap{Conn: conn}
}

// TestLibvirtRefusesWrites sends a destroy on the very connection that the sidecar
// opens, past the guard's list: libvirtd itself refuses it.
func TestLibvirtRefusesWrites(t *testing.T) {
	daemon, guest := startGuest(t)
	conn := dialTap(t, daemon)
	c, err := open(t.Context(), conn, sessionURI, 10*time.Second)
	require.NoError(t, err)
	defer c.close()

	_, err = c.virt.DomainLookupByName(guest.Name())
	require.Error(t, err)
	require.ErrorIs(t, c.guard.Err(), errForbidden, "not even a look-up is on the list")

	conn = dialTap(t, daemon)
	c, err = open(t.Context(), conn, sessionURI, 10*time.Second)
	require.NoError(t, err)
	defer c.close()
	domains, _, err := c.virt.ConnectListAllDomains(1, 0)
	require.NoError(t, err)
	require.Len(t, domains, 1)
	domain := domains[0]

	// REMOTE_PROC_DOMAIN_DESTROY_FLAGS takes what REMOTE_PROC_DOMAIN_GET_STATE takes.
	conn.from, conn.to = procDomainGetState, 234
	_, _, err = c.virt.DomainGetState(domain, 0)
	require.EqualError(t, err, "operation forbidden: read only access prevents virDomainDestroyFlags")

	conn.from, conn.to = 0, 0
	state, _, err := c.virt.DomainGetState(domain, 0)
	require.NoError(t, err)
	require.EqualValues(t, libvirt.DomainRunning, state)
}

func TestConnection(t *testing.T) {
	daemon, guest := startGuest(t)
	conn := dialTap(t, daemon)
	c, err := open(t.Context(), conn, sessionURI, 10*time.Second)
	require.NoError(t, err)

	domains, states, err := c.observe(t.Context(), guest.Name())
	require.NoError(t, err)
	require.Len(t, domains, 1)
	require.Equal(t, guest.Name(), domains[0].Name)
	require.True(t, states[0].Running(false))

	require.NoError(t, c.guard.AskXML(domains[0]))
	answer := await(t, c.guard.XML())
	require.NoError(t, answer.refusal)
	require.NoError(t, answer.description.Err)
	require.Equal(t, "qemu", answer.description.Detection.DomainType)
	require.True(t, answer.description.Detection.KubeVirt)
	gone := domains[0]
	gone.UUID[0]++
	require.NoError(t, c.guard.AskXML(gone))
	require.True(t, libvirt.IsNotFound(await(t, c.guard.XML()).refusal))

	version, err := c.libVersion(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^\d+\.\d+\.\d+$`, version)
	require.NoError(t, c.alive(t.Context()), "libvirtd answers a ping though keepalive was not negotiated")

	require.NoError(t, guest.Suspend(t.Context()))
	await(t, c.guard.Events())
	require.False(t, c.guard.Restarted(), "a pause is none")
	_, states, err = c.observe(t.Context(), guest.Name())
	require.NoError(t, err)
	require.Equal(t, libvirt.DomainPaused, states[0].State)
	require.NoError(t, guest.Resume(t.Context()))
	await(t, c.guard.Events())
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

func startGuest(t *testing.T) (*libvirttest.Daemon, *libvirttest.Domain) {
	daemon := libvirttest.New(t)
	guest, err := daemon.Run(t.Context(), libvirttest.Guest{Namespace: "shop", Name: "web"})
	require.NoError(t, err)
	return daemon, guest
}
