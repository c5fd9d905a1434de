package scrape_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/scrape"
)

// TestOneHostileAmong250: a pod that hangs, drips or floods, and is asked far more
// often than the others, costs them nothing: each of their scrapes goes through.
func TestOneHostileAmong250(t *testing.T) {
	for name, hostile := range map[string]func(net.Conn){"hangs": hang, "drips": drip, "floods": flood} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *scrape.Config) { c.MaxInFlight = 16 })
			enemy := w.pod(t, hostile)
			var pods []podtest.Pod
			for range 249 {
				pods = append(pods, w.pod(t, says(page)))
			}
			ctx, cancel := context.WithCancel(t.Context())
			var siege sync.WaitGroup
			defer siege.Wait()
			defer cancel()
			for range 32 {
				siege.Go(func() {
					for ctx.Err() == nil {
						_, _, _ = w.get(ctx, enemy.UID)
						pause(ctx, 5*time.Millisecond) // a scraper, not a busy loop
					}
				})
			}
			if name != "floods" {
				require.Eventually(t, func() bool { return w.counted(scrape.PodBusy) > 0 }, 10*time.Second, time.Millisecond)
			}
			var slowest time.Duration
			for _, pod := range pods {
				began := time.Now()
				response, content, err := w.get(t.Context(), pod.UID)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, response.StatusCode, content)
				slowest = max(slowest, time.Since(began))
			}
			t.Logf("the slowest of %d took %v", len(pods), slowest)
			require.Less(t, slowest, 5*time.Second, "one that waited for the hostile pod would take 10")
			require.Zero(t, w.counted(scrape.RelayBusy))
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// TestRelayBusy: over the cap for all there is a reason, and no waiting.
func TestRelayBusy(t *testing.T) {
	w := newWorld(t, func(c *scrape.Config) { c.MaxInFlight = 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	var arrived sync.WaitGroup
	for range 2 {
		arrived.Add(1)
		pod := w.pod(t, func(conn net.Conn) { arrived.Done(); hang(conn) })
		waiting.Go(func() { _, _, _ = w.get(ctx, pod.UID) })
	}
	arrived.Wait()
	response, content, err := w.get(t.Context(), w.pod(t, says(page)).UID)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Equal(t, fmt.Sprintln(scrape.RelayBusy.Sentence()), content)
}
