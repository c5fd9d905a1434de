package clustertest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// strength is how many VMs a second start at most while something is changed under them, and how many pods may be in
// flight: so few that a slow machine falls behind with the load, and not with each pod. A soak has more in flight than the
// connections that an API server keeps to a webhook (25).
func strength() (rate time.Duration, inFlight int) {
	if testkit.Soak() {
		return 50, 32
	}
	return 20, 8
}

// result counts what became of the pods created under load.
type result struct {
	created, missed int
	failures        []error
}

// requireNoneHarmed checks the promise: no pod was refused, and none is without the sidecar. It does not count those that
// a replica received and gave up reading after 5 s: only a machine that stalls does that under such a load.
func (r result) requireNoneHarmed(t *testing.T, failedOpen int, replicas ...*replica) {
	t.Helper()
	t.Logf("%d created", r.created)
	stalled := 0
	for _, one := range replicas {
		stalled += strings.Count(one.Log(), "i/o timeout")
	}
	require.Empty(t, r.failures)
	require.LessOrEqual(t, r.missed, stalled)
	require.LessOrEqual(t, failedOpen, stalled, "no call was in vain")
	require.Positive(t, r.created)
}

// load creates virt-launcher pods in a namespace until stop is called, which waits for the last and returns what became
// of them.
func load(t *testing.T) (stop func() result) {
	t.Helper()
	// Longer than 2 s: what is lost under load is then lost by what is changed meanwhile, which refuses calls or never
	// answers them, and not by a machine that is too slow.
	setWebhook(t, "timeoutSeconds", 30)
	rate, inFlight := strength()
	pod := launcher(t, server.Namespace(t, "load", labelled()), "masq")
	ctx, cancel := context.WithCancel(t.Context())
	var mutex sync.Mutex
	var total result
	create := func() {
		// Not ctx: what has begun is carried through.
		stored, err := server.Create(context.Background(), ofNewVM(pod.DeepCopy()), metav1.CreateOptions{})
		mutex.Lock()
		defer mutex.Unlock()
		switch {
		case err != nil:
			total.failures = append(total.failures, err)
		case !injected(stored):
			total.missed++
		default:
			total.created++
		}
	}
	var running sync.WaitGroup
	due := make(chan struct{})
	running.Go(func() {
		defer close(due)
		beat := time.NewTicker(time.Second / rate)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				select {
				case due <- struct{}{}:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	for range inFlight {
		running.Go(func() {
			for range due {
				create()
			}
		})
	}
	end := sync.OnceValue(func() result { cancel(); running.Wait(); return total })
	t.Cleanup(func() { end() })
	return end
}

// proxyLag is how much later than the pod the proxies learn that it ends; usually it is less.
const proxyLag = 2 * time.Second

// Both replicas are replaced, as a Deployment does with maxUnavailable 0, while VMs start.
func TestRollingRestartHarmsNoVM(t *testing.T) {
	replicas, certificates := serveReplicas(t, 2)
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
