package refusals

import "time"

// The rule. KubeVirt's tries come 0, 5, 15, 35, 75, 155, 315 and 635 ms after the first, then after 1.3, 2.6, 5.1, 10, 20
// and 41 s, and so on: a refused try costs a VM as much again as it has waited. TestRule and the simulation hold the numbers.
const (
	// injectedAtFirst: all pods of the first second are injected. A refusal that has nothing to do with the sidecar (a
	// ResourceQuota that is freed in this moment, a conflict) costs no VM its sidecar.
	injectedAtFirst = time.Second
	// leastInjected: the second pod is injected even where the first second has gone by, because the API server is slow.
	leastInjected = 2
	// longGap: after a gap of this length the next one is twice as long. Another refused pod would cost the VM more than
	// some seconds, so the pod is left alone.
	longGap = 10 * time.Second
	// shortGap: a review that comes sooner than this after the last may be of the same request (reinvocation).
	shortGap = time.Second
	// mostTurns: once pods have been left alone, at most so many are injected. The VM starts without the sidecar after
	// that, whatever KubeVirt, the API server and other webhooks do.
	mostTurns = 2
	// lifetime is how long a VM is remembered after its last pod: longer than KubeVirt's longest back-off of 1000 s, of
	// which this replica may miss three in a row.
	lifetime = time.Hour
)

// entry is what is known of one VM's pods: 24 bytes, times as nanoseconds since the Memory was made.
type entry struct {
	first, last time.Duration
	injected    uint8 // before any was left alone; no more than leastInjected are counted
	turns       uint8 // injected since then
	left        bool  // one was left alone
	leftLast    bool  // the last one was
}

// leave decides about the next pod and remembers it. All pods before it were refused.
func (e *entry) leave(now time.Duration) bool {
	gap := now - e.last
	e.last = now
	switch {
	case gap > longGap:
	case !e.left && (e.injected < leastInjected || now-e.first < injectedAtFirst):
		e.injected = min(e.injected+1, leastInjected)
		return false
	case e.leftLast && gap >= shortGap && e.turns < mostTurns:
		// The pod without the sidecar was refused, too: it may be the next one's turn.
		e.turns++
		e.leftLast = false
		return false
	}
	e.left, e.leftLast = true, true
	return true
}
