package main

import "time"

// patience says how long things may take.
type patience struct {
	// first is the pause before the second start in a row; it doubles, up to most.
	// Before the first there is none.
	first, most time.Duration
	// reset is how long a child must have lived for its end to count as the first.
	reset time.Duration
	// kill is what a child is given to end once it was told to.
	kill time.Duration
}

// pause is the time until the next start: lived is what the last child did, and
// before the pause before that one, or less than 0 when there was none.
func (p patience) pause(lived, before time.Duration) time.Duration {
	switch {
	case before < 0 || lived >= p.reset:
		return 0
	case before == 0:
		return p.first
	default:
		return min(2*before, p.most)
	}
}
