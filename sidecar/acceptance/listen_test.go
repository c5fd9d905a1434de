package acceptance

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestSeveralAddresses: the same page on each. The sidecar waits for an address that is in
// use, serves the others meanwhile, and logs one line however often it tries.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := start(t, setup{socket: nowhere, args: []string{"--listen-address=" + taken.Addr().String()}})
	p.awaitStatus(t, "/healthz", 200)
	p.AwaitLog(t, "address already in use")
	p.awaitStatus(t, "/readyz", 503)
	require.NoError(t, taken.Close())
	p.awaitStatus(t, "/readyz", 200)
	for _, listen := range []string{taken.Addr().String(), p.listen} {
		found, err := newScraper(t, listen, p.vmi).scrape()
		require.NoError(t, err)
		require.Equal(t, 1.0, found.number(identityMetric))
	}
	require.Equal(t, 1, p.AwaitLog(t, "address already in use"))
}

// TestUnixSocket: open to every user, and replaced if it is left over.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t, libvirttest.QEMUUser), "web.sock")
	first := start(t, setup{socket: nowhere, listen: "unix://" + path, keep: true})
	first.awaitServing(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o666, info.Mode())

	first.Kill()
	require.FileExists(t, path, "left over")
	second := start(t, setup{socket: nowhere, listen: "unix://" + path})
	second.awaitServing(t)
}
