package exposition

import (
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Never open on every address by an address that is not there.
func TestListenTCPNeedsAnAddress(t *testing.T) {
	for address, want := range map[string]string{
		"[]:0":            "the pod has none",
		"[0.0.0.0]:0":     "not an address that a device could hold",
		"[::]:0":          "not an address that a device could hold",
		":0":              "not an address that a device could hold",
		"[192.0.2.99]:0":  "no network device holds",
		"[2001:db8::9]:0": "no network device holds",
	} {
		_, err := listenTCP(address, true, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, want, address)
	}
}

// The brackets fit both families.
func TestListenTCPBindsToTheDevice(t *testing.T) {
	for _, address := range []string{"[127.0.0.1]:0", "[::1]:0"} {
		listener, err := listenTCP(address, true, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err, "loopback holds it")
		require.NoError(t, conn.Close())
		require.NoError(t, listener.Close())
	}
}
