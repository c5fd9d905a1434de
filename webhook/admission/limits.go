package admission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxBody is the largest review an API server can send. It takes no write
	// request over 3 MiB (MaxRequestBodyBytes in k8s.io/apiserver
	// pkg/server/config.go: twice etcd's 1.5 MiB, as JSON is longer than what
	// is stored); a review holds at most two such objects, new and old; 1 MiB
	// is left for the rest. controller-runtime comes to the same 7 MiB.
	maxBody = 7 << 20
	// firstRead is how much memory a body gets before any of it has arrived. It gets
	// as much again as has arrived each time: memory is held by sending, not by promising.
	firstRead = 4 << 10
	// patience is how long an admission may take to arrive and wait for memory. The
	// API server gives up after timeoutSeconds 2; and a wait is better than a
	// refusal, which would leave a VM without its sidecar.
	patience = 1500 * time.Millisecond
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
		// A recorder in a test has no deadlines, a server's connection has.
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
