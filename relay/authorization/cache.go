package authorization

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/util/cache"
)

const (
	// allowFor is how long a right is taken for granted, and so how long its
	// withdrawal may go unnoticed.
	allowFor = 2 * time.Minute
	// staleFor is how long it is while the API server cannot be asked. It is the
	// life of a service account's token.
	staleFor = time.Hour
	// denyFor is how long a refusal is not asked again.
	denyFor = 10 * time.Second
	// askAgain is the pause between two questions that get no answer.
	askAgain = 10 * time.Second
	// rememberFor is how long a token that was allowed is no stranger's: its reviews go
	// before theirs, whatever the last answer was.
	rememberFor = 24 * time.Hour

	// maxKnown is far more than a cluster has scrapers.
	maxKnown = 256
	// maxDenied bounds what made-up tokens can take: some 300 bytes each.
	maxDenied = 4096
	// knownReviews is how many tokens that were allowed before are reviewed at once.
	knownReviews = 8
	// strangerReviews is how many tokens that were not are reviewed at once,
	// strangersWaiting how many wait for that, and strangersPerSource how many of both an
	// address may have. With maxToken these are at most 320 kB of tokens.
	strangerReviews    = 8
	strangersWaiting   = 32
	strangersPerSource = 8
)

// A Reviewer decides. An error says that it cannot.
type Reviewer interface {
	Review(ctx context.Context, token, path string) (Decision, error)
}

// An Origin says where a decision came from.
type Origin int

const (
	// Asked: the API server was asked.
	Asked Origin = iota
	// Cached: the answer was known.
	Cached
	// Stale: the answer was known, is old, and the API server does not answer.
	Stale
)

// String is the value of the metric's label.
func (o Origin) String() string {
	switch o {
	case Asked:
		return "apiserver"
	case Cached:
		return "cache"
	case Stale:
		return "stale"
	}
	return "invalid"
}

type answer struct {
	decision Decision
	origin   Origin
}

// A right is a remembered Allowed.
type right struct {
	origin Origin
	fresh  time.Time // until when it is not asked again
	ends   time.Time // until when it counts without the API server
	until  time.Time // until when it is remembered
}

// A key stands for a token and a path, so that no token is kept.
type key [sha256.Size]byte

func newKey(token, path string) key { return sha256.Sum256([]byte(path + "\x00" + token)) }

// A Cache remembers a Reviewer's decisions. Tokens that were once allowed and all others are kept
// apart and reviewed apart: anyone who makes up tokens neither pushes a scraper's out nor makes it wait,
// and what their reviews take is bounded.
type Cache struct {
	reviewer  Reviewer
	now       func() time.Time
	logger    *slog.Logger
	known     *cache.LRUExpireCache // of key to right
	denied    *cache.LRUExpireCache // of key to Decision
	flights   singleflight.Group
	reviews   chan struct{} // of known tokens
	strangers *limiter
	failing   atomic.Bool
}

type clock func() time.Time

func (c clock) Now() time.Time { return c() }

// NewCache takes the clock it goes by.
func NewCache(reviewer Reviewer, now func() time.Time, logger *slog.Logger) *Cache {
	return &Cache{
		reviewer:  reviewer,
		now:       now,
		logger:    logger,
		known:     cache.NewLRUExpireCacheWithClock(maxKnown, clock(now)),
		denied:    cache.NewLRUExpireCacheWithClock(maxDenied, clock(now)),
		reviews:   make(chan struct{}, knownReviews),
		strangers: newLimiter(strangerReviews, strangersWaiting, strangersPerSource),
	}
}

// Decide returns what is known of the token, or asks; concurrent questions for the
// same are one. It waits for an answer no longer than ctx. The source is the
// address that the token came from: tokens that are not known share the API server
// fairly among their sources, and get Busy where too many are asked about.
func (c *Cache) Decide(ctx context.Context, source, token, path string) (Decision, Origin) {
	k := newKey(token, path)
	if known, ok := c.lookup(k); ok && c.now().Before(known.fresh) {
		return Allowed, known.origin
	}
	if decision, ok := c.denied.Get(k); ok {
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
	known, ok := c.known.Get(k)
	if !ok {
		return right{}, false
	}
	return known.(right), true
}

func (c *Cache) ask(ctx context.Context, source string, k key, token, path string) answer {
	ctx, cancel := context.WithTimeout(ctx, 2*reviewTimeout)
	defer cancel()
	known, wasAllowed := c.lookup(k)
	leave, err := c.enter(ctx, source, wasAllowed)
	if errors.Is(err, errBusy) {
		return answer{Busy, Asked}
	}
	decision := Unavailable
	if err == nil {
		defer leave()
		decision, err = c.reviewer.Review(ctx, token, path)
		c.note(err)
	}
	switch {
	case err == nil:
		c.keep(k, decision)
		return answer{decision, Asked}
	case c.now().Before(known.ends):
		c.keepStale(k, known)
		return answer{Allowed, Stale}
	default:
		return answer{Unavailable, Asked}
	}
}

// enter waits for a place for the review, one of those for known tokens or one of those for strangers'.
func (c *Cache) enter(ctx context.Context, source string, known bool) (leave func(), err error) {
	if !known {
		err := c.strangers.enter(ctx, source)
		return func() { c.strangers.leave(source) }, err
	}
	select {
	case c.reviews <- struct{}{}:
		return func() { <-c.reviews }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Cache) keep(k key, decision Decision) {
	now := c.now()
	if decision == Allowed {
		c.remember(k, right{origin: Cached, fresh: now.Add(allowFor), ends: now.Add(staleFor), until: now.Add(rememberFor)})
		c.denied.Remove(k)
		return
	}
	if known, ok := c.lookup(k); ok {
		c.remember(k, right{until: known.until})
	}
	c.denied.Add(k, decision, denyFor)
}

// keepStale lets a right live on to its end, and asks again after a pause.
func (c *Cache) keepStale(k key, known right) {
	known.origin, known.fresh = Stale, c.now().Add(askAgain)
	if known.fresh.After(known.ends) {
		known.fresh = known.ends
	}
	c.remember(k, known)
}

func (c *Cache) remember(k key, r right) { c.known.Add(k, r, r.until.Sub(c.now())) }

// note logs when the API server begins not to answer, and when it does again.
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
