package scrape

import (
	"sync"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// A gate bounds the scrapes under way, of each pod and of all. The last quarter of
// the places is kept for pods of which no scrape is under way: those that hang, or
// are asked for again and again, cannot take them from the others.
type gate struct {
	most, perPod int

	mu    sync.Mutex
	total int
	pods  map[podsocket.UID]int
}

func newGate(most, perPod int) *gate {
	return &gate{most: most, perPod: perPod, pods: map[podsocket.UID]int{}}
}

// enter gives OK, and leave must be called in the end; or it gives PodBusy or
// RelayBusy.
func (g *gate) enter(uid podsocket.UID) Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	shared := g.most
	if g.pods[uid] > 0 {
		shared -= g.most / 4
	}
	switch {
	case g.pods[uid] >= g.perPod:
		return PodBusy
	case g.total >= shared:
		return RelayBusy
	}
	g.total++
	g.pods[uid]++
	return OK
}

func (g *gate) leave(uid podsocket.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	g.pods[uid]--
	if g.pods[uid] == 0 {
		delete(g.pods, uid)
	}
}

// inFlight is how many scrapes are under way.
func (g *gate) inFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}
