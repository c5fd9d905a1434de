package authorization

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/util/cache"
)

const (
	// allowFor is how long a right is not asked for again, and so how long its
	// withdrawal may go unnoticed.
	allowFor = 2 * time.Minute
	// staleFor is how long it is valid while the API server cannot be asked. It is the
	// life of a service account's token.
	staleFor = time.Hour
	// denyFor is how long a refusal is not asked for again.
	denyFor = 10 * time.Second
	// askAgain is the pause between two questions that get no answer.
	askAgain = 10 * time.Second
	// rememberFor is how long a token that was allowed counts as known: its reviews go
	// before those of unknown tokens, whatever the last answer was.
	rememberFor = 24 * time.Hour

	// maxKnown is far more than a cluster has scrapers.
	maxKnown = 256
	// maxDenied bounds what made-up tokens can take: some 300 bytes each.
	maxDenied = 4096
	// knownReviews is how many known tokens are reviewed at once.
	knownReviews = 8
	// unknownReviews is how many unknown tokens are reviewed at once,
	// unknownWaiting how many wait for that, and unknownPerSource how many of both an
	// address may have. With maxToken these are at most 320 kB of tokens.
	unknownReviews   = 8
	unknownWaiting   = 32
	unknownPerSource = 8
)

// A Reviewer decides. An error means that it cannot.
type Reviewer interface {
	Review(ctx context.Context, token, path string) (Decision, error)
}

type answer struct {
	decision Decision
	origin   Origin
}

// A right is a remembered Allowed.
type right struct {
	origin Origin
	fresh  time.Time // until then it is not asked for again
	ends   time.Time // until then it is valid without the API server
	until  time.Time // until then it is remembered
}

// A key identifies a token and a path, so that no token is kept.
type key [sha256.Size]byte

func newKey(token, path string) key { return sha256.Sum256([]byte(path + "\x00" + token)) }

// A Cache remembers a Reviewer's decisions. Known tokens, which were allowed before, and unknown ones are kept
// apart and reviewed apart: made-up tokens neither push a scraper's out nor make it wait,
// and what their reviews take is bounded.
type Cache struct {
	reviewer       Reviewer
	now            func() time.Time
	logger         *slog.Logger
	rights         *cache.LRUExpireCache // of key to right
	refusals       *cache.LRUExpireCache // of key to Decision
	flights        singleflight.Group
	known, unknown *limiter
	failing        atomic.Bool
}

type clock func() time.Time

func (c clock) Now() time.Time { return c() }

// NewCache returns an empty Cache. It takes the time from now.
func NewCache(reviewer Reviewer, now func() time.Time, logger *slog.Logger) *Cache {
	return &Cache{
		reviewer: reviewer,
		now:      now,
		logger:   logger,
		rights:   cache.NewLRUExpireCacheWithClock(maxKnown, clock(now)),
		refusals: cache.NewLRUExpireCacheWithClock(maxDenied, clock(now)),
		known:    newLimiter(knownReviews, math.MaxInt32, math.MaxInt32),
		unknown:  newLimiter(unknownReviews, unknownWaiting, unknownPerSource),
	}
}

// Decide returns what is known of the token, or asks; concurrent questions about the
// same token are one. It waits for an answer no longer than ctx. The source is the
// address that the token came from: unknown tokens share the API server
// fairly among their sources, and get Busy if too many are being reviewed.
func (c *Cache) Decide(ctx context.Context, source, token, path string) (Decision, Origin) {
	k := newKey(token, path)
	if known, ok := c.lookup(k); ok && c.now().Before(known.fresh) {
		return Allowed, known.origin
	}
	if decision, ok := c.refusals.Get(k); ok {
		return decision.(Decision), Cached
	}
	flight := c.flights.DoChan(string(k[:]), func() (any, error) {
		// Not ctx: others wait for the same answer.
		return c.ask(context.WithoutCancel(ctx), source, k, token, path), nil
	})
	select {
	case result := <-flight:
		found := result.Val.(answer)
		return found.decision, found.origin
	case <-ctx.Done():
		return Unavailable, Asked
	}
}

func (c *Cache) lookup(k key) (right, bool) {
	known, ok := c.rights.Get(k)
	if !ok {
		return right{}, false
	}
	return known.(right), true
}

func (c *Cache) ask(ctx context.Context, source string, k key, token, path string) answer {
	ctx, cancel := context.WithTimeout(ctx, 2*reviewTimeout)
	defer cancel()
	before, known := c.lookup(k)
	limiter := c.unknown
	if known {
		limiter = c.known
	}
	decision := Unavailable
	leave, err := limiter.enter(ctx, source)
	switch {
	case errors.Is(err, errBusy):
		return answer{Busy, Asked}
	case err == nil:
		defer leave()
		decision, err = c.reviewer.Review(ctx, token, path)
		c.note(err)
	}
	now := c.now()
	switch {
	case err == nil && decision == Allowed:
		c.remember(k, right{origin: Cached, fresh: now.Add(allowFor), ends: now.Add(staleFor), until: now.Add(rememberFor)})
		c.refusals.Remove(k)
	case err == nil:
		if known {
			c.remember(k, right{until: before.until})
		}
		c.refusals.Add(k, decision, denyFor)
	case now.Before(before.ends):
		before.origin, before.fresh = Stale, now.Add(askAgain)
		if before.fresh.After(before.ends) {
			before.fresh = before.ends
		}
		c.remember(k, before)
		return answer{Allowed, Stale}
	default:
		return answer{Unavailable, Asked}
	}
	return answer{decision, Asked}
}

func (c *Cache) remember(k key, r right) { c.rights.Add(k, r, r.until.Sub(c.now())) }

// note logs when the API server begins to give no answer, and when it answers again.
func (c *Cache) note(err error) {
	if before := c.failing.Swap(err != nil); before == (err != nil) {
		return
	}
	if err != nil {
		c.logger.Error("the API server cannot be asked for authorization; known scrapers go on for up to an hour", "err", err)
		return
	}
	c.logger.Info("the API server can be asked for authorization")
}
