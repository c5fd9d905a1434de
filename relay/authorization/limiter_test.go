package authorization

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// askAll asks with n made-up tokens at once from the source, and returns when each has an
// answer or waits for one. The counts are complete when all have ended.
func askAll(t *testing.T, c *Cache, source string, n int) (all *sync.WaitGroup, counts *[Busy + 1]atomic.Int32) {
	t.Helper()
	all, counts = &sync.WaitGroup{}, &[Busy + 1]atomic.Int32{}
	for i := range n {
		all.Go(func() {
			decision, _ := c.Decide(t.Context(), source, fmt.Sprint(source, i), "/p")
			counts[decision].Add(1)
		})
	}
	synctest.Wait()
	return all, counts
}

// TestUnknownTokensAreBounded: made-up tokens against an API server that answers slowly, from one address and from
// many. All but a few are refused at once, and few refusals are remembered.
func TestUnknownTokensAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
		api.takes = time.Second
		all, counts := askAll(t, c, "one", 300)
		require.EqualValues(t, 300-unknownPerSource, counts[Busy].Load(), "at once, from one address")
		all.Wait()
		require.EqualValues(t, unknownPerSource, counts[Unavailable].Load(), "the API server does not know them")

		var floods []*sync.WaitGroup
		busy := 0
		for i := range 30 {
			all, counts := askAll(t, c, fmt.Sprint("many", i), 10)
			floods = append(floods, all)
			busy += int(counts[Busy].Load())
		}
		require.Equal(t, 300-unknownReviews-unknownWaiting, busy, "at once, from many addresses")
		for _, all := range floods {
			all.Wait()
		}
		require.EqualValues(t, unknownReviews, api.most.Load(), "reviews at once")
		require.Empty(t, c.unknown.sources)

		api.setTakes(0)
		for i := range 2 * maxDenied {
			c.Decide(t.Context(), "", fmt.Sprint(i), "/p")
		}
		require.LessOrEqual(t, len(c.refusals.Keys()), maxDenied)
	})
}

// keepAsking asks with ever new made-up tokens, until the test ends, from so many sources and so many times at once from each.
func keepAsking(t *testing.T, c *Cache, sources, each int) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range sources * each {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				c.Decide(ctx, fmt.Sprint(i%sources), fmt.Sprint(i, " ", n), "/p")
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
		time.Sleep(3 * reviewTimeout) // reviews go on though no one waits for them
	})
	time.Sleep(time.Second)
}

// TestKnownScraperAmongStrangers: a token that was allowed is decided from memory, and reviewed again at once, however many
// unknown tokens there are; also after its right has lapsed, and after it was refused for a while.
func TestKnownScraperAmongStrangers(t *testing.T) {
	const slow = 2 * time.Second
	for name, lapse := range map[string]func(t *testing.T, api *fakeAPI, c *Cache){
		"fresh":  nil,
		"due":    func(*testing.T, *fakeAPI, *Cache) { time.Sleep(allowFor) },
		"lapsed": func(*testing.T, *fakeAPI, *Cache) { time.Sleep(rememberFor - time.Minute) },
		"refused meanwhile": func(t *testing.T, api *fakeAPI, c *Cache) {
			api.set(Forbidden, nil)
			step(t, api, c, allowFor, Forbidden, Asked, 1)
			api.set(Allowed, nil)
			time.Sleep(denyFor)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
				ask := func(takes time.Duration, origin Origin) {
					began := time.Now()
					decision, from := c.Decide(t.Context(), "prometheus", "scraper", "/p")
					require.Equal(t, answer{Allowed, origin}, answer{decision, from})
					require.Equal(t, takes, time.Since(began), "the bubble's time")
				}
				step(t, api, c, 0, Allowed, Asked, 1)
				if lapse != nil {
					lapse(t, api, c)
				}
				api.setTakes(slow)
				keepAsking(t, c, 60, 1)
				if lapse != nil {
					ask(slow, Asked)
				}
				ask(0, Cached)
			})
		})
	}
}

// TestFirstReviewIsFair: a scraper whose token is not known yet, as after the relay's restart, waits for one round of
// reviews and not behind all tokens of a stranger, as long as that has fewer addresses than there are places.
func TestFirstReviewIsFair(t *testing.T) {
	for strangers := 1; strangers < 4; strangers++ { // with 8 tokens each they fill all places but 8
		inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
			api.takes = 500 * time.Millisecond
			keepAsking(t, c, strangers, 20)
			decision, _ := c.Decide(t.Context(), "prometheus", "scraper", "/p")
			require.Equal(t, Allowed.String(), decision.String(), "%d strangers", strangers)
		})
	}
}

// TestAnyoneMayHangUp is a property: in whatever order requests come, wait and are abandoned, the bounds hold at
// each moment, each has its answer in time, and nothing is left in the end.
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
