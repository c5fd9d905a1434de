package clustertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxyLag is how much later than the pod the proxies learn that it ends; usually it is less.
const proxyLag = 2 * time.Second

// Both replicas are replaced, as a Deployment does with maxUnavailable 0, while VMs start.
func TestRollingRestartHarmsNoVM(t *testing.T) {
	replicas, certificates := serveStatically(t)
	before := failedOpen(t.Context(), t)
	start := time.Now()
	stop := load(t, server.Namespace(t, "rollout", labelled()))
	for _, old := range replicas {
		successor := startReplica(t, certificates)
		successor.awaitReady(t)
		join(t, successor.port)
		ended := make(chan error, 1)
		go func() { ended <- old.Terminate(30 * time.Second) }() // terminationGracePeriodSeconds
		<-time.After(proxyLag)
		leave(t, old.port)
		require.NoError(t, <-ended, "it ends by itself, in good order")
	}
	requireNoneHarmed(t, stop(), time.Since(start))
	require.Equal(t, before, failedOpen(t.Context(), t), "no call was in vain")
}
