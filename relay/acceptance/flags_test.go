package acceptance

import (
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBothFamilies: on a node with IPv6, the default address takes scrapes by both.
func TestBothFamilies(t *testing.T) {
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet, everywhere: true})
	pod := addPod(t, kubelet)
	startSidecar(t, pod)
	_, port, err := net.SplitHostPort(relay.address)
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "::1"} {
		relay.address = net.JoinHostPort(host, port)
		require.Contains(t, relay.await(t, pod.UID, http.StatusOK), sidecarPage, host)
	}
}
