package admission

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// budget is memory that requests share, in bytes. What is small has its own part of it: what KubeVirt makes must not
// wait behind large requests, which nobody but a stranger makes many of.
type budget struct {
	small, large part
	// smallLimit is the most that counts as small.
	smallLimit int64
}

type part struct {
	bytes int64
	free  *semaphore.Weighted
}

func newPart(bytes int64) part { return part{bytes: bytes, free: semaphore.NewWeighted(bytes)} }

// The two budgets bound all bodies under way, and all that is decoded of them at the same time: anyone in the
// cluster can reach the port. Beside them are the copies that bodies make while they grow, at most half as much again,
// and 10 MiB more for a single review that is larger than its part: below 45 MiB of the 64 that the manifests allow.

func newBodyBudget() *budget {
	return &budget{smallLimit: 64 << 10, small: newPart(4 << 20), large: newPart(8 << 20)}
}

func newDecodeBudget() *budget {
	return &budget{smallLimit: 1 << 20, small: newPart(4 << 20), large: newPart(12 << 20)}
}

// share is what one request holds of a budget.
type share struct {
	of           *budget
	small, large int64
}

// raise waits until the request may hold that many bytes, or ctx ends. What is more than
// there is gets all of it.
func (s *share) raise(ctx context.Context, bytes int64) error {
	of, held := s.of.large, &s.large
	if bytes <= s.of.smallLimit {
		of, held = s.of.small, &s.small
	}
	more := min(bytes, of.bytes) - *held
	if more <= 0 {
		return nil
	}
	if err := of.free.Acquire(ctx, more); err != nil {
		return err
	}
	*held += more
	return nil
}

func (s *share) release() {
	s.of.small.free.Release(s.small)
	s.of.large.free.Release(s.large)
	s.small, s.large = 0, 0
}
