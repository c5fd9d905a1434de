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

// A fakeAPI answers as the test sets it, and counts the questions.
type fakeAPI struct {
	mu       sync.Mutex
	decision map[string]Decision
	err      error
	takes    time.Duration
	asked    atomic.Int32
	atOnce   atomic.Int32
	most     atomic.Int32
}

func (f *fakeAPI) Review(ctx context.Context, token, path string) (Decision, error) {
	f.asked.Add(1)
	f.most.Store(max(f.most.Load(), f.atOnce.Add(1)))
	defer f.atOnce.Add(-1)
	f.mu.Lock()
	takes := f.takes
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return Unavailable, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decision[token+path], f.err
}

func (f *fakeAPI) set(decision Decision, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decision, f.err = map[string]Decision{"scraper/p": decision}, err
}

func (f *fakeAPI) setTakes(takes time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes = takes
}

func inBubble(t *testing.T, test func(t *testing.T, api *fakeAPI, c *Cache, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		api, log := &fakeAPI{}, &bytes.Buffer{}
		api.set(Allowed, nil)
		test(t, api, NewCache(api, time.Now, slog.New(slog.NewTextHandler(log, nil))), log)
	})
}

// step asks once, after some time, and checks the decision and how many questions reached the API server.
func step(t *testing.T, api *fakeAPI, c *Cache, after time.Duration, want Decision, origin Origin, questions int32) {
	t.Helper()
	time.Sleep(after) // the bubble's clock
	before := api.asked.Load()
	decision, from := c.Decide(t.Context(), "prometheus", "scraper", "/p")
	require.Equal(t, want.String(), decision.String())
	require.Equal(t, origin.String(), from.String())
	require.Equal(t, questions, api.asked.Load()-before, "questions to the API server")
}

func TestDecisionsAreKept(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
		step(t, api, c, 0, Allowed, Asked, 1)
		step(t, api, c, 15*time.Second, Allowed, Cached, 0)
		step(t, api, c, allowFor-16*time.Second, Allowed, Cached, 0)
		api.set(Forbidden, nil)
		step(t, api, c, time.Second, Forbidden, Asked, 1)
		step(t, api, c, time.Second, Forbidden, Cached, 0)
		api.set(Allowed, nil)
		step(t, api, c, denyFor-2*time.Second, Forbidden, Cached, 0)
		step(t, api, c, time.Second+1, Allowed, Asked, 1)
	})
}

// TestWithoutTheAPIServer: a token that was allowed still is, for an hour; one that was refused or is unknown is not.
func TestWithoutTheAPIServer(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, log *bytes.Buffer) {
		step(t, api, c, 0, Allowed, Asked, 1)
		api.set(Unavailable, errors.New("down"))
		step(t, api, c, time.Minute, Allowed, Cached, 0)
		step(t, api, c, time.Minute, Allowed, Stale, 1)
		step(t, api, c, askAgain-1, Allowed, Stale, 0)
		step(t, api, c, 1, Allowed, Stale, 1)
		for range 4 {
			step(t, api, c, 11*time.Minute, Allowed, Stale, 1)
		}
		require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), "logged once: %s", log)
		step(t, api, c, 14*time.Minute, Unavailable, Asked, 1)
		api.set(Allowed, nil)
		step(t, api, c, 0, Allowed, Asked, 1)
		require.Equal(t, 1, strings.Count(log.String(), "level=INFO"))

		api.set(Unauthenticated, nil)
		step(t, api, c, allowFor, Unauthenticated, Asked, 1)
		step(t, api, c, denyFor-1, Unauthenticated, Cached, 0)
		api.set(Unavailable, errors.New("down"))
		step(t, api, c, denyFor+1, Unavailable, Asked, 1)
	})
}

// TestOneQuestionForMany: a hundred scrapes with one token are one question.
func TestOneQuestionForMany(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
		api.takes = time.Second
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
		hangUp() // the others still get their answer
		all.Wait()
		require.EqualValues(t, 1, api.asked.Load())
	})
}

// TestPathsAreApart: a right to one path is no right to another.
func TestPathsAreApart(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fakeAPI, c *Cache, _ *bytes.Buffer) {
		step(t, api, c, 0, Allowed, Asked, 1)
		api.mu.Lock()
		api.decision["scraper/q"] = Forbidden
		api.mu.Unlock()
		decision, _ := c.Decide(t.Context(), "prometheus", "scraper", "/q")
		require.Equal(t, Forbidden, decision)
		decision, _ = c.Decide(t.Context(), "prometheus", "scraper", "/p")
		require.Equal(t, Allowed, decision)
	})
}
