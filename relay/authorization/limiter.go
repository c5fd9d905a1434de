package authorization

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
)

// errBusy says that as much is under way and waiting as may be.
var errBusy = errors.New("too many tokens that are not known yet are being reviewed")

// A limiter bounds the reviews of tokens that were never allowed. What exceeds a bound is refused at
// once, so that made-up tokens cost neither memory nor the API server more than this.
//
// A place that gets free goes to one of the waiting sources at random, and no source holds more
// than its share: a stranger with one address cannot keep a scraper's first review waiting, and
// strangers with many only by chance.
type limiter struct {
	// running is how many reviews may be under way; admitted, how many besides wait;
	// perSource, how many of both a source may have.
	running, admitted, perSource int

	mu       sync.Mutex
	underWay int
	sources  map[string]int             // under way and waiting
	waiting  map[string][]chan struct{} // closed when it is their turn
}

func newLimiter(running, waiting, perSource int) *limiter {
	return &limiter{
		running: running, admitted: running + waiting, perSource: perSource,
		sources: map[string]int{}, waiting: map[string][]chan struct{}{},
	}
}

// enter waits for a place until ctx ends. Without an error, leave must be called in the end.
func (l *limiter) enter(ctx context.Context, source string) error {
	turn, err := l.admit(source)
	if err != nil {
		return err
	}
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		l.abandon(source, turn)
		return ctx.Err()
	}
}

// admit returns a channel that is closed when it is the source's turn.
func (l *limiter) admit(source string) (chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total() >= l.admitted || l.sources[source] >= l.perSource {
		return nil, errBusy
	}
	l.sources[source]++
	l.waiting[source] = append(l.waiting[source], make(chan struct{}))
	turn := l.waiting[source][len(l.waiting[source])-1]
	l.next()
	return turn, nil
}

func (l *limiter) leave(source string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay--
	l.forget(source)
	l.next()
}

// abandon gives up waiting, or the place where that was given meanwhile.
func (l *limiter) abandon(source string, turn chan struct{}) {
	l.mu.Lock()
	at := slices.Index(l.waiting[source], turn)
	if at >= 0 {
		l.take(source, at)
		l.forget(source)
	}
	l.mu.Unlock()
	if at < 0 {
		l.leave(source)
	}
}

// next gives a free place to the oldest that waits of a source that is drawn.
func (l *limiter) next() {
	if l.underWay >= l.running || len(l.waiting) == 0 {
		return
	}
	sources := slices.Collect(maps.Keys(l.waiting))
	source := sources[rand.IntN(len(sources))]
	close(l.take(source, 0))
	l.underWay++
}

func (l *limiter) take(source string, at int) chan struct{} {
	turn := l.waiting[source][at]
	l.waiting[source] = slices.Delete(l.waiting[source], at, at+1)
	if len(l.waiting[source]) == 0 {
		delete(l.waiting, source)
	}
	return turn
}

func (l *limiter) forget(source string) {
	l.sources[source]--
	if l.sources[source] == 0 {
		delete(l.sources, source)
	}
}

// total is how many are under way and waiting.
func (l *limiter) total() int {
	sum := 0
	for _, n := range l.sources {
		sum += n
	}
	return sum
}
