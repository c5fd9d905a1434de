package refusals

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// TestVMsStart: a VM that is refused with the sidecar and admitted without it starts within seconds, whatever the number
// of replicas, the route to them, how slow the API server is, and whether it calls twice. It takes longest if the API
// server calls one replica first and then another.
func TestVMsStart(t *testing.T) {
	for _, c := range []struct {
		request, reinvoked time.Duration
		most               time.Duration
	}{
		{10 * time.Millisecond, 0, 11 * time.Second},
		{10 * time.Millisecond, 5 * time.Millisecond, 60 * time.Second},
		{10 * time.Millisecond, 900 * time.Millisecond, 60 * time.Second},
		{10 * time.Millisecond, 3 * time.Second, 60 * time.Second},
		{time.Second, 0, 15 * time.Second},
		{12 * time.Second, 0, 60 * time.Second},
	} {
		for replicas := 1; replicas <= 3; replicas++ {
			for way, route := range routes {
				t.Run(fmt.Sprintf("request %s, asked again after %s, %d replicas, %s", c.request, c.reinvoked, replicas, way), func(t *testing.T) {
					var slowest vm
					for range 50 {
						got := cluster{vms: 1, replicas: replicas, route: route, request: c.request, reinvoked: c.reinvoked, admits: always(onlyWithout)}.run(t)[0]
						if got.started > slowest.started {
							slowest = got
						}
					}
					t.Logf("started after %s, %d refused", slowest.started, slowest.forUs)
					require.LessOrEqual(t, slowest.started, c.most)
				})
			}
		}
	}
}

// TestVMsThatWaitForOthers: a VM that waits for something else (a ResourceQuota) starts at most seconds later because of
// the webhook, if it is admitted only without the sidecar; and often with the sidecar, if it waited no longer than
// seconds. docs/operations.md has the numbers.
func TestVMsThatWaitForOthers(t *testing.T) {
	// One of three replicas has not seen one VM in a hundred before KubeVirt's long back-off, and injects it then.
	rounds, late := 60, 6
	if testkit.Soak() {
		rounds, late = 300, 12
	}
	for _, waits := range []struct {
		least, most time.Duration
		share       float64 // of VMs with the sidecar, at least
	}{
		{time.Millisecond, 500 * time.Millisecond, 1},
		{time.Second, 10 * time.Second, 0.2},
		{30 * time.Second, 10 * time.Hour, 0},
	} {
		for replicas := 1; replicas <= 3; replicas++ {
			t.Run(fmt.Sprintf("%s to %s, %d replicas", waits.least, waits.most, replicas), func(t *testing.T) {
				with, delay := 0, []time.Duration{}
				for range rounds {
					at := logUniform(waits.least, waits.most)
					run := func(replicas int, then admitted) vm {
						return cluster{vms: 1, replicas: replicas, route: routes["at random"], request: 10 * time.Millisecond, admits: from(at, then)}.run(t)[0]
					}
					got, without := run(replicas, both), run(0, both).started
					require.Equal(t, without, got.started, "no later than without the webhook")
					if got.injected {
						with++
					}
					delay = append(delay, run(replicas, onlyWithout).started-without)
				}
				slices.Sort(delay)
				t.Logf("with the sidecar: %d of %d; if there is room without it only, later by %s (median), %s (most)", with, rounds, delay[rounds/2], delay[rounds-1])
				require.GreaterOrEqual(t, float64(with)/float64(rounds), waits.share)
				require.LessOrEqual(t, delay[rounds-1-late], 45*time.Second)
			})
		}
	}
}

func logUniform(least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), rand.Float64()))
}

// TestManyVMsStartAtOnce: many VMs that start together in a namespace that refuses the sidecar share KubeVirt's 10 tries
// a second.
func TestManyVMsStartAtOnce(t *testing.T) {
	for _, vms := range []int{10, 100, 1000} {
		got := cluster{vms: vms, replicas: 2, route: routes["at random"], request: 10 * time.Millisecond, admits: always(onlyWithout)}.run(t)
		var last time.Duration
		refused := 0
		for _, one := range got {
			last, refused = max(last, one.started), refused+one.forUs
		}
		t.Logf("%d VMs: the last started after %s, %.1f refused pods a VM", vms, last, float64(refused)/float64(vms))
		require.LessOrEqual(t, last, 15*time.Second+time.Duration(vms)*time.Second/5)
	}
}
