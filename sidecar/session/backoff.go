package session

import (
	"math/rand/v2"
	"time"
)

// The bounds of the wait between two attempts to reach libvirt.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
)

// backoff gives the waits between attempts: each twice the one before, up to
// lastWait, and each shortened by up to half at random, so that the sidecars of
// a node do not knock together.
type backoff struct{ next time.Duration }

func (b *backoff) wait() time.Duration {
	full := min(max(b.next, firstWait), lastWait)
	b.next = 2 * full
	return full - rand.N(full/2)
}

func (b *backoff) reset() { b.next = 0 }
