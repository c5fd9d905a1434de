package clustertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// rate is how many VMs a second start while something is changed under them, and least how many of them at least where
	// the machine is too slow for that.
	rate, least = 50, 5
	// inFlight bounds the pods that are being created at once. It is more than the connections that an API server keeps to
	// a webhook (25), and so few that a slow machine falls behind with the load, and not with each pod.
	inFlight = 32
)

// tally is what became of the pods created under load.
type tally struct {
	created, missed int
	failures        []error
	slowest         time.Duration
}

// load creates virt-launcher pods in the namespace until stop is called, which waits for the last and returns what
// became of them.
func load(t *testing.T, namespace string) (stop func() tally) {
	t.Helper()
	waitLonger(t)
	pod := launcher(t, namespace, "masq")
	ctx, cancel := context.WithCancel(t.Context())
	var mutex sync.Mutex
	var total tally
	free := make(chan struct{}, inFlight)
	create := func() {
		defer func() { <-free }()
		start := time.Now()
		// Not ctx: what has begun is carried through.
		stored, err := server.Create(context.Background(), ofNewVM(pod.DeepCopy()), metav1.CreateOptions{})
		mutex.Lock()
		defer mutex.Unlock()
		total.slowest = max(total.slowest, time.Since(start))
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
	running.Go(func() {
		beat := time.NewTicker(time.Second / rate)
		defer beat.Stop()
		begin := time.Now()
		for begun := 0.0; ; {
			select {
			case <-beat.C: // a ticker drops beats on a busy machine; what is due is made up for
				for ; begun < time.Since(begin).Seconds()*rate; begun++ {
					select {
					case free <- struct{}{}:
						running.Go(create)
					case <-ctx.Done():
						return
					}
				}
			case <-ctx.Done():
				return
			}
		}
	})
	var once sync.Once
	end := func() tally {
		once.Do(func() { cancel(); running.Wait() })
		return total
	}
	t.Cleanup(func() { end() })
	return end
}

// waitLonger has the API server wait for the webhook for longer than 2 s. What is lost under load is then lost by what
// is changed meanwhile, which refuses calls or never answers them, and not by a machine that is too slow for the load:
// beside other tests and two busy loops, one call of 2000 took 2.3 s.
func waitLonger(t *testing.T) {
	t.Helper()
	setWebhook(t, "timeoutSeconds", 10)
}

// requireNoneHarmed is the promise: none failed, none was missed, and there was a load to speak of.
func requireNoneHarmed(t *testing.T, total tally, during time.Duration) {
	t.Helper()
	t.Logf("%d created in %s, slowest %s", total.created, during.Round(time.Second), total.slowest.Round(time.Millisecond))
	require.Empty(t, total.failures)
	require.Zero(t, total.missed)
	require.Greater(t, float64(total.created), during.Seconds()*least, "a load of %d a second", least)
}
