package refusals

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRule: each step is a pause and the letter of the answer: i is inject, l is leave alone.
func TestRule(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	type step struct {
		pause time.Duration
		want  string
	}
	for name, steps := range map[string][]step{
		"KubeVirt's own tries": {
			{0, "i"}, {5 * ms, "i"}, {10 * ms, "i"}, {20 * ms, "i"}, {40 * ms, "i"}, {80 * ms, "i"}, {160 * ms, "i"}, {320 * ms, "i"},
			{640 * ms, "l"}, {1280 * ms, "i"}, {2560 * ms, "l"}, {5120 * ms, "i"}, {10240 * ms, "l"}, {20 * s, "l"}, {40 * s, "l"}, {1000 * s, "l"}, {1000 * s, "l"},
		},
		"the last moment of the first second":                 {{0, "i"}, {5 * ms, "i"}, {s - 6*ms, "i"}, {ms, "l"}},
		"a slow API server, or KubeVirt in its long back-off": {{0, "i"}, {s, "l"}},
		"called twice within a request":                       {{0, "i"}, {s, "l"}, {s - ms, "l"}, {s - ms, "l"}, {s, "i"}, {ms, "l"}},
		"two turns, no more":                                  {{0, "i"}, {s, "l"}, {s, "i"}, {s, "l"}, {s, "i"}, {s, "l"}, {s, "l"}, {s, "l"}},
		"no turn after a long gap":                            {{0, "i"}, {s, "l"}, {10*s + ms, "l"}, {10 * s, "i"}, {11 * s, "l"}},
		"known for as long as it takes":                       {{0, "i"}, {24 * time.Hour, "l"}, {24 * time.Hour, "l"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := New(time.Now)
				for i, step := range steps {
					time.Sleep(step.pause)
					leave, _ := m.Leave(Pod{Namespace: "shop", VMI: "uid"})
					require.Equal(t, step.want, map[bool]string{false: "i", true: "l"}[leave], "step %d", i+1)
				}
			})
		})
	}
}

// TestInjectedPodsAreFew: whenever pods are refused and however often, a VM's pods are injected for a second, and twice
// after that.
func TestInjectedPodsAreFew(t *testing.T) {
	for range 2000 {
		synctest.Test(t, func(t *testing.T) {
			m := New(time.Now)
			start, late := time.Now(), 0
			for range 100 {
				leave, _ := m.Leave(Pod{VMI: "uid"})
				if !leave && time.Since(start) >= injectedAtFirst {
					late++
				}
				time.Sleep(time.Millisecond << rand.IntN(20))
			}
			require.LessOrEqual(t, late, mostTurns)
		})
	}
}

// TestOtherPodsAreInjected: only the same pod counts as one that was refused.
func TestOtherPodsAreInjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(time.Now)
		refused := Pod{Namespace: "shop", VMI: "uid"}
		for range 3 {
			m.Leave(refused)
			time.Sleep(time.Second)
		}
		for name, other := range map[string]Pod{
			"the VM made again":                 {Namespace: "shop", VMI: "uid2"},
			"its migration":                     {Namespace: "shop", VMI: "uid", Migration: "m1"},
			"its next migration":                {Namespace: "shop", VMI: "uid", Migration: "m2"},
			"the same uid in another namespace": {Namespace: "other", VMI: "uid"},
			"parts joined differently":          {Namespace: "sho", VMI: "puid"},
		} {
			leave, first := m.Leave(other)
			require.False(t, leave || first, name)
		}
		leave, _ := m.Leave(refused)
		require.True(t, leave)
	})
}

// TestFirst: that a VM's pods are left alone is reported once. Pods without a uid are not remembered.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, firsts := New(time.Now), 0
		for range 20 {
			leave, first := m.Leave(Pod{VMI: "uid"})
			require.True(t, leave || !first)
			if first {
				firsts++
			}
			leave, _ = m.Leave(Pod{Namespace: "shop"})
			require.False(t, leave)
			time.Sleep(time.Second)
		}
		require.Equal(t, 1, firsts)
	})
}

// TestMemoryMayBeUsedConcurrently: the webhook answers many reviews at once.
func TestMemoryMayBeUsedConcurrently(t *testing.T) {
	m := New(time.Now)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for i := range 1000 {
				m.Leave(Pod{VMI: strconv.Itoa(i)})
			}
		})
	}
	asking.Wait()
	require.Equal(t, 1000, len(m.once)+len(m.again))
}

// TestCostOfAnEntry: a full Memory takes less than 2 MiB of the 64 that the manifests allow.
func TestCostOfAnEntry(t *testing.T) {
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	m := New(time.Now)
	for i := range 20 * most {
		pod := Pod{Namespace: "shop", VMI: strconv.Itoa(i)}
		m.Leave(pod)
		if i%2 == 0 {
			m.Leave(pod)
		}
	}
	entries := len(m.once) + len(m.again)
	used := heap() - before
	require.Equal(t, 2*most, entries)
	t.Logf("%d entries take %d bytes, %d each", entries, used, used/uint64(entries))
	require.Less(t, used, uint64(2<<20))
	runtime.KeepAlive(m)
}

func BenchmarkLeave(b *testing.B) {
	m := New(time.Now)
	for i := 0; b.Loop(); i++ {
		m.Leave(Pod{Namespace: "shop", VMI: strconv.Itoa(i / 2)})
	}
}

// TestMemoryIsBounded: reviews of new pods, each sent twice, fill no memory; and pods that are being refused are still known.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(time.Now)
		refused := Pod{Namespace: "shop", VMI: "uid"}
		m.Leave(refused)
		m.Leave(refused)
		for i := range 10 * most {
			m.Leave(Pod{VMI: strconv.Itoa(i)})
		}
		require.Len(t, m.once, most)
		time.Sleep(injectedAtFirst)
		leave, _ := m.Leave(refused)
		require.True(t, leave, "pushed out by pods that were seen once")
		for i := range 10 * most {
			m.Leave(Pod{VMI: strconv.Itoa(i)})
			m.Leave(Pod{VMI: strconv.Itoa(i)})
		}
		require.Len(t, m.again, most)
		require.LessOrEqual(t, len(m.once), most)
	})
}
