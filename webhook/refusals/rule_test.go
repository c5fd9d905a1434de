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

// Each step is a pause and the letter of the answer: i is to inject, l is to leave alone.
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
		"asked twice within a request":                        {{0, "i"}, {s, "l"}, {s - ms, "l"}, {s - ms, "l"}, {s, "i"}, {ms, "l"}},
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

// Whenever pods are refused and however often: a VM's pods are injected for a second, and two times after that.
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

// What is not the same pod is not taken for one that was refused.
func TestOtherPodsAreInjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(time.Now)
		refused := Pod{Namespace: "shop", VMI: "uid"}
		for range 3 {
			m.Leave(refused)
			time.Sleep(time.Second)
		}
		for name, other := range map[string]Pod{
			"the VM made again":                         {Namespace: "shop", VMI: "uid2"},
			"its migration":                             {Namespace: "shop", VMI: "uid", Migration: "m1"},
			"its next migration":                        {Namespace: "shop", VMI: "uid", Migration: "m2"},
			"the same uid in a namespace of a stranger": {Namespace: "other", VMI: "uid"},
			"parts put together otherwise":              {Namespace: "sho", VMI: "puid"},
		} {
			leave, first := m.Leave(other)
			require.False(t, leave || first, name)
		}
		leave, _ := m.Leave(refused)
		require.True(t, leave)
	})
}

// It is told once that a VM's pods are left alone.
func TestFirstIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, firsts := New(time.Now), 0
		for range 20 {
			leave, first := m.Leave(Pod{VMI: "uid"})
			require.True(t, leave || !first)
			if first {
				firsts++
			}
			time.Sleep(time.Second)
		}
		require.Equal(t, 1, firsts)
	})
}

func TestPodsWithoutUIDAreNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(time.Now)
		for range 10 {
			leave, _ := m.Leave(Pod{Namespace: "shop"})
			require.False(t, leave)
			time.Sleep(time.Second)
		}
	})
}

// The webhook answers many reviews at once.
func TestMemoryMayBeAskedAtOnce(t *testing.T) {
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

// A full Memory takes less than 2 MiB of the 64 that the manifests allow.
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

// A stranger who sends reviews of ever new pods, twice each, fills no memory; and what was being refused is still known.
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
