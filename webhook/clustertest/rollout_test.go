package clustertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// proxyLag is how much later than the pod the proxies learn that it ends; usually it is less.
const proxyLag = 2 * time.Second

// Both replicas are replaced, as a Deployment does with maxUnavailable 0, while VMs start.
func TestRollingRestartHarmsNoVM(t *testing.T) {
	replicas, certificates := serveStatically(t)
	before := failedOpen(t.Context(), t)
	stop := load(t)
	all := replicas
	for _, old := range replicas {
		successor := startReplica(t, certificates)
		all = append(all, successor)
		successor.awaitReady(t)
		join(t, successor.port)
		ended := make(chan error, 1)
		go func() { ended <- old.Terminate(testkit.Patience) }()
		<-time.After(proxyLag)
		leave(t, old.port)
		require.NoError(t, <-ended, "it ends by itself, without an error")
	}
	stop().requireNoneHarmed(t, failedOpen(t.Context(), t)-before, all...)
}
