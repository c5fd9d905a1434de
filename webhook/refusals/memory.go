// Package refusals notices when the API server refuses a VM's pod because the sidecar is in it,
// so that the VM starts without it. After the webhook, a LimitRange, a ResourceQuota, a
// ValidatingAdmissionPolicy or another webhook may refuse the pod (kubernetes
// pkg/kubeapiserver/options/plugins.go, AllOrderedPlugins). The webhook does not get to know. But
// KubeVirt creates the pod again, for the same VMI, until one is admitted.
//
// What KubeVirt does, read in its versions 1.6.0 and 1.9.0 (pkg/virt-controller/watch):
//
//   - vmi/lifecycle.go, sync: the first pod of a VMI is created while the VMI's phase is empty or
//     Pending. Once the pod exists the phase is Scheduling, and only a migration creates another
//     pod for this VMI. So the same VMI uid again means that the previous pod was refused. There
//     are two rare exceptions: the answer was lost on its way, or someone deleted the pod before
//     virt-controller wrote the phase.
//   - vmi/vmi.go, Execute: after an error the VMI waits in a queue for 5 ms, doubling to 1000 s
//     (client-go util/workqueue, DefaultTypedControllerRateLimiter). All VMIs together are tried
//     again at most 10 times a second, after a burst of 100.
//   - pkg/controller/conditions.go, CheckFailure: only the first of equal failures changes the
//     VMI's status. That change puts the VMI into the queue at once, and may reset its back-off to
//     5 ms: once, not each time.
//   - migration/migration.go, createTargetPod: the pod of a migration's target has the label
//     kubevirt.io/migrationJobUID. The queue of migrations backs off in the same way. An evacuation
//     that is tried again is a new migration with its own uid. A migration whose target pod is gone
//     fails; it does not create another.
//   - vmi/volume-hotplug.go, services/template.go: attachment pods and temporary pods for volumes
//     have other labels and annotations. They are not injected, so this package never gets them.
//
// What the API server does (k8s.io/apiserver 0.36): it makes the name from generateName after the
// mutating webhooks and tries another name without calling them again
// (registry/generic/registry/store.go, createWithGenerateNameRetry). It may call twice within one
// request when a later webhook has changed the pod (reinvocationPolicy); nothing in the second
// review shows that. If the first answer was to inject, the pod has the sidecar by then and does
// not get here. If it was to leave the pod alone, the second answer must be the same.
package refusals

import (
	"hash/maphash"
	"sync"
	"time"
)

// Pod says for which VM a pod is created, and for which migration. It is equal for the pods that
// KubeVirt creates again after a refusal.
type Pod struct {
	// Namespace is the review's, which the API server writes: a tenant cannot affect the pods of
	// another namespace.
	Namespace string
	// VMI is the uid in the pod's controller reference.
	VMI string
	// Migration is the uid of the migration whose target the pod is, or empty.
	Migration string
}

// most is how many pods are remembered in each of the two maps, so that reviews that anyone can
// send cannot fill the memory: TestMemoryIsBounded measures it.
const most = 8192

// Memory remembers pods. It is safe for concurrent use. Each replica of the webhook has its own:
// with several, each gets a part of a VM's tries (TestVMsStart).
type Memory struct {
	now   func() time.Time
	start time.Time
	// seed is random, so that no one can choose two pods with the same key.
	seed maphash.Seed

	mu sync.Mutex
	// once has the pods that came once, which are most; again has those that came back. A full map
	// drops any one of its own: a flood of reviews about new pods does not displace those that are
	// being refused. Nothing else is forgotten: in its longest back-off KubeVirt creates a pod every
	// 1000 s, and other replicas may get most of them.
	once, again map[uint64]entry
}

// New returns an empty Memory with the clock.
func New(now func() time.Time) *Memory {
	return &Memory{now: now, start: now(), seed: maphash.MakeSeed(), once: map[uint64]entry{}, again: map[uint64]entry{}}
}

// Leave reports whether the pod must be left as it is, because the API server refused the ones
// before it, and whether it is the first of its VM's pods for which this is so. Call it only for a
// pod that would be injected and that the API server will store (no dry run).
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

// put stores the entry, in place of any other if the map is full.
func put(entries map[uint64]entry, key uint64, e entry) {
	if _, found := entries[key]; !found && len(entries) >= most {
		for other := range entries {
			delete(entries, other)
			break
		}
	}
	entries[key] = e
}

// The rule. KubeVirt's tries come 0, 5, 15, 35, 75, 155, 315 and 635 ms after the first, then after
// 1.3, 2.6, 5.1, 10, 20 and 41 s, and so on: a refused try costs a VM as much again as it has
// waited. TestRule proves the rule; TestVMsStart and TestVMsThatWaitForOthers what follows from it.
const (
	// injectedAtFirst: all pods of the first second are injected. A refusal that is unrelated to the
	// sidecar (a ResourceQuota that is being freed, a conflict) costs no VM its sidecar, and other
	// refusals cost no VM seconds.
	injectedAtFirst = time.Second
	// shortGap: a review that comes sooner than this after the last may be of the same request
	// (reinvocation).
	shortGap = time.Second
	// longGap: after a gap of this length the next one is twice as long. Another refused pod would
	// cost the VM more than seconds.
	longGap = 10 * time.Second
	// mostTurns: once a pod has been left alone, at most this many are injected. After that the VM
	// starts without the sidecar, whatever KubeVirt, the API server and other webhooks do.
	mostTurns = 2
)

// entry is what is known about one VM's pods: 24 bytes. Times are since the Memory was made.
type entry struct {
	first, last time.Duration
	left        bool  // a pod was left alone
	leftLast    bool  // the last one was
	turns       uint8 // pods injected since the first that was left alone
}

// leave decides about the next pod and remembers it. All pods before it were refused.
func (e *entry) leave(now time.Duration) bool {
	gap := now - e.last
	e.last = now
	switch {
	case !e.left && now-e.first < injectedAtFirst:
		return false
	case e.leftLast && shortGap <= gap && gap <= longGap && e.turns < mostTurns:
		// The API server also refused the pod without the sidecar, so the sidecar was not the cause:
		// the next one gets a turn.
		e.turns++
		e.leftLast = false
		return false
	}
	e.left, e.leftLast = true, true
	return true
}
