package refusals

import "time"

// The rule. KubeVirt's tries come 0, 5, 15, 35, 75, 155, 315 and 635 ms after the first, then after 1.3, 2.6, 5.1, 10, 20
// and 41 s, and so on: a refused try costs a VM as much again as it has waited. TestRule holds the rule, and
// TestVMsStart and TestVMsThatWaitForOthers what comes of it.
const (
	// injectedAtFirst: all pods of the first second are injected. A refusal that has nothing to do with the sidecar (a
	// ResourceQuota that is freed in this moment, a conflict) costs no VM its sidecar, and the others no VM seconds.
	injectedAtFirst = time.Second
	// shortGap: a review that comes sooner than this after the last may be of the same request (reinvocation).
	shortGap = time.Second
	// longGap: after a gap of this length the next one is twice as long. Another refused pod would cost the VM more than
	// seconds.
	longGap = 10 * time.Second
	// mostTurns: once a pod has been left alone, at most so many are injected. The VM starts without the sidecar after
	// that, whatever KubeVirt, the API server and other webhooks do.
	mostTurns = 2
)

// entry is what is known of one VM's pods: 24 bytes. Times are since the Memory was made.
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
		// The pod was refused without the sidecar, too, so it was not refused for our sake: the next one gets a turn.
		e.turns++
		e.leftLast = false
		return false
	}
	e.left, e.leftLast = true, true
	return true
}
