package authorization

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// oracle answers as the test says, and counts the questions.
type oracle struct {
	mu       sync.Mutex
	decision map[string]Decision
	err      error
	takes    time.Duration
	asked    atomic.Int32
	atOnce   atomic.Int32
	most     atomic.Int32
}

func (o *oracle) Review(ctx context.Context, token, path string) (Decision, error) {
	o.asked.Add(1)
	o.most.Store(max(o.most.Load(), o.atOnce.Add(1)))
	defer o.atOnce.Add(-1)
	o.mu.Lock()
	takes := o.takes
	o.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return Unavailable, ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.decision[token+path], o.err
}

func (o *oracle) set(decision Decision, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.decision, o.err = map[string]Decision{"scraper/p": decision}, err
}

func (o *oracle) setTakes(takes time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.takes = takes
}

func inBubble(t *testing.T, test func(t *testing.T, o *oracle, c *Cache, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		o, log := &oracle{}, &bytes.Buffer{}
		o.set(Allowed, nil)
		test(t, o, NewCache(o, time.Now, slog.New(slog.NewTextHandler(log, nil))), log)
	})
}

// step is one question, after some time, and what must come of it.
func step(t *testing.T, o *oracle, c *Cache, after time.Duration, want Decision, origin Origin, questions int32) {
	t.Helper()
	time.Sleep(after) // the bubble's clock
	before := o.asked.Load()
	decision, from := c.Decide(t.Context(), "prometheus", "scraper", "/p")
	require.Equal(t, want.String(), decision.String())
	require.Equal(t, origin.String(), from.String())
	require.Equal(t, questions, o.asked.Load()-before, "questions to the API server")
}

func TestAllowedIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T, o *oracle, c *Cache, _ *bytes.Buffer) {
		step(t, o, c, 0, Allowed, Asked, 1)
		step(t, o, c, 15*time.Second, Allowed, Cached, 0)
		step(t, o, c, allowFor-16*time.Second, Allowed, Cached, 0)
		o.set(Forbidden, nil)
		step(t, o, c, time.Second, Forbidden, Asked, 1)
		step(t, o, c, time.Second, Forbidden, Cached, 0)
		o.set(Allowed, nil)
		step(t, o, c, denyFor-2*time.Second, Forbidden, Cached, 0)
		step(t, o, c, time.Second+1, Allowed, Asked, 1)
	})
}

func TestRefusalsAreKept(t *testing.T) {
	for _, refusal := range []Decision{Unauthenticated, Forbidden} {
		inBubble(t, func(t *testing.T, o *oracle, c *Cache, _ *bytes.Buffer) {
			o.set(refusal, nil)
			step(t, o, c, 0, refusal, Asked, 1)
			step(t, o, c, denyFor-1, refusal, Cached, 0)
			step(t, o, c, 2, refusal, Asked, 1)
		})
	}
}

// TestWithoutTheAPIServer: who was allowed goes on, for an hour; a refusal, and
// what is not known, is no permission.
func TestWithoutTheAPIServer(t *testing.T) {
	inBubble(t, func(t *testing.T, o *oracle, c *Cache, log *bytes.Buffer) {
		step(t, o, c, 0, Allowed, Asked, 1)
		o.set(Unavailable, errors.New("down"))
		step(t, o, c, time.Minute, Allowed, Cached, 0)
		step(t, o, c, time.Minute, Allowed, Stale, 1)
		step(t, o, c, askAgain-1, Allowed, Stale, 0)
		step(t, o, c, 1, Allowed, Stale, 1)
		for range 4 {
			step(t, o, c, 11*time.Minute, Allowed, Stale, 1)
		}
		require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), "logged once: %s", log)
		step(t, o, c, 14*time.Minute, Unavailable, Asked, 1)
		o.set(Allowed, nil)
		step(t, o, c, 0, Allowed, Asked, 1)
		require.Equal(t, 1, strings.Count(log.String(), "level=INFO"))

		o.set(Unauthenticated, nil)
		step(t, o, c, allowFor, Unauthenticated, Asked, 1)
		o.set(Unavailable, errors.New("down"))
		step(t, o, c, denyFor+1, Unavailable, Asked, 1)
	})
}

// TestOneQuestionForMany: a hundred scrapes with one token are one question.
func TestOneQuestionForMany(t *testing.T) {
	inBubble(t, func(t *testing.T, o *oracle, c *Cache, _ *bytes.Buffer) {
		o.takes = time.Second
		hungUp, hangUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			decision, _ := c.Decide(hungUp, "prometheus", "scraper", "/p")
			require.Equal(t, Unavailable, decision)
		})
		synctest.Wait()
		for range 100 {
			all.Go(func() {
				decision, _ := c.Decide(t.Context(), "prometheus", "scraper", "/p")
				require.Equal(t, Allowed, decision)
			})
		}
		synctest.Wait()
		hangUp() // the first one's leaving is not the others' loss
		all.Wait()
		require.EqualValues(t, 1, o.asked.Load())
	})
}

// TestPathsAreApart: a right on one path says nothing of another.
func TestPathsAreApart(t *testing.T) {
	inBubble(t, func(t *testing.T, o *oracle, c *Cache, _ *bytes.Buffer) {
		step(t, o, c, 0, Allowed, Asked, 1)
		o.mu.Lock()
		o.decision["scraper/q"] = Forbidden
		o.mu.Unlock()
		decision, _ := c.Decide(t.Context(), "prometheus", "scraper", "/q")
		require.Equal(t, Forbidden, decision)
		decision, _ = c.Decide(t.Context(), "prometheus", "scraper", "/p")
		require.Equal(t, Allowed, decision)
	})
}
