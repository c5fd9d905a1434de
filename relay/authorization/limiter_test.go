package authorization

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// flood asks with n made-up tokens at once from the source, and returns when all have an
// answer or wait for one. The tally is complete when all has ended.
func flood(t *testing.T, c *Cache, source string, n int) (all *sync.WaitGroup, tally func(Decision) int) {
	t.Helper()
	var counts [Busy + 1]atomic.Int32
	all = &sync.WaitGroup{}
	for i := range n {
		all.Go(func() {
			decision, _ := c.Decide(t.Context(), source, fmt.Sprint(source, i), "/p")
			counts[decision].Add(1)
		})
	}
	synctest.Wait()
	return all, func(d Decision) int { return int(counts[d].Load()) }
}

// TestStrangersAreBounded: made-up tokens against an API server that answers slowly, from one address and from
// many. All but a few are refused at once.
func TestStrangersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
		api.takes = time.Second
		all, tally := flood(t, c, "one", 300)
		require.Equal(t, 300-unknownPerSource, tally(Busy), "at once, from one address")
		all.Wait()
		require.Equal(t, unknownPerSource, tally(Unavailable), "the oracle knows nothing of them")

		var floods []*sync.WaitGroup
		busy := 0
		for i := range 30 {
			all, tally := flood(t, c, fmt.Sprint("many", i), 10)
			floods = append(floods, all)
			busy += tally(Busy)
		}
		require.Equal(t, 300-unknownReviews-unknownWaiting, busy, "at once, from many addresses")
		require.Equal(t, unknownReviews+unknownWaiting, c.unknown.count())
		for _, all := range floods {
			all.Wait()
		}
		require.EqualValues(t, unknownReviews, api.most.Load(), "reviews at once")
		require.Zero(t, c.unknown.count())
	})
}

// TestKnownScraperAmongStrangers: a token that was allowed is decided from memory, and reviewed again at once, however many
// strangers there are. So it is after its right has lapsed, and after it was refused for a while.
func TestKnownScraperAmongStrangers(t *testing.T) {
	siege := func(t *testing.T, c *Cache) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					c.Decide(ctx, fmt.Sprint(i), fmt.Sprint(i, n), "/p")
					pause(ctx, 10*time.Millisecond)
				}
			})
		}
		t.Cleanup(func() {
			cancel()
			all.Wait()
			time.Sleep(3 * reviewTimeout) // reviews go on though nobody waits for them
		})
		time.Sleep(time.Second)
	}
	ask := func(t *testing.T, c *Cache, takes time.Duration, origin Origin) {
		t.Helper()
		began := time.Now()
		decision, from := c.Decide(t.Context(), "prometheus", "scraper", "/p")
		require.Equal(t, Allowed, decision)
		require.Equal(t, origin, from)
		require.Equal(t, takes, time.Since(began), "the bubble's time")
	}
	const slow = 2 * time.Second
	for name, lapse := range map[string]func(api *fakeAPI, c *Cache, t *testing.T){
		"fresh":  nil,
		"due":    func(*fakeAPI, *Cache, *testing.T) { time.Sleep(allowFor) },
		"lapsed": func(*fakeAPI, *Cache, *testing.T) { time.Sleep(rememberFor - time.Minute) },
		"refused meanwhile": func(api *fakeAPI, c *Cache, t *testing.T) {
			time.Sleep(allowFor)
			api.set(Forbidden, nil)
			decision, _ := c.Decide(t.Context(), "prometheus", "scraper", "/p")
			require.Equal(t, Forbidden, decision)
			api.set(Allowed, nil)
			time.Sleep(denyFor)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
				step(t, api, c, 0, Allowed, Asked, 1)
				if lapse != nil {
					lapse(api, c, t)
				}
				api.setTakes(slow)
				siege(t, c)
				if lapse == nil {
					ask(t, c, 0, Cached)
					return
				}
				ask(t, c, slow, Asked)
				ask(t, c, 0, Cached)
			})
		})
	}
}

// TestFirstReviewIsFair: a scraper whose token is not known yet, as after the relay's restart, waits for one round of
// reviews and not behind all of a stranger's, as long as that has fewer addresses than there are places.
func TestFirstReviewIsFair(t *testing.T) {
	for strangers := range 4 { // with 8 tokens each they fill all places but 8
		inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
			api.takes = 500 * time.Millisecond
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			defer time.Sleep(3 * reviewTimeout) // reviews go on though nobody waits for them
			defer all.Wait()
			defer cancel()
			for i := range strangers {
				for range 50 {
					all.Go(func() {
						for ctx.Err() == nil {
							c.Decide(ctx, fmt.Sprint(i), fmt.Sprint(rand.Uint64()), "/p")
							pause(ctx, 10*time.Millisecond)
						}
					})
				}
			}
			time.Sleep(time.Second)
			decision, _ := c.Decide(t.Context(), "prometheus", "scraper", "/p")
			require.Equal(t, Allowed.String(), decision.String(), "%d strangers", strangers)
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// TestAnyoneMayHangUp is a property: whatever comes, waits and hangs up in whatever order, the bounds hold at
// each moment, each question has its answer in time, and nothing is left in the end.
func TestAnyoneMayHangUp(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			l := newLimiter(1+random.IntN(4), random.IntN(8), 1+random.IntN(6))
			var underWay atomic.Int32
			var all sync.WaitGroup
			for range 200 {
				source := fmt.Sprint(random.IntN(5))
				patience := time.Duration(random.IntN(50)) * time.Millisecond
				takes := time.Duration(random.IntN(20)) * time.Millisecond
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					began := time.Now()
					leave, err := l.enter(ctx, source)
					require.LessOrEqual(t, time.Since(began), patience)
					if err != nil {
						return
					}
					defer leave()
					require.LessOrEqual(t, int(underWay.Add(1)), l.running)
					defer underWay.Add(-1)
					time.Sleep(takes)
				})
				time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
				l.checkBounds(t)
			}
			all.Wait()
			require.Zero(t, l.underWay)
			require.Empty(t, l.sources)
			require.Empty(t, l.queue)
		})
	}
}

func (l *limiter) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.underWay + len(l.queue)
}

func (l *limiter) checkBounds(t *testing.T) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := 0
	for _, n := range l.sources {
		sum += n
		require.LessOrEqual(t, n, l.perSource)
	}
	require.Equal(t, sum, l.underWay+len(l.queue))
	require.LessOrEqual(t, l.underWay, l.running)
	require.LessOrEqual(t, sum, l.running+l.waiting)
	require.True(t, len(l.queue) == 0 || l.underWay == l.running, "nothing waits while there is a place")
}

// TestStrangersMemory: what tokens of the greatest length leave in memory, while their reviews hang and when all have been
// refused. The relay's container has 80 MiB.
func TestStrangersMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fakeAPI{decision: map[string]Decision{}, takes: time.Hour}
		c := NewCache(api, time.Now, slog.New(slog.DiscardHandler))
		before := heap()
		var all sync.WaitGroup
		for i := range 3 * maxDenied {
			long := func() string { return fmt.Sprintf("%08d", i) + strings.Repeat("x", maxToken-8) }
			all.Go(func() { c.Decide(t.Context(), fmt.Sprint(i%100), long(), "/p") })
			synctest.Wait()
		}
		hanging := heap() - before
		require.Equal(t, unknownReviews+unknownWaiting, c.unknown.count())
		all.Wait()
		api.setTakes(0)
		for i := range 3 * maxDenied {
			c.Decide(t.Context(), "", fmt.Sprint(i), "/p")
		}
		remembered := heap() - before
		require.LessOrEqual(t, len(c.refusals.Keys()), maxDenied)
		t.Logf("%d kB while reviews hang, %d kB of refusals", hanging>>10, remembered>>10)
		require.Less(t, hanging, int64(1<<20))
		require.Less(t, remembered, int64(2<<20))
	})
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
