package refusals

import (
	"hash/maphash"
	"sync"
	"time"
)

// Pod says for which VM a pod is created, and for which migration. What the API server creates again after a refusal is equal.
type Pod struct {
	// Namespace is the review's, which the API server writes: a tenant reaches the pods of no other namespace.
	Namespace string
	// VMI is the uid in the pod's controller reference.
	VMI string
	// Migration is the uid of the migration whose target the pod is, or empty.
	Migration string
}

// most is how many pods are remembered in each of the two maps, so that strangers who send reviews can fill no memory:
// TestMemoryIsBounded measures it.
const most = 8192

// Memory remembers pods. It is safe for concurrent use. Each replica of the webhook has its own: with several, each sees a
// part of a VM's tries (TestVMsStart).
type Memory struct {
	now   func() time.Time
	start time.Time
	// seed is random, so that nobody can choose two pods that are taken for each other.
	seed maphash.Seed

	mu sync.Mutex
	// once has the pods that were seen once, which are most; again those that came back. Each drops any one of its own when
	// it is full: a flood of reviews about ever new pods does not push out those that are being refused. Nothing else is
	// forgotten: in its longest back-off KubeVirt creates a pod every 1000 s, and other replicas may get most of them.
	once, again map[uint64]entry
}

// New makes an empty Memory with the clock.
func New(now func() time.Time) *Memory {
	return &Memory{now: now, start: now(), seed: maphash.MakeSeed(), once: map[uint64]entry{}, again: map[uint64]entry{}}
}

// Leave says that the pod must be left as it is, because the API server refused the ones before it; first, that this is new.
// It must be asked only about a pod that would be injected, and that the API server means to store (no dry run).
func (m *Memory) Leave(pod Pod) (leave, first bool) {
	if pod.VMI == "" {
		return false, false
	}
	key := maphash.Comparable(m.seed, pod)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now().Sub(m.start)
	known, found := m.again[key]
	if !found {
		known, found = m.once[key]
		delete(m.once, key)
	}
	if !found {
		put(m.once, key, entry{first: now, last: now})
		return false, false
	}
	before := known.left
	leave = known.leave(now)
	put(m.again, key, known)
	return leave, leave && !before
}

// put stores the entry, in the place of any other if the map is full.
func put(entries map[uint64]entry, key uint64, e entry) {
	if _, found := entries[key]; !found && len(entries) >= most {
		for other := range entries {
			delete(entries, other)
			break
		}
	}
	entries[key] = e
}
