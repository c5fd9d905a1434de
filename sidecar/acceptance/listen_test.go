package acceptance

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestAddressInUse: the sidecar waits for its address, and serves when it is free.
func TestAddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	other := "unix://" + filepath.Join(folder(t, libvirttest.QEMUUser), "web.sock")
	p := start(t, setup{socket: nowhere, listen: other, args: []string{"--web.listen-address=" + taken.Addr().String()}})
	p.awaitStatus(t, "/healthz", 200)
	p.awaitLog(t, "address already in use")
	p.awaitStatus(t, "/readyz", 503)
	require.NoError(t, taken.Close())
	p.awaitStatus(t, "/readyz", 200)
	late := newScraper(t, taken.Addr().String(), p.vmi)
	_, err = late.scrape()
	require.NoError(t, err)
	require.Equal(t, 1, p.awaitLog(t, "address already in use"), "one line, however often it is tried")
}

// TestUnixSocket: open to every user; a socket file left over is replaced, a file that
// is none is left alone.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	dir := folder(t, libvirttest.QEMUUser)
	path := filepath.Join(dir, "web.sock")
	first := start(t, setup{socket: nowhere, listen: "unix://" + path, keep: true})
	first.awaitServing(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o666, info.Mode())

	require.NoError(t, first.cmd.Process.Kill())
	<-first.exited
	require.FileExists(t, path, "left over")
	second := start(t, setup{socket: nowhere, listen: "unix://" + path})
	second.awaitServing(t)
	require.NoError(t, second.cmd.Process.Signal(os.Interrupt))
	<-second.exited

	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	third := start(t, setup{socket: nowhere, listen: "unix://" + path})
	third.awaitLog(t, "cannot serve")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(data))
	require.NoError(t, os.Remove(path))
	third.awaitServing(t)
}

// TestSeveralAddresses serves the same on each.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	address, second := freeAddress(t), "unix://"+filepath.Join(folder(t, libvirttest.QEMUUser), "b.sock")
	p := start(t, setup{socket: nowhere, args: []string{"--web.listen-address=" + address, "--web.listen-address=" + second}})
	p.awaitStatus(t, "/readyz", 200)
	for _, listen := range []string{address, second} {
		found, err := newScraper(t, listen, p.vmi).scrape()
		require.NoError(t, err)
		require.Equal(t, 1.0, found.number(identityMetric))
	}
}

// TestDeafClients: clients that connect and say nothing, or never read, keep nobody else
// from being answered, nor the sidecar from ending.
func TestDeafClients(t *testing.T) {
	t.Parallel()
	p := start(t, setup{socket: nowhere, args: []string{"--web.runtime-metrics"}})
	w := p.watch(t, 20*time.Millisecond)
	before := p.usage(t)
	for range 30 {
		conn, err := net.Dial("unix", p.listen[len("unix://"):])
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write([]byte("GET /metrics HTTP/1.1\r\nHost: x\r\n"))
		require.NoError(t, err)
	}
	p.holds(t, absent, 500*time.Millisecond)
	require.NotEmpty(t, w.since(time.Now().Add(-time.Second)))
	now := p.usage(t)
	t.Logf("before %v; with 30 deaf clients %v", before, now)
	require.Less(t, now.rss, maxResident)
}
