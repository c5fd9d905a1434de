package authorization

import (
	"context"
	"crypto/sha256"
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

	// maxAllowed is far more than a cluster has scrapers.
	maxAllowed = 256
	// maxDenied bounds what made-up tokens can take: some 300 bytes each.
	maxDenied = 4096
	// maxStrangers is how many tokens that were not allowed before are asked about
	// at once; the others wait.
	maxStrangers = 8
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
}

// A key stands for a token and a path, so that no token is kept.
type key [sha256.Size]byte

func newKey(token, path string) key { return sha256.Sum256([]byte(path + "\x00" + token)) }

// A Cache remembers a Reviewer's decisions. Tokens that were allowed and those
// that were not are kept apart, and the former go first: whoever makes up tokens
// neither pushes a scraper's out nor makes it wait.
type Cache struct {
	reviewer  Reviewer
	now       func() time.Time
	logger    *slog.Logger
	allowed   *cache.LRUExpireCache // of key to right
	denied    *cache.LRUExpireCache // of key to Decision
	flights   singleflight.Group
	strangers chan struct{}
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
		allowed:   cache.NewLRUExpireCacheWithClock(maxAllowed, clock(now)),
		denied:    cache.NewLRUExpireCacheWithClock(maxDenied, clock(now)),
		strangers: make(chan struct{}, maxStrangers),
	}
}

// Decide gives what is known of the token, or asks; concurrent questions for the
// same are one. It waits for an answer no longer than ctx.
func (c *Cache) Decide(ctx context.Context, token, path string) (Decision, Origin) {
	k := newKey(token, path)
	if known, ok := c.allowed.Get(k); ok {
		if known := known.(right); c.now().Before(known.fresh) {
			return Allowed, known.origin
		}
	}
	if decision, ok := c.denied.Get(k); ok {
		return decision.(Decision), Cached
	}
	flight := c.flights.DoChan(string(k[:]), func() (any, error) {
		// Not ctx: others wait for the same answer.
		return c.ask(context.WithoutCancel(ctx), k, token, path), nil
	})
	select {
	case result := <-flight:
		found := result.Val.(answer)
		return found.decision, found.origin
	case <-ctx.Done():
		return Unavailable, Asked
	}
}

func (c *Cache) ask(ctx context.Context, k key, token, path string) answer {
	ctx, cancel := context.WithTimeout(ctx, 2*reviewTimeout)
	defer cancel()
	known, wasAllowed := c.allowed.Get(k)
	if !wasAllowed {
		select {
		case c.strangers <- struct{}{}:
			defer func() { <-c.strangers }()
		case <-ctx.Done():
			return answer{Unavailable, Asked}
		}
	}
	decision, err := c.reviewer.Review(ctx, token, path)
	c.note(err)
	switch {
	case err == nil:
		c.keep(k, decision)
		return answer{decision, Asked}
	case wasAllowed:
		c.keepStale(k, known.(right))
		return answer{Allowed, Stale}
	default:
		return answer{Unavailable, Asked}
	}
}

func (c *Cache) keep(k key, decision Decision) {
	if decision == Allowed {
		now := c.now()
		c.allowed.Add(k, right{origin: Cached, fresh: now.Add(allowFor), ends: now.Add(staleFor)}, staleFor)
		c.denied.Remove(k)
		return
	}
	c.allowed.Remove(k)
	c.denied.Add(k, decision, denyFor)
}

// keepStale lets a right live on to its end, and asks again after a pause.
func (c *Cache) keepStale(k key, known right) {
	known.origin, known.fresh = Stale, c.now().Add(askAgain)
	if known.fresh.After(known.ends) {
		known.fresh = known.ends
	}
	c.allowed.Add(k, known, known.ends.Sub(c.now()))
}

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
