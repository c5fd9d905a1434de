package scrape

import (
	"sync"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// A limiter bounds the scrapes under way, of each pod and of all. The last quarter of
// the places is kept for pods of which no scrape is under way: those that hang, or
// are scraped again and again, cannot take them from the others.
type limiter struct {
	most, perPod int

	mu    sync.Mutex
	total int
	pods  map[podsocket.UID]int
}

func newLimiter(most, perPod int) *limiter {
	return &limiter{most: most, perPod: perPod, pods: map[podsocket.UID]int{}}
}

// enter returns OK, and leave must be called in the end; or PodBusy or RelayBusy.
func (l *limiter) enter(uid podsocket.UID) Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	shared := l.most
	if l.pods[uid] > 0 {
		shared -= l.most / 4
	}
	switch {
	case l.pods[uid] >= l.perPod:
		return PodBusy
	case l.total >= shared:
		return RelayBusy
	}
	l.total++
	l.pods[uid]++
	return OK
}

func (l *limiter) leave(uid podsocket.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.pods[uid]--; l.pods[uid] == 0 {
		delete(l.pods, uid)
	}
}

// inFlight returns how many scrapes are under way.
func (l *limiter) inFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
