package authorization

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
)

// errBusy is the error of a limiter that has no place left, not even to wait.
var errBusy = errors.New("busy")

// A limiter bounds the reviews of tokens. It refuses at once what exceeds a bound, so that made-up
// tokens cost neither memory nor the API server more than this.
//
// A place that becomes free goes to one of the waiting sources at random, and no source holds more
// than its share: one address cannot keep a scraper's first review waiting, and
// many addresses only by chance.
type limiter struct {
	// running is how many reviews may be under way; waiting, how many more may wait;
	// perSource, how many of both a source may have.
	running, waiting, perSource int

	mu       sync.Mutex
	underWay int
	queue    []*waiter
	sources  map[string]int // under way and waiting
}

// A waiter's turn is closed when it gets a place.
type waiter struct {
	source string
	turn   chan struct{}
}

func newLimiter(running, waiting, perSource int) *limiter {
	return &limiter{running: running, waiting: waiting, perSource: perSource, sources: map[string]int{}}
}

// enter waits for a place until ctx ends. Without an error, leave must be called when the review has ended.
func (l *limiter) enter(ctx context.Context, source string) (leave func(), err error) {
	w := &waiter{source: source, turn: make(chan struct{})}
	l.mu.Lock()
	if l.underWay+len(l.queue) >= l.running+l.waiting || l.sources[source] >= l.perSource {
		l.mu.Unlock()
		return nil, errBusy
	}
	l.sources[source]++
	l.queue = append(l.queue, w)
	l.next()
	l.mu.Unlock()
	select {
	case <-w.turn:
		return func() { l.leave(w) }, nil
	case <-ctx.Done():
		l.leave(w)
		return nil, ctx.Err()
	}
}

// leave gives back the waiter's place in the queue, or the one for its review if it has got that.
func (l *limiter) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.queue, w); at >= 0 {
		l.queue = slices.Delete(l.queue, at, at+1)
	} else {
		l.underWay--
	}
	if l.sources[w.source]--; l.sources[w.source] == 0 {
		delete(l.sources, w.source)
	}
	l.next()
}

// next gives a free place to the oldest waiter of a random source.
func (l *limiter) next() {
	if l.underWay >= l.running || len(l.queue) == 0 {
		return
	}
	oldest := map[string]*waiter{}
	for _, w := range slices.Backward(l.queue) {
		oldest[w.source] = w
	}
	candidates := slices.Collect(maps.Values(oldest))
	chosen := candidates[rand.IntN(len(candidates))]
	at := slices.Index(l.queue, chosen)
	l.queue = slices.Delete(l.queue, at, at+1)
	l.underWay++
	close(chosen.turn)
}
