package admission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// maxBody is the largest review that an API server can send. It takes no write request over
	// 3 MiB (MaxRequestBodyBytes in k8s.io/apiserver pkg/server/config.go: twice etcd's 1.5 MiB,
	// since JSON is longer than what is stored); a review holds at most two such objects, new and
	// old; 1 MiB is left for the rest. controller-runtime comes to the same 7 MiB.
	maxBody = 7 << 20
	// firstRead is how much memory a body gets before any of it has arrived. Each time it gets as
	// much again as has arrived: a client holds memory by sending, not by promising.
	firstRead = 4 << 10
	// patience is how long an admission may take to arrive and to wait for memory. The API server
	// gives up after timeoutSeconds 2; and waiting is better than refusing, which would leave a VM
	// without its sidecar.
	patience = 1500 * time.Millisecond
	// maxValues bounds the members and elements in a review. What a value costs once it is decoded
	// is unrelated to its bytes: {} is a whole container. A pod that KubeVirt makes has a few
	// hundred values, and 18 more for each disk.
	maxValues = 32 << 10
	// maxDepth bounds how deep they are nested. The deepest in a pod are its managedFields, about 15.
	maxDepth = 64
	// maxScalar bounds the text of a number, true, false or null: the decoder quotes a number that
	// it cannot read.
	maxScalar = 64
	// valueCost is the most memory that a value takes, in bytes, including what is garbage
	// afterwards: a quantity of 40 digits (TestDecodingIsBounded).
	valueCost = 400
)

// readBody reads the body into memory that it takes from the share as bytes arrive.
func readBody(ctx context.Context, w http.ResponseWriter, r *http.Request, memory *share) ([]byte, *problem) {
	switch {
	case r.ContentLength < 0:
		return nil, &problem{kind: UnknownLength, err: errors.New("no content length")}
	case r.ContentLength > maxBody:
		return nil, &problem{kind: TooLarge, err: fmt.Errorf("content length %d", r.ContentLength)}
	}
	if deadline, ok := ctx.Deadline(); ok {
		// Fails for a test's recorder, which has no deadlines.
		_ = http.NewResponseController(w).SetReadDeadline(deadline)
	}
	length := int(r.ContentLength)
	var body []byte
	for len(body) < length {
		size := min(length, max(firstRead, 2*len(body)))
		if err := memory.raise(ctx, int64(size)); err != nil {
			return nil, &problem{kind: Overloaded, err: fmt.Errorf("no memory for the body within %s", patience)}
		}
		grown := make([]byte, size)
		read, err := io.ReadFull(r.Body, grown[copy(grown, body):])
		if err != nil {
			return nil, &problem{kind: UnreadableBody, err: fmt.Errorf("after %d of %d bytes: %w", len(body)+read, length, err)}
		}
		body = grown
	}
	return body, nil
}

// countValues returns the most values that the JSON text can have. It does not check that the
// text is JSON: the decoder does, before it allocates anything.
func countValues(text []byte) (int, error) {
	values, depth, scalar := 1, 0, 0
	for i := 0; i < len(text); i++ {
		scalar++
		switch text[i] {
		case '"':
			i = endOfString(text, i)
			scalar = 0
		case '{', '[':
			values, depth, scalar = values+1, depth+1, 0
		case '}', ']':
			depth, scalar = depth-1, 0
		case ',':
			values, scalar = values+1, 0
		case ' ', '\t', '\r', '\n', ':':
			scalar = 0
		}
		switch {
		case values > maxValues:
			return 0, fmt.Errorf("more than %d values", maxValues)
		case depth > maxDepth:
			return 0, fmt.Errorf("more than %d levels", maxDepth)
		case scalar > maxScalar:
			return 0, errors.New("a number is too long")
		}
	}
	return values, nil
}

// endOfString returns where the string that starts at i ends.
func endOfString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// budget is memory that requests share, in bytes. Small requests have a part of their own: the
// pods that KubeVirt makes must not wait behind large requests, of which only an attacker sends
// many.
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

// The two budgets bound all bodies under way, and all that is decoded from them at the same
// time, since anyone in the cluster can reach the port. Beside them are the copies that bodies
// make while they grow, at most half as much again, and 10 MiB more for a single review that is
// larger than its part: below 45 MiB of the 64 that the manifests allow.

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

// raise waits until the request may hold that many bytes, or ctx ends. If it needs more than the
// part has, it gets all of the part.
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
