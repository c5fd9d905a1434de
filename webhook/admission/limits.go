package admission

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"time"
)

const (
	// maxBody is the largest review an API server can send. It takes no write
	// request over 3 MiB (MaxRequestBodyBytes in k8s.io/apiserver
	// pkg/server/config.go: twice etcd's 1.5 MiB, as JSON is longer than what
	// is stored); a review holds at most two such objects, new and old; 1 MiB
	// is left for the rest. controller-runtime comes to the same 7 MiB.
	maxBody = 7 << 20
	// smallBody holds any pod that KubeVirt makes ten times over.
	smallBody = 256 << 10
	// largeAtOnce bounds the memory for bodies that nobody should send: anyone
	// in the cluster can reach the port.
	largeAtOnce = 2
	// patience is how long an admission waits for its turn. The API server
	// gives up after timeoutSeconds 2; and a wait is better than a refusal,
	// which would leave a VM without its sidecar.
	patience = 1500 * time.Millisecond
)

// workers is how many reviews are decoded and decided on at once: work that
// only needs a CPU gets no faster by having more of it open, only larger.
func workers() int { return max(8, 4*runtime.GOMAXPROCS(0)) }

// gate lets a number of holders in.
type gate chan struct{}

// enter waits for a place until ctx ends; false without one.
func (g gate) enter(ctx context.Context) bool {
	select {
	case g <- struct{}{}:
		return true
	default:
	}
	select {
	case g <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (g gate) leave() { <-g }

// readBody reads at most maxBody bytes into buffer. A length that is not given
// is taken for a large one.
func readBody(w http.ResponseWriter, r *http.Request, buffer *bytes.Buffer) (Problem, error) {
	if r.ContentLength > maxBody {
		return TooLarge, errors.New("content length over the limit")
	}
	if r.ContentLength > 0 && r.ContentLength <= smallBody {
		// One byte more than needed: ReadFrom grows a full buffer to find the end.
		buffer.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := io.Copy(buffer, http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return TooLarge, err
	}
	return UnreadableBody, err
}

func isLarge(r *http.Request) bool {
	return r.ContentLength < 0 || r.ContentLength > smallBody
}
